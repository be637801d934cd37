"""
Tests for ``twistginx.service``.
"""
