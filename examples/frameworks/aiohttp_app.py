"""aiohttp. Run it with `python aiohttp_app.py`."""

import os

from aiohttp import web

import coatcheck.aiohttp
from coatcheck import session_of

routes = web.RouteTableDef()


@routes.get("/")
async def visit(request):
    session = session_of(request)
    session["visits"] = session.get("visits", 0) + 1
    return web.json_response(session)


@routes.post("/login")
async def login(request):
    session = session_of(request)
    session.regenerate(keep_data=True)
    session["user"] = "ann"
    return web.json_response(session)


@routes.post("/logout")
async def logout(request):
    session_of(request).destroy()
    return web.json_response({})


app = web.Application()
app.add_routes(routes)
coatcheck.aiohttp.setup(
    app,
    secret=os.environ["SESSION_SECRET"],
    store=os.environ["SESSION_STORE"],
)

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=8000)
