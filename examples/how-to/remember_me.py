"""A box "remember me" in the form of the login. Run it with `uvicorn remember_me:app`."""

import os
from typing import Annotated

from fastapi import FastAPI, Form

from coatcheck.asgi import SessionMiddleware
from coatcheck.fastapi import SessionDep
from coatcheck.logins import record_login

THIRTY_DAYS = 30 * 86400

app = FastAPI()
app.add_middleware(
    SessionMiddleware,
    secret=os.environ["SESSION_SECRET"],
    store=os.environ["SESSION_STORE"],
    idle_timeout=3600,  # for those who do not tick the box
    absolute_timeout=90 * 86400,  # for everybody
)


@app.get("/")
async def home(session: SessionDep):
    return {"user_id": session.get("user_id")}


@app.post("/login")
async def login(session: SessionDep, remember: Annotated[bool, Form()] = False):
    # check the password here
    record_login(session)
    session["user_id"] = 42
    session.cookie.max_age = THIRTY_DAYS if remember else None
