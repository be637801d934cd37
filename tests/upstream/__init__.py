"""
Tests of twistginx.upstream.
"""
