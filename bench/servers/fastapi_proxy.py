"""
The reverse proxy that people write with FastAPI and httpx, run by uvicorn: C{fastapi_proxy.py PROXY UPSTREAM LOG}.
"""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager

import httpx
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask

PORT, UPSTREAM, LOG = sys.argv[1:]


@asynccontextmanager
async def lifespan(app):
    """
    One client, which keeps its connections.
    """
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{UPSTREAM}", timeout=60) as app.state.client:
        yield


app = FastAPI(lifespan=lifespan)


@app.api_route("/{path:path}", methods=["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def forward(request: Request) -> StreamingResponse:
    """
    Everything to the upstream, bodies as they come.
    """
    client = request.app.state.client
    url = httpx.URL(path=request.url.path, query=request.url.query.encode())
    asked = client.build_request(request.method, url, headers=request.headers.raw, content=request.stream())
    answer = await client.send(asked, stream=True)
    return StreamingResponse(
        answer.aiter_raw(), answer.status_code, answer.headers, background=BackgroundTask(answer.aclose)
    )


if __name__ == "__main__":
    logs = {
        **uvicorn.config.LOGGING_CONFIG,
        "handlers": {
            "default": {"class": "logging.StreamHandler", "formatter": "default"},
            "access": {"class": "logging.FileHandler", "filename": LOG, "formatter": "access"},
        },
    }
    uvicorn.run(app, host="127.0.0.1", port=int(PORT), loop="uvloop", http="httptools", log_config=logs)
