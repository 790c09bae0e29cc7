"""Messages that the next page shows once. Run it with `uvicorn flash_messages:app`."""

import os

from fastapi import FastAPI
from fastapi.responses import RedirectResponse

from coatcheck import Session
from coatcheck.asgi import SessionMiddleware
from coatcheck.fastapi import SessionDep
from coatcheck.merge_rules import union

app = FastAPI()
app.add_middleware(
    SessionMiddleware,
    secret=os.environ["SESSION_SECRET"],
    store=os.environ["SESSION_STORE"],
    merge={"flashes": union},  # two requests at once: the messages of both stay
)


def flash(session: Session, text: str) -> None:
    session.setdefault("flashes", []).append(text)


def flashed(session: Session) -> list[str]:
    return session.pop("flashes", [])


@app.post("/cart/{item}")
async def add_to_cart(item: str, session: SessionDep):
    flash(session, f"The {item} is in your cart.")
    return RedirectResponse("/", 303)


@app.get("/")
async def home(session: SessionDep):
    return {"messages": flashed(session)}
