"""
Groups of servers: peers, balancing, kept-alive connections.
"""
