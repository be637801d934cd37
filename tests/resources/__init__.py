"""
Tests of twistginx.resources.
"""
