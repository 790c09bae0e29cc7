"""A new password ends all other sessions. Run it with `uvicorn log_out_everywhere:app`."""

import os
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException

from coatcheck import SessionOptions, Sessions, open_async_store
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


@app.get("/")
async def home(session: SessionDep):
    return {"user_id": session.get("user_id")}


@app.post("/login/{user_id}")
async def login(user_id: int, session: SessionDep):
    # check the password here
    record_login(session)
    session["user_id"] = user_id


@app.post("/password")
async def change_password(session: SessionDep):
    if "user_id" not in session:
        raise HTTPException(401, "not logged in")
    # first store the new password here, so that nobody logs in with the old one
    record_login(session)  # a new id for this session as well
    ended = await sessions.arevoke_all(session["user_id"], keep=session)
    return {"ended": ended}


@app.post("/logout-everywhere")
async def logout_everywhere(session: SessionDep):
    if "user_id" in session:
        await sessions.arevoke_all(session["user_id"])
    session.destroy()  # removes the cookie as well
