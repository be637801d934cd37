"""
Every exception that crosses a package border, and the table of failure reasons.

A failure has one word (RFC 9209, section 2.3, where it has one; ours otherwise).  The same word stands in the
``Proxy-Status`` field, the access log, the counters, the error page and the health state.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from attrs import frozen


class TwistginxError(Exception):
    """
    The base of all our exceptions.
    """


@frozen
class Problem:
    """
    One thing that is wrong with a configuration.

    :ivar file: the path of the file, as the user would write it; empty for what has no file.
    :ivar line: counted from 1; 0 where there is no position.
    :ivar column: counted from 1, in characters; 0 where there is no position.
    :ivar key: the dotted path of the key, ``site[0].route[2].static.root``; empty for a syntax error.
    :ivar message: what is wrong.
    :ivar expected: what was expected, or what to do; empty where ``message`` says it all.
    :ivar warning: True for what is risky and yet valid.
    """

    file: str
    line: int
    column: int
    key: str
    message: str
    expected: str = ""
    warning: bool = False

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        words = [word for word in (place, "warning" if self.warning else "", self.key) if word]
        text = ": ".join([*words, self.message])
        return f"{text}; {self.expected}" if self.expected else text


class ConfigError(TwistginxError):
    """
    A configuration that cannot be used.

    A module raises ``ConfigError("what is wrong", key="root", expected="what to do")`` with the key relative to its
    own table; build adds the place.  What leaves config and build carries the whole list as ``problems``.
    """

    def __init__(
        self, message: str = "", key: str = "", expected: str = "", problems: tuple[Problem, ...] | None = None
    ) -> None:
        if problems is None:
            problems = (Problem("", 0, 0, key, message, expected),)
        super().__init__("\n".join(map(str, problems)))
        self.message = message
        self.key = key
        self.expected = expected
        self.problems = problems


class Fault(Enum):
    """
    Whose failure it is.
    """

    CLIENT = "client"
    UPSTREAM = "upstream"
    US = "us"


class Retry(Enum):
    """
    May the same request be sent again, to another peer or on another connection?

    ``UNSENT`` is for failures before the first byte of the request left.  ``REUSED`` is the keep-alive race: a
    connection that had served before died before the first byte of an answer, so a request that may be repeated goes
    once to a fresh connection.
    """

    NEVER = "never"
    UNSENT = "unsent"
    REUSED = "reused"


@frozen
class Reason:
    """
    A row of the table.

    :ivar word: the name of the failure, in snake_case.
    :ivar status: what the client is answered when no head has been sent; 499 is only logged.
    :ivar text: one sentence for the error page.
    """

    word: str
    fault: Fault
    status: int
    retry: Retry
    text: str


def _table(*rows: tuple[str, Fault, int, Retry, str]) -> dict[str, Reason]:
    return {row[0]: Reason(*row) for row in rows}


_C, _U, _S = Fault.CLIENT, Fault.UPSTREAM, Fault.US
_NO, _UNSENT, _REUSED = Retry.NEVER, Retry.UNSENT, Retry.REUSED

#: All reasons, by word.
REASONS: Final = _table(
    # What the client did.
    ("http_request_error", _C, 400, _NO, "The request could not be understood."),
    ("authentication_required", _C, 401, _NO, "Who asks must say so, and prove it."),
    ("http_request_denied", _C, 403, _NO, "The request is not allowed."),
    ("destination_not_found", _C, 404, _NO, "There is nothing at this address."),
    ("method_not_allowed", _C, 405, _NO, "This method is not allowed here."),
    ("request_header_timeout", _C, 408, _NO, "The head of the request took too long."),
    ("request_body_timeout", _C, 408, _NO, "The body of the request took too long."),
    ("request_body_too_large", _C, 413, _NO, "The body of the request is too large."),
    ("request_target_too_long", _C, 414, _NO, "The address is too long."),
    ("expectation_failed", _C, 417, _NO, "The expectation of the request cannot be met."),
    ("misdirected_request", _C, 421, _NO, "This server does not answer for that name on this connection."),
    ("rate_limited", _C, 429, _NO, "There were too many requests in a short time."),
    ("concurrency_limited", _C, 429, _NO, "There are too many requests at the same time."),
    ("request_header_too_large", _C, 431, _NO, "The head of the request is too large."),
    ("client_disconnected", _C, 499, _NO, "The client left before it was answered."),
    ("response_write_timeout", _C, 499, _NO, "The client did not take its answer."),
    ("method_not_implemented", _C, 501, _NO, "This method is not known here."),
    ("http_version_not_supported", _C, 505, _NO, "This version of HTTP is not spoken here."),
    # What the upstream did.
    ("dns_error", _U, 502, _UNSENT, "The name of the upstream server could not be resolved."),
    ("connection_refused", _U, 502, _UNSENT, "The upstream server refused the connection."),
    ("destination_ip_unroutable", _U, 502, _UNSENT, "There is no way to the upstream server."),
    ("connection_timeout", _U, 504, _UNSENT, "The upstream server did not accept the connection in time."),
    ("tls_protocol_error", _U, 502, _UNSENT, "The TLS handshake with the upstream server failed."),
    ("tls_certificate_error", _U, 502, _UNSENT, "The certificate of the upstream server is not valid."),
    ("tls_alert_received", _U, 502, _UNSENT, "The upstream server refused the TLS handshake."),
    ("connection_terminated", _U, 502, _REUSED, "The upstream server closed the connection without an answer."),
    ("connection_write_timeout", _U, 504, _NO, "The upstream server did not take the request in time."),
    ("http_response_timeout", _U, 504, _NO, "The upstream server did not answer in time."),
    ("connection_read_timeout", _U, 504, _NO, "The upstream server stopped in the middle of its answer."),
    ("http_response_incomplete", _U, 502, _NO, "The upstream server broke off its answer."),
    ("http_response_header_section_size", _U, 502, _NO, "The head of the upstream server's answer is too large."),
    ("http_response_trailer_section_size", _U, 502, _NO, "The trailers of the upstream server's answer are too large."),
    ("http_response_transfer_coding", _U, 502, _NO, "The upstream server's answer is in an unknown transfer coding."),
    ("http_protocol_error", _U, 502, _NO, "The answer of the upstream server could not be understood."),
    ("http_upgrade_failed", _U, 502, _NO, "The upstream server changed the protocol without being asked."),
    # What we did, or are told to do.
    ("destination_unavailable", _S, 503, _UNSENT, "No upstream server is available."),
    ("authentication_unavailable", _S, 503, _NO, "It cannot be found out now who may come in."),
    ("store_away", _S, 503, _NO, "It cannot be found out now what is within the limits."),
    ("connection_limit_reached", _S, 503, _NO, "All upstream servers have as much to do as they may."),
    ("spool_full", _S, 503, _NO, "There is no room for the body of the request now."),
    ("storage_full", _S, 507, _NO, "There is no room for the body of the request on this server."),
    ("connection_limit", _S, 503, _NO, "This server has too many connections."),
    ("shutting_down", _S, 503, _NO, "This server is being stopped."),
    ("proxy_internal_error", _S, 500, _NO, "Something went wrong in this server."),
)


class ProxyError(TwistginxError):
    """
    A request that failed, and why.

    :ivar reason: a row of :data:`REASONS`.
    :ivar detail: words for the log, and for trusted readers only; never bytes of the client's.
    :ivar setting: for a timeout or a limit, the key that sets it, such as ``upstream.app.timeouts.connect = 3s``.
    :ivar fields: that the answer is to carry, as ``(name, value)``: Allow, Retry-After.
    :ivar received: the status that the upstream server had sent when it failed; 0 when it had sent none.
    :ivar page: what the client is shown instead of our page: a Content-Type and a body; None: ours.
    :ivar status: what the client is answered.
    """

    page: tuple[bytes, bytes] | None = None

    def __init__(
        self,
        word: str,
        detail: str = "",
        setting: str = "",
        fields: tuple[tuple[bytes, bytes], ...] = (),
        received: int = 0,
        status: int = 0,
    ) -> None:
        """
        :param status: another than that of the row; 0: that.
        """
        self.reason = REASONS[word]
        self.status = status or self.reason.status
        self.detail = detail
        self.setting = setting
        self.fields = fields
        self.received = received
        super().__init__(": ".join(part for part in (word, detail, setting) if part))

    @property
    def told(self) -> str:
        """
        What went wrong, in words, and the setting that decided it, for logs; empty where there is nothing to say.
        """
        return "; ".join(filter(None, (self.detail, self.setting)))
