"""FastAPI. Run it with `uvicorn fastapi_app:app`."""

import os

from fastapi import FastAPI

from coatcheck.asgi import SessionMiddleware
from coatcheck.fastapi import SessionDep

app = FastAPI()
app.add_middleware(
    SessionMiddleware,
    secret=os.environ["SESSION_SECRET"],
    store=os.environ["SESSION_STORE"],
)


@app.get("/")
async def visit(session: SessionDep):
    session["visits"] = session.get("visits", 0) + 1
    return session


@app.post("/login")
async def login(session: SessionDep):
    session.regenerate(keep_data=True)
    session["user"] = "ann"
    return session


@app.post("/logout")
async def logout(session: SessionDep):
    session.destroy()
    return {}
