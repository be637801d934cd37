"""
The running server: how it starts, takes orders, reloads, is upgraded, and stops.
"""
