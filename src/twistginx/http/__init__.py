"""
HTTP/1.1, both sides: messages, parsers, the channel, the request, the client.
"""
