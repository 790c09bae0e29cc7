"""Quart. Run it with `hypercorn quart_app:app`."""

import os

from quart import Quart

from coatcheck_flask.quart import Coatcheck, session

app = Quart(__name__)
app.config.update(
    SECRET_KEY=os.environ["SESSION_SECRET"],
    COATCHECK_STORE=os.environ["SESSION_STORE"],
)
Coatcheck(app)


@app.get("/")
async def visit():
    session["visits"] = session.get("visits", 0) + 1
    return dict(session)


@app.post("/login")
async def login():
    session.regenerate(keep_data=True)
    session["user"] = "ann"
    return dict(session)


@app.post("/logout")
async def logout():
    session.clear()
    return {}
