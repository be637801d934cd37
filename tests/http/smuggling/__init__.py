"""
How requests are smuggled past a proxy, and what becomes of each attempt at ours.
"""
