"""Litestar. Run it with `uvicorn litestar_app:app`."""

import os
from typing import Any

from litestar import Litestar, Request, get, post

from coatcheck import session_of
from coatcheck.litestar import SessionConfig


@get("/")
async def visit(request: Request) -> dict[str, Any]:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return request.session


@post("/login")
async def login(request: Request) -> dict[str, Any]:
    session_of(request).regenerate(keep_data=True)
    request.session["user"] = "ann"
    return request.session


@post("/logout")
async def logout(request: Request) -> dict[str, Any]:
    request.clear_session()
    return {}


app = Litestar(
    [visit, login, logout],
    plugins=[
        SessionConfig(
            secret=os.environ["SESSION_SECRET"],
            store=os.environ["SESSION_STORE"],
        )
    ],
)
