"""
Tests of twistginx.http.
"""
