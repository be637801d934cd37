"""
Files and a reverse proxy on aiohttp and uvloop: C{aiohttp_server.py STATIC TLS PROXY UPSTREAM ROOT CERT KEY LOG}.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import sys

import uvloop
from aiohttp import ClientSession, DummyCookieJar, TCPConnector, web

HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-connection"}


class Gathered(logging.FileHandler):
    """
    A log file that is written in pieces of 64 KiB.
    """

    def _open(self):
        return open(self.baseFilename, "a", 64 * 1024, encoding="utf-8")

    def flush(self):
        """
        Leave it to the file.
        """


def proxy(upstream: str) -> web.Application:
    """
    Everything to C{upstream}, over connections that are kept open, bodies as they come.
    """
    app = web.Application()

    async def session(app):
        async with ClientSession(
            connector=TCPConnector(limit=0), auto_decompress=False, cookie_jar=DummyCookieJar()
        ) as app["session"]:
            yield

    async def forward(request: web.Request) -> web.StreamResponse:
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP]
        headers += [("X-Forwarded-For", request.remote), ("X-Forwarded-Proto", request.scheme)]
        headers += [("X-Forwarded-Host", request.host)]
        body = request.content if request.body_exists else None
        async with app["session"].request(
            request.method, upstream + request.raw_path, headers=headers, data=body, allow_redirects=False
        ) as answer:
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP]
            response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=kept)
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response

    app.cleanup_ctx.append(session)
    app.router.add_route("*", "/{path:.*}", forward)
    return app


async def main(static: str, tls: str, front: str, upstream: str, root: str, cert: str, key: str, log: str) -> None:
    """
    Serve until the end.
    """
    logger = logging.getLogger("aiohttp.access")
    logger.setLevel(logging.INFO)
    logger.addHandler(Gathered(log))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(cert, key)
    files = web.Application()
    files.router.add_static("/", root)
    files_runner = web.AppRunner(files, access_log=logger)
    proxy_runner = web.AppRunner(proxy(f"http://127.0.0.1:{upstream}"), access_log=logger)
    for runner in (files_runner, proxy_runner):
        await runner.setup()
    for site in (
        web.TCPSite(files_runner, "127.0.0.1", int(static), backlog=4096),
        web.TCPSite(files_runner, "127.0.0.1", int(tls), backlog=4096, ssl_context=context),
        web.TCPSite(proxy_runner, "127.0.0.1", int(front), backlog=4096),
    ):
        await site.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
