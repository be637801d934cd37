"""
Tests of the cookbook.
"""
