"""An application behind a proxy that ends TLS. Run it with `uvicorn proxy:app`."""

import os

from fastapi import FastAPI, WebSocket

from coatcheck.asgi import SessionMiddleware
from coatcheck.fastapi import SessionDep

app = FastAPI()
app.add_middleware(
    SessionMiddleware,
    secret=os.environ["SESSION_SECRET"],
    store=os.environ["SESSION_STORE"],
    trust_proxy=True,  # the proxy replaces X-Forwarded-Proto
    name="__Host-sid",  # the site is on https alone
)


@app.get("/")
async def visit(session: SessionDep):
    session["visits"] = session.get("visits", 0) + 1
    return session


@app.websocket("/visits")
async def visits(socket: WebSocket, session: SessionDep):
    await socket.accept()
    await socket.send_text(str(session.get("visits", 0)))
