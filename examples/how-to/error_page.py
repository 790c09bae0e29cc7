"""Answer 503 if the sessions cannot be stored. Run it with `uvicorn error_page:app`."""

import os

from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from coatcheck.asgi import SessionMiddleware
from coatcheck.errors import ConflictError, StoreError


async def visit(request):
    session = request.session
    session["visits"] = session.get("visits", 0) + 1
    return JSONResponse(session)


async def crash(request):
    request.session["crashed"] = True  # is dropped with the exception
    raise RuntimeError("a bug")


async def error_page(request, error):
    if isinstance(error, (StoreError, ConflictError)):
        return PlainTextResponse("Please try again.", 503, {"Retry-After": "5"})
    return PlainTextResponse("This is our fault.", 500)


app = Starlette(
    routes=[Route("/", visit), Route("/crash", crash)],
    exception_handlers={Exception: error_page},
)
app.add_middleware(
    SessionMiddleware,
    secret=os.environ["SESSION_SECRET"],
    store=os.environ["SESSION_STORE"],
)
