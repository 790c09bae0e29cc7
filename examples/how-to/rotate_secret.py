"""Read several secrets from the environment. Run it with `uvicorn rotate_secret:app`."""

import os

from fastapi import FastAPI

from coatcheck.asgi import SessionMiddleware
from coatcheck.fastapi import SessionDep

app = FastAPI()
app.add_middleware(
    SessionMiddleware,
    secret=os.environ["SESSION_SECRET"].split(","),  # the first signs, all verify
    store=os.environ["SESSION_STORE"],
)


@app.get("/")
async def visit(session: SessionDep):
    session["visits"] = session.get("visits", 0) + 1
    return session
