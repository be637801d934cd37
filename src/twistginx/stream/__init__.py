"""
Raw TCP.
"""
