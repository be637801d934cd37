"""
Tests of twistginx.observe.
"""
