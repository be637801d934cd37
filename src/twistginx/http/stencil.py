"""
What the field sections of one client have in common, where they are not the same.  Pure.

A client that does not say the same again mostly says the same with another value or two: a cookie that changes, an
entity tag, the context of a trace.  A stencil is made of two plain sections (``http.plain``) that differ in values
only.  What fits it has been judged, but for these values: they are looked at for what llhttp would have to be asked
about, and nothing else is looked for.
"""

from __future__ import annotations

from twistginx.http.message import Section

#: What a value is made of that nobody has to be asked about.
VALUE = bytes(range(0x20, 0x7F))

#: Lines that decide, and must not differ.
_DECIDING = (b"host:", b"connection:")

#: Lines that the access log tells.
_TOLD = (b"user-agent:", b"referer:")


class Stencil:
    """
    The lines between the first that differs and the last one may have other values; all else is the same.

    It fits sections that have the same lines in the same order.  It is not to be changed.

    :ivar before: the block up to the first of those lines; ``behind``: from the end of the last of them.
    :ivar names: what those lines begin with, as it was sent: ``b"Cookie:"``.
    """

    __slots__ = ("_ends", "_first", "_fixed", "_rest", "_told", "before", "behind", "names")

    def __init__(self, lines: list[bytes], first: int, rest: int) -> None:
        """
        :param lines: of a section that it fits.
        :param first: which of them is the first that may differ.
        :param rest: which of them is the first behind those.
        """
        self.names = tuple([line[: line.find(b":") + 1] for line in lines[first:rest]])
        self.before = b"\r\n".join([b"", *lines[:first], b""])
        self.behind = b"\r\n".join([b"", *lines[rest:], b""])
        self._fixed = [
            (index, line)
            for index, line in enumerate(lines[first:rest])
            if line[: line.find(b":") + 1].lower() in _DECIDING
        ]
        self._ends = b"\r\n" * (rest - first - 1)
        self._first = first
        self._rest = rest
        self._told = not any(name.lower() in _TOLD for name in self.names)

    @classmethod
    def of(cls, last: Section, section: Section) -> Stencil | None:
        """
        The stencil that both fit, and whatever fits that of ``last``, if it can be.  None: there is none.
        """
        if last.marks != section.marks:
            return None
        old, new = last.block[2:-2].split(b"\r\n"), section.block[2:-2].split(b"\r\n")
        if len(old) != len(new):
            return None
        differing = [index for index, line in enumerate(new) if line != old[index]]
        if not differing:
            return None
        first, rest = differing[0], differing[-1] + 1
        if last.stencil is not None:
            first, rest = min(first, last.stencil._first), max(rest, last.stencil._rest)
        for index in range(first, rest):
            name = new[index][: new[index].find(b":") + 1]
            if not old[index].startswith(name) or (old[index] != new[index] and name.lower() in _DECIDING):
                return None
        return cls(new, first, rest)

    def section(self, data: bytes, at: int, like: Section) -> Section | None:
        """
        The section behind the request line of ``data``, which ends at ``at``, if it fits.

        :param like: one that it fits.  (It keeps none itself: each would hold the other.)
        """
        before, behind = self.before, self.behind
        if not (data.startswith(before, at) and data.endswith(behind, at + len(before), -2)):
            return None
        said = data[at + len(before) : -2 - len(behind)]
        names = self.names
        if said.translate(None, VALUE) != self._ends:
            return None
        if not self._ends:
            if not said.startswith(names):
                return None
        else:
            lines = said.split(b"\r\n")
            if len(lines) != len(names):
                return None
            for each, name in zip(lines, names, strict=True):
                if not each.startswith(name):
                    return None
            for index, line in self._fixed:
                if lines[index] != line:
                    return None
        section = Section(data[at:-2], like.marks, like.host, like.keep_alive)
        section.stencil = self
        section.connection = like.connection
        if self._told:
            section.told = like.told
        return section
