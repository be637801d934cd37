"""
Tests for twistginx.upstream.discovery.
"""
