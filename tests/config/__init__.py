"""
Tests of twistginx.config.
"""
