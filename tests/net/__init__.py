"""
Tests of twistginx.net.
"""
