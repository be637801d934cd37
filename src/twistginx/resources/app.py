"""
``app``: a Python application, in this process.

It is imported when the configuration is built, so that a mistake is reported before anything is served.  Importing
an application runs it: whoever names it here asks for that.  It stays for as long as its table does not
change: a reload of the configuration does not load its code anew.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
import traceback
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from attrs import frozen
from twisted.web.resource import IResource
from twisted.web.wsgi import WSGIResource
from zope.interface import moduleProvides

from twistginx.errors import ConfigError
from twistginx.interfaces import IContext, IResourceModule

moduleProvides(IResourceModule)

name = "app"
api = 1

_EXPECTED = 'expected a name such as "package.module:object"'


@frozen
class Config:
    """
    Serve a Python application in this process.

    :ivar object: "package.module:object".  The object is a ``twisted.web.resource.IResource``, a Klein app, a WSGI
        application, or a class or function that makes one of these when it is called without arguments.
    :ivar search: a directory that Python is to look for modules in, before all others.  Without it Python looks where
        it always does, which is not the current directory.
    """

    object: str
    search: Path | None = None

    @classmethod
    def from_shorthand(cls, value: Any) -> Config:
        """
        ``app = "package.module:object"``.
        """
        if not isinstance(value, str):
            raise ValueError(_EXPECTED)
        return cls(object=value)


def make(config: Config, context: IContext) -> IResource:
    """
    The application's resource: the one that there is already, when this table has been built before.
    """
    module_name, colon, path = config.object.partition(":")
    words = [*module_name.split("."), *path.split(".")]
    if not colon or not all(word.isidentifier() for word in words):
        raise ConfigError(f"{config.object!r} does not name an object", key="object", expected=_EXPECTED)
    search = ""
    if config.search is not None:
        directory = context.base / config.search
        if not directory.is_dir():
            raise ConfigError(f'"{config.search}" is not a directory', key="search", expected="expected a directory")
        search = str(directory.resolve())

    def load() -> IResource:
        if search and search not in sys.path:
            sys.path.insert(0, search)
        found = _attribute(_imported(module_name, context.base), path)
        return _resource(found, config.object, context.reactor)

    resource: IResource = context.keep(("app", config.object, search), load)
    return resource


def _imported(module_name: str, base: Path) -> ModuleType:
    """
    The module.

    :raise ConfigError: in one line, however it failed.
    """
    # A module that was written after Python last looked into its directory is to be found.
    importlib.invalidate_caches()
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing == module_name or module_name.startswith(f"{missing}."):
            raise ConfigError(
                f'there is no module "{missing}"', key="object", expected=_where_instead(missing, base)
            ) from None
        reason = str(error)  # The module is there; one that it needs is not.
    except SyntaxError as error:
        reason = f"{error.msg} ({Path(error.filename or '').name}, line {error.lineno})"
    except (Exception, SystemExit) as error:  # it is another's code, and may raise anything
        reason = f"{type(error).__name__}: {error}{_line_of(error)}"
    raise ConfigError(f'importing "{module_name}" failed: {reason}', key="object")


def _attribute(module: ModuleType, path: str) -> Any:
    found: Any = module
    for word in path.split("."):
        try:
            found = getattr(found, word)
        except AttributeError:
            where = f'"{module.__name__}"' if found is module else f'"{path.rpartition("." + word)[0]}"'
            expected = _did_you_mean(word, dir(found)) or "expected the name of an object in it"
            raise ConfigError(f'there is no "{word}" in {where}', key="object", expected=expected) from None
    return found


def _resource(found: Any, spelled: str, reactor: Any) -> IResource:
    """
    What ``found`` is, as a resource.

    :raise ConfigError: when it is nothing that can be served.
    """
    resource = _as_resource(found, reactor)
    if resource is None and callable(found) and _takes(found, 0):
        try:
            made = found()
        except Exception as error:  # the same
            reason = f"{type(error).__name__}: {error}{_line_of(error)}"
            raise ConfigError(f"calling {spelled} failed: {reason}", key="object") from None
        if inspect.iscoroutine(made):
            made.close()
        resource = _as_resource(made, reactor)
        if resource is None:
            _refuse(made, f"what {spelled} makes")
    if resource is None:
        _refuse(found, spelled)
    return resource


def _as_resource(found: Any, reactor: Any) -> IResource | None:
    """
    ``found`` itself, as a resource; None when it is none, or is to be called for one.
    """
    if IResource.providedBy(found):
        return found
    if inspect.isclass(found) or _is_asgi(found):
        return None
    # A Klein app makes its resource.
    make_resource = getattr(found, "resource", None)
    if callable(make_resource) and _takes(make_resource, 0):
        made = make_resource()
        return made if IResource.providedBy(made) else None
    # (environ, start_response): PEP 3333.
    if callable(found) and _takes(found, 2) and not _has_defaults(found):
        # The reactor calls in its own pool, which is not made before the first request.
        return WSGIResource(reactor, reactor, found)
    return None


def _is_asgi(found: Any) -> bool:
    """
    Is it an ASGI application, that is an asynchronous callable of (scope, receive, send)?
    """
    call = found if inspect.isfunction(found) or inspect.ismethod(found) else getattr(found, "__call__", None)  # noqa: B004
    return inspect.iscoroutinefunction(call) and _takes(found, 3)


def _takes(found: Any, count: int) -> bool:
    """
    Can it be called with so many arguments?  True when it does not say.
    """
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def _has_defaults(found: Any) -> bool:
    """
    Is it a function whose parameters are all named and have defaults, as a factory's do?
    """
    if not inspect.isfunction(found):
        return False
    parameters = inspect.signature(found).parameters.values()
    return _takes(found, 0) and not any(each.kind is each.VAR_POSITIONAL for each in parameters)


def _refuse(found: Any, spelled: str) -> NoReturn:
    if _is_asgi(found):
        raise ConfigError(
            f"{spelled} is an ASGI application, which is not served in this process yet",
            key="object",
            expected="run it in a server of its own, and proxy to it",
        )
    raise ConfigError(
        f"{spelled} is a {type(found).__name__}, and not an application",
        key="object",
        expected="expected a resource, a Klein app, a WSGI application, or what makes one without arguments",
    )


def _where_instead(missing: str, base: Path) -> str:
    """
    What to do about a module that is not found.
    """
    parent, _, last = missing.rpartition(".")
    if parent:
        package = sys.modules.get(parent)
        siblings: Iterable[str] = [each.name for each in pkgutil.iter_modules(getattr(package, "__path__", ()))]
    else:
        if (base / last).is_dir() or (base / f"{last}.py").is_file():
            return 'it lies beside the configuration: write app = { object = "...", search = "." }'
        siblings = [each.name for each in pkgutil.iter_modules()]
    return _did_you_mean(last, siblings) or "install it, or name its directory by search"


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word, list(known), 1)
    return f'did you mean "{close[0]}"?' if close else ""


def _line_of(error: BaseException) -> str:
    """
    Where an error was raised, in few words.
    """
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
