"""
twistginx: an nginx in Python, on Twisted.

How a request travels, and where to read about it::

    bytes in                                                             bytes out
       |                                                                     ^
    net (reactor, listener, tls) - http.channel - routing.router ---+        |
                                       policies (received, admit)   |        |
                                       resources: static, proxy ... - http.channel
                                       policies (responding)        |
              resources.exchange, attempts - upstream.pool, balance - http.client
    net - stream.tcp - policies (connected) - stream.proxy - upstream.pool - net.relay   (raw TCP, beside)
    etc/site.toml - config.load, drafting - Root - build.prepare - Generation - service.server (swapped on reload)
    service.program: service.server alone, or workers.master - wire - workers.worker - service.server
    shared (limits and counters), net.board (who is ill), upstream roster (connections): what outlives a generation

The words, one thing each:

listener
    A bound address.  It owns a socket and outlives reloads.
site
    A virtual host: names, routes, defaults.
route
    Matchers, one resource, any number of policies.
policy
    What stands around a resource: it may answer, change what is sent, or watch.
resource
    What answers a request.
upstream
    A named group of servers.
server
    An entry of an upstream, as written in the configuration.
peer
    One address of a server.
roster
    The peers of an upstream with all that they keep from one generation to the next.
attempt
    One try to have a peer answer one request.
stream
    A raw TCP listener and where its connections go.
generation
    All that was built of one version of the configuration.
master, worker
    The process that holds the sockets, and those that serve.
board
    Where processes tell each other what they have found out.
store
    Where limits and counters are that processes, or machines, share.

Imports go down only: tap, cli > workers > service, explain, testing > build > registry > policies, resources,
stream > routing, upstream, observe > http > net > config > interfaces, errors.  ``tests/test_layers.py`` holds it.
"""

__version__ = "0.1.0"
