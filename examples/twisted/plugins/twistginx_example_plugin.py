"""
The names that this distribution adds.  Nothing else belongs here: every run of ``twistd`` may import this file.
"""

from twistginx.registry import Plugin

hello = Plugin("resource", "hello", "twistginx_example.hello")
stopwatch = Plugin("policy", "stopwatch", "twistginx_example.stopwatch")
by_path = Plugin("balance", "by_path", "twistginx_example.by_path")
