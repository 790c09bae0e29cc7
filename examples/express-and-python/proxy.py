"""One address for both halves: new paths go to Python, and all others to Express.

Any reverse proxy can do this; this one is small enough to read.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

EXPRESS, PYTHON = os.environ["EXPRESS_URL"], os.environ["PYTHON_URL"]
#: Routes move from one half to the other here.
NEW = ("/new/",)
#: Headers of one connection (RFC 9110, 7.6.1), and those that depend on the response's body.
OWN = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with httpx.AsyncClient() as app.state.client:
        yield


async def forward(request: Request) -> Response:
    base = PYTHON if request.url.path.startswith(NEW) else EXPRESS
    headers = [pair for pair in request.headers.items() if pair[0] not in OWN]
    headers.append(("x-forwarded-proto", request.url.scheme))
    # The client must keep no cookies: they belong to different visitors.
    request.app.state.client.cookies.clear()
    answer = await request.app.state.client.request(
        request.method,
        f"{base}{request.url.path}",
        params=request.url.query,
        headers=headers,
        content=await request.body(),
    )
    response = Response(answer.content, answer.status_code)
    for name, value in answer.headers.multi_items():
        if name not in OWN | {"content-encoding"}:
            response.headers.append(name, value)
    return response


METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
app = Starlette(routes=[Route("/{path:path}", forward, methods=METHODS)], lifespan=lifespan)
