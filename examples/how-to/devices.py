"""Show where a user is logged in, and end sessions. Run it with `uvicorn devices:app`."""

import os
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request

from coatcheck import Session, SessionOptions, Sessions, open_async_store
from coatcheck.asgi import SessionMiddleware
from coatcheck.fastapi import SessionDep
from coatcheck.logins import record_login

store = open_async_store(os.environ["SESSION_STORE"])
options = SessionOptions(secret=os.environ["SESSION_SECRET"], store=store, owner="user_id")
sessions = Sessions(store, options)


@asynccontextmanager
async def lifespan(app: FastAPI):
    yield
    await store.close()


app = FastAPI(lifespan=lifespan)
app.add_middleware(SessionMiddleware, options=options)


def user_of(session: Session) -> int:
    if "user_id" not in session:
        raise HTTPException(401, "not logged in")
    return session["user_id"]


@app.post("/login/{user_id}")
async def login(user_id: int, request: Request, session: SessionDep):
    # check the password here
    record_login(session)
    session["user_id"] = user_id
    session["device"] = request.headers.get("user-agent", "")[:200]


@app.get("/devices")
async def devices(session: SessionDep):
    own = sessions.ref_of(session)
    return [
        {
            "ref": entry.ref,
            "device": entry.data.get("device", ""),
            "since": entry.created_at,
            "is_this_one": entry.ref == own,
        }
        for entry in await sessions.alist(user_of(session))
    ]


@app.post("/devices/{ref}/end")
async def end(ref: str, session: SessionDep):
    found = {entry.ref for entry in await sessions.alist(user_of(session))}
    if ref not in found:  # it may be the ref of somebody else's session
        raise HTTPException(404, "there is no such device")
    await sessions.arevoke(ref)
