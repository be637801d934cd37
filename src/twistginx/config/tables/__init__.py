"""
The tables of a configuration, a file for each; ``config.schema`` has them all.
"""
