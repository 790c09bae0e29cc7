"""Log in and out. Run it with `uvicorn log_in:app`."""

import os
from typing import Annotated

from fastapi import FastAPI, Form, HTTPException
from fastapi.responses import RedirectResponse

from coatcheck.asgi import SessionMiddleware
from coatcheck.fastapi import SessionDep
from coatcheck.logins import record_login

app = FastAPI()
app.add_middleware(
    SessionMiddleware,
    secret=os.environ["SESSION_SECRET"],
    store=os.environ["SESSION_STORE"],
)


def find_user(name: str, password: str) -> int | None:
    """Return the id of a user, or None: here your application asks its database."""
    return 42 if (name, password) == ("ann", "open sesame") else None


@app.get("/")
async def home(session: SessionDep):
    return {"user_id": session.get("user_id"), "cart": session.get("cart", [])}


@app.post("/cart/{item}")
async def add_to_cart(item: str, session: SessionDep):
    session.setdefault("cart", []).append(item)


@app.post("/login")
async def login(
    session: SessionDep, name: Annotated[str, Form()], password: Annotated[str, Form()]
):
    user_id = find_user(name, password)
    if user_id is None:
        raise HTTPException(401, "wrong name or password")
    record_login(session)  # a new id; the cart stays
    session["user_id"] = user_id
    return RedirectResponse("/", 303)


@app.post("/logout")
async def logout(session: SessionDep):
    session.destroy()
    return RedirectResponse("/", 303)
