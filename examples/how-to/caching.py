"""A page that caches may keep, and one that they may not. Run it with `uvicorn caching:app`."""

import os

from fastapi import FastAPI, Response

from coatcheck.asgi import SessionMiddleware
from coatcheck.fastapi import SessionDep

app = FastAPI()
app.add_middleware(
    SessionMiddleware,
    secret=os.environ["SESSION_SECRET"],
    store=os.environ["SESSION_STORE"],
)


@app.get("/catalog")  # the same for everybody: it has no parameter `session`
async def catalog(response: Response):
    response.headers["Cache-Control"] = "public, max-age=300"
    return ["umbrella", "hat"]


@app.get("/cart")  # another one for each visitor
async def cart(session: SessionDep, response: Response):
    response.headers["Cache-Control"] = "private, no-cache"
    return session.get("cart", [])


@app.post("/cart/{item}")
async def add_to_cart(item: str, session: SessionDep):
    session.setdefault("cart", []).append(item)
    return session["cart"]
