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

    kind = Attribute("'resource', 'policy', 'balance', 'stream', 'store' or 'discovery'.")
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

    A module that says ``guards = True`` decides by ``admit`` who may come in, as ``access`` and the authentications do:
    where a route says ``satisfy = "any"``, one such policy that returns None is enough.

    A module that says ``decides = False`` only sends clients elsewhere, or changes what the resource sees: a path that
    other servers would read differently does it no harm.  One that says ``takes_arrays = True`` makes one policy of an
    array.  One that has ``path_of(config) -> str`` stands at that path: it is the path of a route that names none.

    What ``make`` returns may have ``identity``: names, in lower case (bytes), of fields that the policy puts into
    requests to say who asks.  On all routes of the site they are taken out of what clients send.  It may have a
    ``rank`` of its own, where what the table says belongs to another place than that of the module.

    None of these needs to know of ``when``: the policy is called only for requests that meet that condition.
    """

    rank = Attribute(
        "The place (int) in the published order: lower runs earlier on the way in and later on the way out. "
        "100 log and trace, 200 access, 300 authentication, 400 limits, 500 cache, 600 transformation, 700 headers; "
        "docs/plugins.rst has those of the built-in ones.  Of equal rank, they run by name."
    )
    applies_to = Attribute("A frozenset of 'http' and 'stream'.")
    many = Attribute("True where a route may have an array of these; False where only one makes sense.")


class IBalanceModule(IModule):
    """
    ``make`` returns a callable ``pick(peers, request, tried) -> peer | None``, or an object with such a method.

    ``peers`` is the sequence of peers that may be chosen now; it is another object whenever anything about it is
    another thing, so that what was computed for it may be kept as long as it is the same.  A peer has ``label`` (bytes:
    its address), ``share`` (int: what it is to take, in proportion to the others), ``begun`` and ``ended`` (ints: how
    many requests and streams), and ``latency`` (seconds, where the object says ``timed = True``).

    ``request`` is what is to be sent.  On a raw stream it is an object that has nothing but ``client_ip``; it may be
    None.  ``tried`` is the set of peers that are of no use: this request has failed on them, or they have no room.
    None means that none is left.  It is pure: it never waits.

    Where the object has ``began(peer)`` and ``ended(peer)``, it hears of every request and stream, whoever picked the
    peer; where it has ``forget(peer)``, of peers that left.
    """


class IStreamModule(IModule):
    """
    ``make`` returns an object whose ``build_protocol(address)`` answers one raw connection with an IProtocol.
    """


class IDiscoveryModule(IModule):
    """
    Where the servers of an upstream are found.  ``make`` returns an :class:`IDiscovery`, for one upstream; nobody is
    asked before it begins.
    """


class IDiscovery(Interface):
    """
    Says who the servers are, from ``begin`` to ``end``.
    """

    label = Attribute("What the log calls it (str): ``srv _http._tcp.app``.  Without secrets.")

    def begin(finding):
        """
        Begin to look.  Runs in the reactor.

        :param finding: an :class:`IFinding`, which may be told at once, or later.
        """

    def end():
        """
        Look no more, and say nothing more.  It may begin again.

        :return: None, or a Deferred that fires when all is released.
        """


class IFinding(Interface):
    """
    Who is told what was found.  Names among the servers are looked up by whoever is told.
    """

    resolver = Attribute(
        "How this upstream looks names up, a ``twistginx.upstream.discovery.lookup.Resolver``: "
        "``await resolver.services(name)`` and ``await resolver.look_up(name)``."
    )

    def found(servers):
        """
        These are all the servers that there are now.  Those that were there before go on with their connections, their
        health and their counters.

        :param servers: what may stand in ``servers``: addresses (str), or tables (dict) with ``to``, ``weight`` and the
            other keys; or ``twistginx.config.schema.Server``.  An empty list says that there are none.  A list with a
            mistake in it changes nothing, and is logged.
        """

    def missed(reason):
        """
        Nothing was found out; what was found before holds.

        :param reason: for the log (str), which says it once.
        """


class IStoreModule(IModule):
    """
    Where state is that workers and machines share.  ``make`` returns an :class:`IStore`.

    ``Config`` describes the whole table ``[shared]``: ``store`` (text: the name of the module, or a URL whose scheme is
    that), and whatever else this store wants to know.  It has no ``from_shorthand``.
    """


class IStore(Interface):
    """
    Limits, counters and small values, by key.

    Keys are bytes of any length that the caller chooses; they are bounded by whoever lets clients choose them.  All
    times are seconds on the clock of the reactor, which is one clock for all workers of a machine; a store on another
    machine uses its own instead.

    What is oldest is forgotten first, when there is more than there is room for.

    Every method may return a Deferred of what it says instead; a store that decides in this process does not.  A store
    that cannot decide says what it has been told to say in that case, or fails with a :class:`ProxyError`,
    ``store_away``.
    """

    def take(key, rate, burst, now, cost=1.0, delay=0.0):
        """
        Take ``cost`` tokens from the bucket of ``key``, if they are there, or will be within ``delay`` seconds.

        :param rate: tokens a second that the bucket fills with.
        :param burst: tokens that it holds.
        :param cost: less than 0: so many are given back.
        :return: a :class:`twistginx.shared.verdict.Verdict`; ``twistginx.shared.verdict.judge`` is the arithmetic.
        """

    def acquire(key, limit, now):
        """
        Hold one more of what ``key`` counts, if fewer than ``limit`` (int) are held by all workers together.

        :return: True when it is held; it is to be released then, once.  What a process holds is given back when it
            dies.
        """

    def release(key):
        """
        Hold one fewer.  Never fails.
        """

    def put(key, value, ttl, now):
        """
        Remember ``value`` (up to 400 bytes) for ``ttl`` seconds.

        :return: its version (int), larger than that of any value that was put before.
        :raise ValueError: for a value that is too long.
        """

    def get(key, now):
        """
        What was put: ``(value, version)``, or None.
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
    store = Attribute("What workers and machines share, an :class:`IStore`.")
    memory = Attribute(
        "What the workers of this machine share, whatever ``[shared]`` says: an :class:`IStore` that answers at once."
    )
    place = Attribute(
        "Where this table stands, by names and not by numbers (str), so that state can be found again after a reload "
        "and on another machine."
    )

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

    def start_and_stop(life):
        """
        Start what is kept with the first generation that asks for it, and stop it with the last.

        :param life: an :class:`ILife`.
        """

    def watched(path, parse):
        """
        A file that is read again when it changes, without a reload; shared with all who read it in the same way.

        :param path: a ``pathlib.Path``.
        :param parse: a function of a module, from the content (bytes) to a value; it may run in another thread, and
            raises ValueError with a short reason.
        :return: an object whose ``value`` is what the file says now.  When it becomes wrong, or goes, that is what it
            said before.
        :raise ConfigError: when it cannot be read now, or is wrong.
        """

    def addresses(entries, key):
        """
        Who is meant by a list of addresses, with its files and the names of ``[networks]``.

        :param entries: ``config.networks.Entry`` objects.
        :param key: where they stand, for errors.
        :return: an object with ``contains(address)``; the address is bytes, ``request.client_ip`` for instance.
        :raise ConfigError: for a name that nothing has, and a file that cannot be read.
        """

    def resource(name, options, key):
        """
        The resource that a table of that name would make here.

        :param options: the arguments (dict) of its ``Config``.
        :param key: what says so in this module's own table, for errors.
        :raise ConfigError: when it cannot be made.
        """

    def template(text):
        """
        Compile ``text`` (a ``config.template.Template``) to a callable ``(request) -> bytes``.
        """

    def condition(written, key):
        """
        Compile what a request must have (a ``config.schema.Match``, or the name of one), to a callable
        ``(request, path)`` that says whether it has it; the path is ``request.matched_path``.

        :param key: where it stands, for errors.
        :raise ConfigError: for a name that nothing has.
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

        :return: None, or an :class:`IBodyFilter` for the request's body; of that, ``feed`` and ``finish`` are used.
        """

    def link(route, routes):
        """
        All routes of the site are made.  Called once, at build.

        :param route: the one that has this policy (a ``routing.router.Route``).
        :param routes: all of the site, by name.
        :raise ConfigError: when what was configured does not go with them.
        """

    def responding(request, head):
        """
        Sees the head of every response, those that we make ourselves included; ``head`` (a ``ResponseHead``) may be
        changed in place.

        :return: None, an :class:`IBodyFilter`, another ``Reply``, or a ``Diversion`` to another route.
        """

    def finished(request, record):
        """
        The last byte is written, or the client is gone.  Called exactly once for every request that was received.

        :param record: a :class:`twistginx.http.message.Record`.
        """

    def connected(connection):
        """
        For streams: a connection was accepted.  It has ``client_ip`` (bytes), and ``at_end(call)``.

        :return: None to go on, False to close it, or a Deferred of either.
        """


class IBodyFilter(Interface):
    """
    Changes one body on its way.  ``close`` and ``busy`` are optional.

    What it keeps back it may pass on at any later time by ``request.push(filter, data)``.  A filter of a response that
    has more than it can do calls ``request.hold()``, and ``request.go_on()`` when it has done it: what produces the
    response waits, and so does its end, while the filter is ``busy``.
    """

    busy = Attribute("True while there is work to be done before ``finish`` may be called.")

    def feed(data):
        """
        Take the next bytes, never empty, and return what is to be sent instead, which may be empty.
        """

    def finish():
        """
        The body is complete: return the rest.  Called once, and nothing after it.
        """

    def close():
        """
        The response is not sent any further, as when the client has left.  Nothing is called after it.
        """


class IExplaining(Interface):
    """
    What ``twistginx explain`` asks of policies and resources that have it.
    """

    def explain(request):
        """
        What it would do with a request.  It asks nobody, and waits for nothing; what it would change for those behind
        it, it changes.

        :return: lines of text; where it would answer itself, its ``Reply`` behind them.
        :raise ProxyError: when it would refuse.
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
