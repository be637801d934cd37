"""
Tests for ``twistginx.workers``.
"""
