"""Starlette. Run it with `uvicorn starlette_app:app`."""

import os

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route

from coatcheck.asgi import SessionMiddleware


async def visit(request):
    session = request.session
    session["visits"] = session.get("visits", 0) + 1
    return JSONResponse(session)


async def login(request):
    request.session.regenerate(keep_data=True)
    request.session["user"] = "ann"
    return JSONResponse(request.session)


async def logout(request):
    request.session.destroy()
    return JSONResponse({})


sessions = Middleware(
    SessionMiddleware,
    secret=os.environ["SESSION_SECRET"],
    store=os.environ["SESSION_STORE"],
)
app = Starlette(
    routes=[
        Route("/", visit),
        Route("/login", login, methods=["POST"]),
        Route("/logout", logout, methods=["POST"]),
    ],
    middleware=[sessions],
)
