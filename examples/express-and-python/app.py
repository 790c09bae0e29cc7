"""The new half of the shop: FastAPI with coatcheck, on Express's sessions."""

import os
from typing import Annotated, Any

from fastapi import Body, FastAPI, Request
from fastapi.responses import RedirectResponse

from coatcheck.asgi import SessionMiddleware
from coatcheck_express import express_options

app = FastAPI()


@app.get("/new/")
async def home(request: Request) -> dict[str, Any]:
    session = request.session
    return {
        "served_by": "FastAPI",
        "user": session.get("user"),
        "cart": session.get("cart", []),
        "views": session.get("views", 0),
    }


@app.post("/new/cart")
async def add(request: Request, item: Annotated[str, Body(embed=True)]) -> RedirectResponse:
    request.session.setdefault("cart", []).append(item)
    return RedirectResponse("/new/", status_code=303)


@app.post("/new/login")
async def login(request: Request, user: Annotated[str, Body(embed=True)]) -> RedirectResponse:
    request.session.regenerate(keep_data=True)
    request.session["user"] = user
    return RedirectResponse("/new/", status_code=303)


@app.post("/new/logout")
async def logout(request: Request) -> RedirectResponse:
    request.session.destroy()
    return RedirectResponse("/new/", status_code=303)


app.add_middleware(
    SessionMiddleware,
    # The same options as in server.js, in snake_case.
    options=express_options(
        secret=os.environ["SESSION_SECRET"],
        store=os.environ["REDIS_URL"],
        cookie={"max_age_ms": 24 * 3600 * 1000, "same_site": "lax", "secure": "auto"},
        proxy=True,
        resave=False,
        save_uninitialized=False,
    ),
)
