"""
A configuration -> a generation: everything that serves it, built and not started.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from twistginx.build.building import Building
from twistginx.build.endpoints import Endpoints, parse_endpoint
from twistginx.build.generation import Generation, Runtime
from twistginx.build.networks import Networks
from twistginx.build.sites import Sites
from twistginx.build.upstreams import Upstreams
from twistginx.config import schema
from twistginx.config.disk import Disk
from twistginx.config.load import draft
from twistginx.errors import ConfigError, Problem
from twistginx.observe import accesslog
from twistginx.registry import Registry


def build(root: schema.Root, registry: Registry, runtime: Runtime) -> Generation:
    """
    Build a generation.

    :raise ConfigError: with every problem that building has found.
    """
    return _built(Building(root, registry, runtime))


def prepare(
    path: str | Path,
    registry: Registry,
    environment: Mapping[str, str],
    runtime: Runtime,
    disk: Disk | None = None,
) -> Generation:
    """
    Read and build the configuration at ``path``.

    What cannot be built is reported together with what cannot be read, so that nobody has to mend a file twice.

    :param environment: where ``{env.X}`` is looked up.
    :param disk: what files are read from; None: a new one.
    :raise ConfigError: with every problem; complaints about plugins are with them, as warnings.
    """
    drafted = draft(path, registry, environment, disk)
    building = Building(drafted.root, registry, runtime)
    try:
        generation = _built(building)
        problems: list[Problem] = []
    except ConfigError:
        # Of what was wrong already, building can only say again that it is.
        said = {problem.key for problem in drafted.problems}
        problems = [
            problem for key, problem in building.problems if key not in drafted.touched and problem.key not in said
        ]
    if not drafted.problems and not building.problems:
        return generation
    problems += drafted.problems
    raise ConfigError(problems=(*drafted.root.source.sorted(problems), *building.complaints()))


def _built(building: Building) -> Generation:
    root = building.root
    generation = building.generation
    building.upstreams = Upstreams(building)
    building.networks = Networks(building)
    generation.warnings.extend(root.warnings)
    generation.warnings.extend(building.complaints())
    for name, config in root.upstreams.items():
        building.attempt(("upstream", name), partial(building.upstreams.add, config))
    building.networks.build()
    building.attempt(("log", "access"), partial(_open_access_log, building))
    endpoints = Endpoints(root)
    sites = Sites(building, endpoints)
    for site in root.sites:
        sites.add(site)
    for stream in root.streams:
        sites.add_stream(stream)
    for text, place in endpoints.places.items():
        building.attempt(place.where, partial(parse_endpoint, text))
    if building.problems:
        raise ConfigError(problems=root.source.sorted(problem for _, problem in building.problems))
    for text, place in endpoints.places.items():
        generation.listeners[text] = place.plan(text, building.runtime)
    return generation


def _open_access_log(building: Building) -> None:
    access = building.root.log.access
    if access.path == "off":
        return
    runtime = building.runtime

    def make() -> accesslog.AccessLog:
        line = accesslog.format_of(access.format)
        return accesslog.AccessLog(runtime.reactor, str(access.path), line, runtime.counters)

    building.generation.access_log = building.keep(("access_log", access.path, access.format), make)
