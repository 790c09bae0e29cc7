"""An application for browsers: a login, a logout, pages to embed, and a WebSocket."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from coatcheck import MemoryStore, session_of
from coatcheck.asgi import SessionMiddleware
from coatcheck.errors import SessionGone


def application(**options: Any) -> SessionMiddleware:
    """Return the application, with options of the middleware."""
    routes = [
        Route("/", home),
        Route("/count", count, methods=["GET", "POST"]),
        Route("/login", login, methods=["POST"]),
        Route("/logout", logout, methods=["POST"]),
        Route("/account", account),
        Route("/slow/{key}", slow, methods=["POST"]),
        Route("/embed", embed),
        WebSocketRoute("/who", who),
    ]
    given = {"secret": "a secret for tests, of 32 bytes", "store": MemoryStore(), **options}
    return SessionMiddleware(Starlette(routes=routes), owner="user", **given)


async def home(request: Request) -> Response:
    return HTMLResponse("<title>Home</title><a id=account href=/account>account</a>")


async def count(request: Request) -> Response:
    """Count visits, and show the number and the user."""
    session = request.session
    session["visits"] = session.get("visits", 0) + 1
    return HTMLResponse(f"<p id=visits>{session['visits']}</p><p id=user>{session.get('user')}</p>")


async def login(request: Request) -> Response:
    """Log the user in; `remember` is how many seconds the browser keeps the cookie."""
    session = session_of(request)
    session.regenerate(keep_data=True)
    session["user"] = request.query_params["user"]
    if remembered := request.query_params.get("remember"):
        session.cookie.max_age = float(remembered)
    return JSONResponse({})


async def logout(request: Request) -> Response:
    session_of(request).destroy()
    return JSONResponse({})


async def account(request: Request) -> Response:
    """Show the user; `cache` is the Cache-Control of the page."""
    page = f"<title>Account</title><p id=user>{request.session.get('user')}</p>"
    headers = {"cache-control": request.query_params.get("cache", "no-store")}
    return HTMLResponse(page, headers=headers)


async def slow(request: Request) -> Response:
    """Read the session, wait for the other requests, and change a key of its own."""
    session = session_of(request)
    list(session)
    await asyncio.sleep(0.5)
    session[request.path_params["key"]] = "changed"
    await session.save()
    return JSONResponse(session)


async def embed(request: Request) -> Response:
    """A page of another site: a frame, and a form that posts to it."""
    target = request.query_params["target"]
    return HTMLResponse(
        f"<title>Other</title><iframe src='{target}' name=frame></iframe>"
        f"<form method=post action='{target}'><button>post</button></form>"
        f"<a href='{target}'>link</a>"
    )


async def who(websocket: WebSocket) -> None:
    """Say who is logged in, each time that the browser asks; end when nobody is."""
    session = session_of(websocket)
    await websocket.accept()
    while True:
        await websocket.receive_text()
        try:
            await session.reload()
        except SessionGone:
            await websocket.close(4401)
            return
        await websocket.send_text(str(session.get("user")))
