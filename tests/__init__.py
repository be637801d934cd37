"""
The tests; the tree mirrors src/twistginx.
"""
