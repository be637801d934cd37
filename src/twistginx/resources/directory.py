"""
A directory that is served: which file answers for a path, and what does where there is none.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import quote_from_bytes

from twisted.internet.interfaces import IReactorTime
from twisted.web import static
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from twistginx.errors import ProxyError
from twistginx.http.message import PHRASES, Reply, RequestHead
from twistginx.http.targets import with_slash
from twistginx.interfaces import IStreaming
from twistginx.net.threads import Threads
from twistginx.resources.answering import answer_to, with_digest
from twistginx.resources.digests import Digests, wanted_algorithm
from twistginx.resources.files import names_in
from twistginx.resources.listing import FIELDS, View, render, scan
from twistginx.resources.manner import Manner
from twistginx.resources.mediatypes import TYPES
from twistginx.resources.representation import KeptFile, OpenFile
from twistginx.resources.shelf import Shelf
from twistginx.resources.sighting import sighted
from twistginx.routing.match import under

#: How many entries of a directory are listed at a time.
LISTED: Final = 10_000

#: The words of failures that ``try_files`` may end with; of all other statuses, there is just the status.
_WORDS: Final = {403: "http_request_denied", 404: "destination_not_found"}


@implementer(IStreaming)
class StaticResource(static.File):
    """
    A directory whose files answer for ``request.matched_path``, or what of it is beneath the root.

    It finds files itself, because a tree of one ``File`` for each directory cannot promise that what it opens lies
    beneath the root.  What is inherited is for those who walk it themselves: ``getChild`` gives Twisted's own Files,
    with Twisted's own rules.
    """

    isLeaf = True
    contentTypes = {  # noqa: RUF012  # a table, as in the class above
        **static.File.contentTypes,
        **TYPES,
    }

    def __init__(
        self,
        path: str,
        defaultType: str = "application/octet-stream",
        ignoredExts: Sequence[str] = (),
        registry: static.Registry | None = None,
    ) -> None:
        super().__init__(path, defaultType, ignoredExts, registry)

    def serve(self, manner: Manner, shelf: Shelf, threads: Threads, reactor: IReactorTime) -> None:
        """
        Say how: to be called once, before the first request.

        :param shelf: has the files of this directory.
        """
        self._manner = manner
        self._shelf = shelf
        self._kept = shelf.kept
        self._ticker = shelf.ticker
        self._reactor = reactor
        self._threads = threads
        self._digests = Digests(threads)

    def createSimilarFile(self, path: str) -> static.File:
        """
        A child, for those who walk the tree: a File of Twisted's.
        """
        child = static.File(path, self.defaultType, self.ignoredExts, self.registry)
        child.processors = self.processors
        child.indexNames = self.indexNames[:]
        child.childNotFound = self.childNotFound
        return child

    def render(self, request: Any) -> int:
        """
        Answer at once, unless a directory is to be read, or a large file to be digested.
        """
        # The straight line: a small file, unconditionally.
        kept = self._kept.get(request.matched_path)
        if kept is not None and self._ticker.now < kept.until and not kept.codings:
            head = request.head
            if head.method == b"GET" and _is_plain(head) and request.diverted is None:
                request.respond(kept.whole)
                return NOT_DONE_YET
        try:
            self._answer(request)
        except ProxyError as error:
            self._fail(request, error)
        return NOT_DONE_YET

    def _answer(self, request: Any) -> None:
        """
        Answer, or see to it that somebody will.

        :raise ProxyError: when it is a failure.
        """
        head = request.head
        if request.diverted is not None:
            # It stands for a failure: of that there are no conditions and no parts (RFC 9110 sections 13.2.1 and 14.2),
            # and whatever was to be done has not been done.
            found = self._find(request)
            if found is not None:
                file = self._shelf.in_coding(head, found)
                request.respond(file.whole)
                file.close()
            return
        if head.method not in (b"GET", b"HEAD"):
            # A form goes to the front controller, unless a file is what it is sent to.
            if not self._pass_on(request):
                raise ProxyError("method_not_allowed", fields=((b"Allow", b"GET, HEAD"),))
            return
        found = self._shelf.fresh(request.matched_path) or self._find(request)
        if found is None:
            return
        file = self._shelf.in_coding(head, found)
        if _is_plain(head) and head.method == b"GET":
            request.respond(file.whole)
            file.close()
            return
        algorithm = wanted_algorithm(head.fields.joined(b"want-repr-digest"))
        if algorithm is None:
            self._send(request, file)
        else:
            # A client that leaves meanwhile is answered nothing; what is open is closed all the same.
            self._digests.of(file, algorithm).addCallback(partial(self._send, request, file))

    def _send(self, request: Any, file: KeptFile | OpenFile, digest: bytes | None = None) -> None:
        try:
            reply = answer_to(request.head, file, self._reactor)
        finally:
            file.close()
        request.respond(reply if digest is None else with_digest(reply, digest))

    def reply_with(self, head: RequestHead, below: bytes) -> Reply:
        """
        The answer to a request with the file of another path, by the conditions and ranges of the request.

        :param below: the path of the file beneath the root, decoded.
        :raise ProxyError: when there is none, or it may not be read.
        """
        names = names_in(below, self._manner.hidden)
        file = None if not names or below.endswith(b"/") else self._shelf.fetch(b"//" + b"/".join(names), names)
        if file is None:
            raise ProxyError("destination_not_found", "there is no such file")
        if head.method not in (b"GET", b"HEAD"):
            return file.whole
        try:
            return answer_to(head, file, self._reactor)
        finally:
            file.close()

    def explain(self, request: Any) -> list[str]:
        """
        See ``IExplaining``.
        """
        return sighted(self._manner, self._shelf, request, self._below(request))

    # Finding the file.

    def _find(self, request: Any) -> KeptFile | OpenFile | None:
        """
        The file that answers; None when something else does.

        :raise ProxyError: when nothing does.
        """
        below = self._below(request)
        try:
            if self._manner.try_files is not None:
                return self._find_one_of(request, below)
            return self._find_own(request, below)
        except ProxyError as error:
            spa = self._manner.spa
            if spa is None or error.reason.word != "destination_not_found":
                raise
            names = names_in(below, self._manner.hidden)
            if names is None or (names and self._shelf.types.has(names[-1])):
                raise  # a missing script must not be answered with a page
            file = self._shelf.fetch(b"//" + b"/".join(spa), spa)
            if file is None:
                raise
            return file

    def _below(self, request: Any) -> bytes:
        """
        The path of a request, beneath the root.
        """
        path: bytes = request.matched_path
        route = request.route
        if not (route.strip or self._manner.stripped):
            return path
        prefix: bytes = route.prefix if route.exact is None else route.exact
        # A rewrite may have led elsewhere.
        return path[len(prefix) :] if under(path, prefix) else path

    def _find_own(self, request: Any, below: bytes) -> KeptFile | OpenFile | None:
        """
        The file that the path says, or the index of the directory.
        """
        path: bytes = request.matched_path
        names = names_in(below, self._manner.hidden) if self._manner.only is None else [self._manner.only]
        if names is None:
            raise ProxyError("destination_not_found", "no file can have such a path")
        key = path if request.diverted is None else b"//" + b"/".join(names)
        file = self._shelf.fetch(key, names)
        if file is None:
            if not path.endswith(b"/") and request.route.exact is None and request.diverted is None:
                request.respond(_to_directory(request.head))
                return None
            return self._enter(request, path if key is path else key + b"/", names)
        if path.endswith(b"/") and self._manner.only is None:
            file.close()
            raise ProxyError("destination_not_found", "a file is not a directory")
        return file

    def _enter(self, request: Any, key: bytes, names: Sequence[bytes]) -> KeptFile | OpenFile | None:
        """
        What answers for a directory: its first index file that there is, or a list.
        """
        for index in self._manner.index:
            try:
                file = self._shelf.fetch(key, [*names, index])
            except ProxyError as error:
                if error.reason.word != "destination_not_found":
                    raise
            else:
                if file is not None:
                    return file
        if not self._manner.listing:
            raise ProxyError("destination_not_found", "the directory has no index file")
        self._list(request, names)
        return None

    def _find_one_of(self, request: Any, below: bytes) -> KeptFile | OpenFile | None:
        """
        The first of ``try_files`` that there is.
        """
        plan = self._manner.try_files
        assert plan is not None
        path: bytes = request.matched_path
        wanted = b""
        for place in plan.places:
            wanted = place.path(request, below)
            names = None if place.query is not None else names_in(wanted, self._manner.hidden)
            if names is None:
                continue
            own = plan.by_path and wanted == below and request.diverted is None
            key = path if own else b"//" + b"/".join(names)
            try:
                file = self._shelf.fresh(key) or self._shelf.fetch(key, names)
                if not wanted.endswith(b"/"):
                    if file is not None:
                        return file
                elif file is not None:
                    file.close()
                elif wanted == below + b"/":
                    # The directory of that very path: relative links on its page begin behind a slash.
                    self._index_of(names)
                    request.respond(_to_directory(request.head))
                    return None
                else:
                    return self._enter(request, path if own else key + b"/", names)
            except ProxyError as error:
                if error.reason.word != "destination_not_found":
                    raise
        if plan.status is None:
            query = plan.places[-1].query
            self._ask_site(request, wanted, None if query is None else query(request, below))
        elif plan.status in _WORDS:
            raise ProxyError(_WORDS[plan.status], "nothing of try_files is there")
        else:
            phrase = PHRASES.get(plan.status, b"")
            request.respond(Reply(plan.status, [(b"Content-Type", b"text/plain; charset=utf-8")], phrase + b"\n"))
        return None

    def _pass_on(self, request: Any) -> bool:
        """
        Ask the site, as ``try_files`` says, for what is no file; False when it is one, or nobody is to be asked.
        """
        plan = self._manner.try_files
        if plan is None or plan.status is not None:
            return False
        below = self._below(request)
        wanted = b""
        for place in plan.places:
            wanted = place.path(request, below)
            names = None if place.query is not None else names_in(wanted, self._manner.hidden)
            if names is None:
                continue
            status = self._shelf.root.status(names)
            if status is not None and (not stat.S_ISDIR(status.st_mode) or self._has_index(wanted, names)):
                return False
        query = plan.places[-1].query
        self._ask_site(request, wanted, None if query is None else query(request, below))
        return True

    def _has_index(self, wanted: bytes, names: Sequence[bytes]) -> bool:
        return wanted.endswith(b"/") and any(self._shelf.exists([*names, index]) for index in self._manner.index)

    def _index_of(self, names: Sequence[bytes]) -> None:
        """
        :raise ProxyError: when a directory has nothing to answer with.
        """
        if not self._manner.listing and not self._has_index(b"/", names):
            raise ProxyError("destination_not_found", "the directory has no index file")

    def _ask_site(self, request: Any, path: bytes, query: bytes | None) -> None:
        """
        There is no such file: whatever route has that path is to answer.
        """
        if path == request.matched_path:
            raise ProxyError("destination_not_found", "nothing of try_files is there")
        target = quote_from_bytes(path, safe="/!$&()*+,=:@~").encode()
        request.reroute(b"%b?%b" % (target, query) if query else target)

    # Listing a directory.

    def _list(self, request: Any, names: Sequence[bytes]) -> None:
        """
        Answer with what is in a directory, when a thread has found out.
        """
        head = request.head
        view = View.of(request.matched_path, request.target_query, head.fields.joined(b"accept"))
        descriptor = self._shelf.root.open_directory(names)
        work = self._threads.run(self._look, descriptor, names, view)
        work.addCallbacks(
            lambda page: request.respond(Reply(200, [(b"Content-Type", page[0]), *FIELDS], page[1])),
            lambda failure: self._fail(
                request, ProxyError("proxy_internal_error", f"reading a directory: {failure.getErrorMessage()}")
            ),
        )

    def _look(self, descriptor: int, names: Sequence[bytes], view: View) -> tuple[bytes, bytes]:
        """
        Runs in a thread.
        """
        try:
            found = scan(descriptor, LISTED, self._manner.hidden, partial(self._followed, names), view.after)
        finally:
            os.close(descriptor)
        return render(found, view)

    def _followed(self, names: Sequence[bytes], name: bytes) -> os.stat_result | None:
        return self._shelf.root.status([*names, name])

    # Failing.

    def _fail(self, request: Any, error: ProxyError) -> None:
        """
        Answer a failure, with the page that there is for it.
        """
        names = self._manner.error_pages.get(error.status)
        if names is not None:
            try:
                file = self._shelf.fetch(b"//" + b"/".join(names), names)
            except ProxyError:
                file = None  # then with ours
            if file is not None:
                try:
                    error.page = file.representation.type or b"application/octet-stream", file.read()
                finally:
                    file.close()
        request.fail(error)


def _is_plain(head: RequestHead) -> bool:
    """
    Has a request no condition, asks for no range, and wants no digest?
    """
    marks = head.marks
    return marks is not None and b"if-" not in marks and b"range:" not in marks and b"want-" not in marks


def _to_directory(head: RequestHead) -> Reply:
    return Reply(301, [(b"Location", with_slash(head.path, head.query))])
