"""
What a configuration would do with a request; :mod:`twistginx.explain.explanation` is the door.
"""
