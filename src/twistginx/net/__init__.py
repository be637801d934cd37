"""
Sockets: the reactor, listeners, TLS, relays, the coarse clock.
"""
