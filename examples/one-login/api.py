"""The API of the shop, with FastAPI. It fills the cart."""

from common import OPTIONS
from fastapi import FastAPI, Request

from coatcheck import session_of
from coatcheck.asgi import SessionMiddleware

app = FastAPI()
app.add_middleware(SessionMiddleware, options=OPTIONS)


@app.post("/cart/{item}")
async def buy(item: str, request: Request):
    session_of(request).setdefault("cart", []).append(item)


@app.get("/")
async def home(request: Request):
    session = session_of(request)
    return {"seen_by": "FastAPI", "user": session.get("user"), "cart": session.get("cart", [])}
