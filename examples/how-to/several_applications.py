"""Two applications with a login each. Run it with `uvicorn several_applications:app`."""

import os
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from coatcheck import CookieOptions, session_of
from coatcheck.asgi import SessionMiddleware


async def show(request):
    return JSONResponse(dict(session_of(request)))


async def login(request):
    session = session_of(request)
    session.regenerate(keep_data=True)
    session["user"] = request.path_params["user"]
    return JSONResponse(dict(session))


async def logout(request):
    session_of(request).destroy()
    return JSONResponse({})


PAGES = [
    Route("/", show),
    Route("/login/{user}", login, methods=["POST"]),
    Route("/logout", logout, methods=["POST"]),
]
shop = SessionMiddleware(
    Starlette(routes=PAGES),
    secret=os.environ["SESSION_SECRET"],
    store=os.environ["SESSION_STORE"],
)
admin = SessionMiddleware(
    Starlette(routes=PAGES),
    secret=os.environ["SESSION_SECRET"],
    store=os.environ["ADMIN_STORE"],  # another folder, prefix, table or collection
    name="admin_sid",
    cookie=CookieOptions(path="/admin", same_site="strict"),
    idle_timeout=900,
)


@asynccontextmanager
async def lifespan(app):
    yield  # Starlette runs no lifespan of mounted applications
    await shop.close()
    await admin.close()


app = Starlette(routes=[Mount("/admin", admin), Mount("/", shop)], lifespan=lifespan)
