"""
What answers a request, one file each.
"""
