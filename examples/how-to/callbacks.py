"""A payment provider sends the visitor back with a POST. Run it with `uvicorn callbacks:app`."""

import hashlib
import hmac
import os
from typing import Annotated

from fastapi import FastAPI, Form, HTTPException
from fastapi.responses import RedirectResponse

from coatcheck.asgi import SessionMiddleware
from coatcheck.fastapi import SessionDep

app = FastAPI()
app.add_middleware(
    SessionMiddleware,
    secret=os.environ["SESSION_SECRET"],
    store=os.environ["SESSION_STORE"],
)
PROVIDER_KEY = os.environ["PAYMENT_KEY"].encode()
PAID: set[int] = set()  # in your application: a column of the table of orders


@app.post("/orders/{number}")
async def order(number: int, session: SessionDep):
    session.setdefault("orders", []).append(number)  # whose order it is
    return RedirectResponse(f"https://pay.example/?order={number}", 303)


@app.post("/paid")  # the browser sends no session cookie here: do not use the session
async def paid(order: Annotated[int, Form()], signature: Annotated[str, Form()]):
    expected = hmac.new(PROVIDER_KEY, str(order).encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(signature.encode(), expected.encode()):
        raise HTTPException(400, "the signature is wrong")
    PAID.add(order)
    return RedirectResponse(f"/orders/{order}", 303)  # the browser follows with the cookie


@app.get("/orders/{number}")
async def show(number: int, session: SessionDep):
    if number not in session.get("orders", []):
        raise HTTPException(404, "there is no such order")
    return {"order": number, "paid": number in PAID}
