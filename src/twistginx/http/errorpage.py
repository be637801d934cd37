"""
What a failure looks like to the client: HTML, JSON (RFC 9457) or plain text, as it accepts.

Each says the reason's word, as the log and the ``Proxy-Status`` field (RFC 9209) do, and the name of the request, by
which whoever runs the server finds the rest in the log.
"""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Final

from twistginx.errors import ProxyError
from twistginx.http import requestid
from twistginx.http.message import PHRASES, Fields, Reply

if TYPE_CHECKING:
    from twistginx.http.response import Response

_PAGE: Final = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>{status} {phrase}</title><style>
:root{{color-scheme:light dark;--text:#1c1f24;--soft:#6a737d;--line:#d9dde2;--page:#fbfbfc}}
@media(prefers-color-scheme:dark){{:root{{--text:#e6e8eb;--soft:#8f99a3;--line:#32383f;--page:#16191d}}}}
body{{font:16px/1.55 system-ui,sans-serif;color:var(--text);background:var(--page);max-width:34rem;
margin:16vh auto 2rem;padding:0 1.5rem}}
h1{{font-size:1.375rem;font-weight:600;margin:0 0 .5rem}}h1 b{{font-size:3.5rem;font-weight:200;display:block;
letter-spacing:-.02em;line-height:1.1;color:var(--soft)}}p{{margin:0}}
dl{{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1rem;margin:2rem 0 0;padding:1rem 0 0;
border-top:1px solid var(--line);font-size:.875rem;color:var(--soft)}}
dd{{margin:0;font-family:ui-monospace,monospace;overflow-wrap:anywhere}}
</style></head><body><h1><b>{status}</b>{phrase}</h1><p>{text}</p>
<dl>{rows}</dl></body></html>
"""

#: The forms there are, by the media types that ask for them; plain text is for everybody else.
_FORMS: Final = {
    "text/html": "html",
    "application/xhtml+xml": "html",
    "application/problem+json": "json",
    "application/json": "json",
    "text/plain": "plain",
    "text/*": "plain",
    "*/*": "plain",
}

_TYPES: Final = {
    "html": b"text/html; charset=utf-8",
    "json": b"application/problem+json",
    "plain": b"text/plain; charset=utf-8",
}


def _form(accept: bytes) -> str:
    """
    Which of our forms an Accept field likes best (RFC 9110 section 12.5.1); of equals, the one that it names first.
    """
    best, form = 0.0, "plain"
    for part in accept.decode("latin-1").lower().split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
        found = _FORMS.get(media) or ("json" if media.endswith("+json") else None)
        if found is not None and best < quality <= 1:
            best, form = quality, found
    return form


def proxy_status(error: ProxyError, trusted: bool) -> bytes:
    """
    The value of ``Proxy-Status`` (RFC 9209) for a failure.

    :param trusted: it is for somebody who may know the details, addresses of upstreams among them.
    """
    value = f"twistginx; error={error.reason.word}"
    if 100 <= error.received <= 999:  # three digits (RFC 9112 section 4)
        value += f"; received-status={error.received}"
    details = "; ".join(filter(None, (error.detail if trusted else "", error.setting)))
    if details:
        # A string of RFC 8941 section 3.3.3: printable ASCII.
        text = "".join(letter if " " <= letter <= "~" else "?" for letter in details)
        value += '; details="{}"'.format(text.replace("\\", r"\\").replace('"', r"\""))
    return value.encode()


def reply_for(error: ProxyError, request: Response) -> Reply:
    """
    The response for ``error``.

    It says the reason's word and sentence, for a timeout or a limit the setting, and the request's name; never
    addresses of upstreams, unless to a trusted proxy, nor anything that the client has sent.
    """
    reason = error.reason
    status = error.status if error.status != 499 else 400  # 499 is for the log only
    phrase = PHRASES.get(status, b"").decode()
    request_id = request.request_id.decode()
    form = _form(request.head.fields.joined(b"accept"))
    if form == "html":
        rows = {"Reason": reason.word, "Setting": error.setting, "Request": request_id}
        text = _PAGE.format(
            status=status,
            phrase=phrase,
            text=reason.text,
            rows="".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in rows.items() if value),
        )
    elif form == "json":
        problem = {"type": "about:blank", "title": phrase, "status": status, "detail": reason.text}
        problem |= {"reason": reason.word, "request_id": request_id}
        if error.setting:
            problem["setting"] = error.setting
        text = json.dumps(problem) + "\n"
    else:
        setting = f" ({error.setting})" if error.setting else ""
        text = f"{status} {phrase}: {reason.text} [{reason.word}]{setting}\nRequest {request_id}\n"
    kind, body = error.page or (_TYPES[form], text.encode())
    fields = Fields.of(
        [
            (b"Content-Type", kind),
            (b"Cache-Control", b"no-store"),
            (b"Proxy-Status", proxy_status(error, request.from_trusted)),
            (requestid.NAME, request.request_id),
            *error.fields,
        ]
    )
    if reason.word == "method_not_allowed" and request.route is None:
        fields.add(b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
    return Reply(status, fields, body)
