"""Sanic. Run it with `sanic sanic_app:app`."""

import os

from sanic import Sanic
from sanic.response import json

import coatcheck.sanic

app = Sanic("shop")
coatcheck.sanic.setup(
    app,
    secret=os.environ["SESSION_SECRET"],
    store=os.environ["SESSION_STORE"],
)


@app.get("/")
async def visit(request):
    session = request.ctx.session
    session["visits"] = session.get("visits", 0) + 1
    return json(dict(session))


@app.post("/login")
async def login(request):
    session = request.ctx.session
    session.regenerate(keep_data=True)
    session["user"] = "ann"
    return json(dict(session))


@app.post("/logout")
async def logout(request):
    request.ctx.session.destroy()
    return json({})
