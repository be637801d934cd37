"""
From tables to objects; :mod:`twistginx.config.load` is the door.
"""
