"""
Tests of twistginx.policies.
"""
