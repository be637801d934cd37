"""
What a failure looks like to the client: HTML, JSON (RFC 9457) or plain text, as it accepts.
"""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING

from twistginx.errors import ProxyError
from twistginx.http.message import PHRASES, Fields, Reply

if TYPE_CHECKING:
    from twistginx.http.response import Response

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>{status} {phrase}</title><style>
:root{{color-scheme:light dark}}body{{font:16px/1.5 system-ui,sans-serif;max-width:36rem;
margin:18vh auto 0;padding:0 1.5rem}}
h1{{font-size:1.5rem;margin:0 0 .5rem}}code{{font-size:.875rem;opacity:.75}}footer{{margin-top:2rem;opacity:.6}}
</style></head><body><h1>{status} {phrase}</h1><p>{text}</p><p><code>{word}{setting}</code></p>
<footer><small>twistginx</small></footer></body></html>
"""


def _kind(accept: bytes) -> str:
    """
    Which of our three forms an Accept field asks for (RFC 9110 section 12.5.1, the parts that matter for three).
    """
    accept = accept.lower()
    if b"text/html" in accept or b"application/xhtml" in accept:
        return "html"
    if b"json" in accept:
        return "json"
    return "plain"


def reply_for(error: ProxyError, request: Response) -> Reply:
    """
    The response for ``error``.

    It says the reason's word and sentence, and for a timeout or a limit the setting; never addresses of upstreams, nor
    anything that the client has sent.
    """
    reason = error.reason
    status = reason.status if reason.status != 499 else 400  # 499 is for the log only
    phrase = PHRASES.get(status, b"").decode()
    kind = _kind(request.head.fields.joined(b"accept"))
    if kind == "html":
        setting = f" ({escape(error.setting)})" if error.setting else ""
        content_type = b"text/html; charset=utf-8"
        text = _PAGE.format(status=status, phrase=phrase, text=reason.text, word=reason.word, setting=setting)
    elif kind == "json":
        content_type = b"application/problem+json"
        problem = {"type": "about:blank", "title": phrase, "status": status, "detail": reason.text}
        problem["reason"] = reason.word
        if error.setting:
            problem["setting"] = error.setting
        text = json.dumps(problem) + "\n"
    else:
        content_type = b"text/plain; charset=utf-8"
        setting = f" ({error.setting})" if error.setting else ""
        text = f"{status} {phrase}: {reason.text} [{reason.word}]{setting}\n"
    fields = Fields.of(
        [
            (b"Content-Type", content_type),
            (b"Cache-Control", b"no-store"),
            (b"Proxy-Status", b"twistginx; error=" + reason.word.encode()),
            *error.fields,
        ]
    )
    if reason.word == "method_not_allowed" and request.route is None:
        fields.add(b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
    return Reply(status, fields, text.encode())
