"""
Loaders: programs that ask, and print what came of it as one line of JSON.
"""
