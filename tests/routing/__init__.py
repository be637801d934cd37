"""
Tests of twistginx.routing.
"""
