"""
The public plugin contract, version 1.

A plugin is a Python module that says ``moduleProvides(IResourceModule)`` (or another of the kinds below) and is named
by one line in a ``twisted/plugins/*.py`` file::

    from twistginx.registry import Plugin
    hello = Plugin("resource", "hello", "acme.hello")

The built-in modules enter through the same door.  This file imports nothing but zope.interface, because every run of
``twistd`` imports the interfaces that a plugin cache names.
"""

from zope.interface import Attribute, Interface


class IDeclaration(Interface):
    """
    One line of a plugin file: that a module exists, and where.  Nothing is imported until the name is used.
    """

    kind = Attribute("'resource', 'policy', 'balance' or 'stream'.")
    name = Attribute("The key in the TOML file.")
    module = Attribute("The dotted name of the module.")


class IModule(Interface):
    """
    What every kind of module is.
    """

    name = Attribute("The key in the TOML file (str): lower case, snake_case, unique among resources and policies.")
    api = Attribute("The version of this contract that the module was written for: 1.")
    Config = Attribute(
        "A frozen attrs class: its fields are the options of the table, its docstring is their manual. "
        "A classmethod ``from_shorthand(value)``, where there is one, accepts a value that is not a table "
        "(``health = '/x'``) and returns a Config, or the table (a dict) that it stands for; it raises ValueError with "
        "a short reason."
    )

    def make(config, context):
        """
        Build the live object of one table.

        Opens, starts and binds nothing: the configuration may yet be refused.

        :param config: an instance of ``Config``.
        :param context: an :class:`IContext`.
        :return: the object that the kind asks for.
        :raise ConfigError: when the values are each valid and yet cannot work (a file that is not there, say).
        """


class IResourceModule(IModule):
    """
    ``make`` returns a ``twisted.web.resource.IResource``; one that provides :class:`IStreaming` as well is rendered
    when the head is complete, with the body still arriving.
    """


class IPolicyModule(IModule):
    """
    ``make`` returns an object with any of the methods of :class:`IPolicy`.

    A table replaces the one that it would inherit, unless the module has ``merge(inherited, own) -> Config``, which is
    given both Configs.  Merging twice is merging once.
    """

    rank = Attribute(
        "The place (int) in the published order: lower runs earlier on the way in and later on the way out. "
        "100 log and trace, 200 access, 300 authentication, 400 limits, 500 cache, 600 transformation, 700 headers."
    )
    applies_to = Attribute("A frozenset of 'http' and 'stream'.")
    many = Attribute("True where a route may have an array of these; False where only one makes sense.")


class IBalanceModule(IModule):
    """
    ``make`` returns a callable ``pick(peers, request, tried) -> peer | None``.

    ``peers`` is the sequence of peers that may be chosen now, ``request`` what is to be sent (None on a raw stream),
    ``tried`` the set of peers that this request has failed on already.  None means that none is left.  It is pure: it
    never waits.  An object with ``forget(peer)`` hears of peers that left.
    """


class IStreamModule(IModule):
    """
    ``make`` returns an object whose ``build_protocol(address)`` answers one raw connection with an IProtocol.
    """


class IStreaming(Interface):
    """
    A marker for resources that take the request's body as it arrives (``request.body``) and answer through
    ``request.respond``, ``request.start``, ``request.send`` and ``request.end``.  Their ``render`` returns
    NOT_DONE_YET.
    """


class IContext(Interface):
    """
    What a module is given to build with.
    """

    reactor = Attribute("The reactor (IReactorTime, IReactorTCP, IReactorCore); never import it.")
    ticker = Attribute("The coarse clock, :class:`twistginx.net.timers.Ticker`.")
    log = Attribute("A ``twisted.logger.Logger`` whose namespace is the module's.")
    base = Attribute("The directory (pathlib.Path) that relative paths of this table resolve against.")

    def upstream(name):
        """
        The live upstream called ``name`` (str).

        :raise ConfigError: when there is none; the error lists the names that there are.
        """

    def keep(key, factory):
        """
        State that outlives a reload.

        :param key: a hashable that names the state and all configuration that it depends on.
        :param factory: a callable without arguments, called when nothing is kept under ``key``.
        :return: what ``factory`` returned, now or in an earlier generation.
        """

    def template(text):
        """
        Compile ``text`` (a ``config.template.Template``) to a callable ``(request) -> bytes``.
        """


class IPolicy(Interface):
    """
    The phases of a policy.  All are optional; what is there is filed once, at build, into the route's tuples.
    """

    def received(request):
        """
        The head is complete and the route is chosen.  Returns nothing.
        """

    def admit(request):
        """
        May the request go on?

        :return: None to go on, a ``Reply`` to answer at once, or a Deferred of either.
        """

    def prepare(request, head):
        """
        What leaves for the upstream: ``head`` (a ``RequestHead``) may be changed in place.

        :return: None, or a filter for the request's body (``feed(data) -> bytes``, ``finish() -> bytes``).
        """

    def responding(request, head):
        """
        Sees the head of every response, those that we make ourselves included; ``head`` (a ``ResponseHead``) may be
        changed in place.

        :return: None, a filter for the body (``feed(data) -> bytes``, ``finish() -> bytes``), or another ``Reply``.
        """

    def finished(request, record):
        """
        The last byte is written, or the client is gone.  Called exactly once for every request that was received.

        :param record: a :class:`twistginx.http.message.Record`.
        """

    def connected(connection):
        """
        For streams: a connection was accepted.

        :return: None to go on, False to close it.
        """


class ILife(Interface):
    """
    What a module makes may have a life: it starts when its generation is committed, and stops when it is replaced.
    """

    def start():
        """
        The generation serves now.  Runs in the reactor.
        """

    def stop():
        """
        The generation has been replaced.

        :return: None, or a Deferred that fires when all is released.
        """
