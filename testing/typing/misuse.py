"""Misuse that type checkers must refuse: each marked line is an error."""

from dataclasses import dataclass
from typing import Annotated

from coatcheck import CookieOptions, MemoryStore, Record, SessionOptions, session_of
from coatcheck.asgi import SessionMiddleware
from coatcheck.fastapi import SessionDep, SessionKey
from coatcheck.typed import SessionView
from coatcheck_express import express_options

SessionOptions(secret=42)  # refuse: a number
SessionOptions(secret="s" * 32, secrte="typo")  # refuse: an unknown option
SessionOptions(secret="s" * 32, concurrency="sometimes")  # refuse: an unknown choice
CookieOptions(same_site="lenient")  # refuse: an unknown SameSite
SessionMiddleware(None, secret="s" * 32, rollign=True)  # refuse: an unknown keyword
MemoryStore().set("key", "data")  # refuse: no record
Record("text", 1.0)  # refuse: text for bytes
session_of({}).save().data  # refuse: a coroutine without await
session_of({}).user = 1  # refuse: data are keys
session_of({}).id = "x"  # refuse: read-only
session_of({}).user  # refuse: data are keys
MemoryStore().set("key", Record(b"data", 1.0), "absent")  # refuse: a string for a condition
express_options(secret="s", saveUninitialized=True)  # refuse: Node's spelling
express_options(secret="s", cookie={"maxAge": 5})  # refuse: Node's spelling
express_options(secret="s", absolute_timeout=5)  # refuse: nothing to count from


@dataclass
class Cart:
    total: int = 0


cart_view = SessionView(Cart, "cart")
cart_view.read({}).totl  # refuse: an unknown field
cart_view.write({}, {"total": 1})  # refuse: a dict for a Cart
with cart_view.edit({}) as edited:
    edited.total = "1"  # refuse: a string for a number


def add(session: SessionDep, cart: Annotated[Cart, SessionKey("cart")]) -> None:
    session.regenerat()  # refuse: an unknown method
    session.save().data  # refuse: a coroutine without await
    cart.totl  # refuse: an unknown field
    cart.total = "1"  # refuse: a string for a number
