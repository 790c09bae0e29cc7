"""One session for all hosts of a domain. Run it with `uvicorn subdomains:app`."""

import os

from fastapi import FastAPI

from coatcheck import CookieOptions
from coatcheck.asgi import SessionMiddleware
from coatcheck.fastapi import SessionDep

app = FastAPI()
app.add_middleware(
    SessionMiddleware,
    secret=os.environ["SESSION_SECRET"],
    store=os.environ["SESSION_STORE"],
    cookie=CookieOptions(domain=os.environ["COOKIE_DOMAIN"]),  # such as shop.example
)


@app.get("/")
async def visit(session: SessionDep):
    session["visits"] = session.get("visits", 0) + 1
    return session
