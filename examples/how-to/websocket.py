"""A WebSocket with the session of its pages. Run it with `uvicorn websocket:app`."""

import os

from fastapi import FastAPI, WebSocket

from coatcheck.asgi import SessionMiddleware
from coatcheck.errors import SessionGone
from coatcheck.fastapi import SessionDep
from coatcheck.logins import record_login

app = FastAPI()
app.add_middleware(
    SessionMiddleware,
    secret=os.environ["SESSION_SECRET"],
    store=os.environ["SESSION_STORE"],
)
ORIGINS = os.environ["SITE_ORIGINS"].split(",")  # such as https://shop.example


@app.post("/login")
async def login(session: SessionDep):
    # check the password here
    record_login(session)
    session["user_id"] = 42


@app.post("/logout")
async def logout(session: SessionDep):
    session.destroy()


@app.websocket("/chat")
async def chat(socket: WebSocket, session: SessionDep):
    if "user_id" not in session or socket.headers.get("origin") not in ORIGINS:
        await socket.close(1008)  # before `accept()`: the browser sees a 403
        return
    await socket.accept()
    async for text in socket.iter_text():
        try:
            await session.reload()  # what other requests have changed
        except SessionGone:
            await socket.close(1008, "logged out")
            return
        session["messages"] = session.get("messages", 0) + 1
        session.touch()  # an open socket alone keeps no session alive
        await session.save()
        await socket.send_text(f"{session['messages']}: {text}")
