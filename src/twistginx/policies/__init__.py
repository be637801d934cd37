"""
What stands around a resource, one file each.
"""
