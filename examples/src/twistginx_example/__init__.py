"""
Example plugins for twistginx: one file for each.
"""
