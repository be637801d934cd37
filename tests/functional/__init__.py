"""
The whole, with real peers.
"""
