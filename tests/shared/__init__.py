"""
Tests for L{twistginx.shared}.
"""
