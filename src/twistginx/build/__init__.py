"""
A configuration -> a generation.

``prepare`` is the door.  ``building`` is one run, with the problems that it has found; ``upstreams``, ``sites`` and
``endpoints`` build what the tables of those names say; what comes of it is a ``generation``.

The only package that knows all the others.  It opens no socket and starts nothing, so that a configuration can be built
to be checked, or beside a running one, and be thrown away.
"""
