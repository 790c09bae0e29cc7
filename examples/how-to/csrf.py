"""Accept forms from pages of this site alone. Run it with `uvicorn csrf:app`."""

import os
import secrets
from typing import Annotated

from fastapi import Depends, FastAPI, Form, HTTPException
from fastapi.responses import HTMLResponse

from coatcheck.asgi import SessionMiddleware
from coatcheck.fastapi import SessionDep
from coatcheck.logins import record_login

app = FastAPI()
app.add_middleware(
    SessionMiddleware,
    secret=os.environ["SESSION_SECRET"],
    store=os.environ["SESSION_STORE"],
)


async def csrf_token(session: SessionDep) -> str:
    return session.setdefault("csrf", secrets.token_urlsafe())


async def check_csrf(session: SessionDep, csrf: Annotated[str, Form()] = "") -> None:
    expected = session.get("csrf")
    if expected is None or not secrets.compare_digest(csrf.encode(), expected.encode()):
        raise HTTPException(403, "the form is too old: load the page again")


@app.get("/email", response_class=HTMLResponse)
async def form(token: Annotated[str, Depends(csrf_token)]):
    return f"""<form method="post">
        <input type="hidden" name="csrf" value="{token}">
        <input name="address"> <button>Change</button>
    </form>"""


@app.post("/email", dependencies=[Depends(check_csrf)])
async def change(address: Annotated[str, Form()]):
    return f"changed to {address}"


@app.post("/login", dependencies=[Depends(check_csrf)])
async def login(session: SessionDep):
    # check the password here
    del session["csrf"]  # somebody may have seen it before the login
    record_login(session)
    session["user_id"] = 42
