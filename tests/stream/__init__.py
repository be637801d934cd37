"""
Tests of twistginx.stream.
"""
