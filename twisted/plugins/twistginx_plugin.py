"""
What ``twistd`` finds: the server, and its reactor.
"""

from twisted.application.reactors import Reactor
from twisted.application.service import ServiceMaker

server = ServiceMaker("twistginx", "twistginx.tap", "A web server, reverse proxy and load balancer.", "twistginx")
reactor = Reactor("twistginx", "twistginx.net.reactor", "The asyncio or uvloop transports, as a Twisted reactor.")
