"""
The servers that one would write in Python.  Each is run by the Python that has its libraries.
"""
