"""Bottle. Run it with `waitress-serve bottle_wsgi:app`."""

import os

from bottle import Bottle, request

from coatcheck import session_of
from coatcheck.wsgi import SessionMiddleware

application = Bottle()


@application.get("/")
def visit():
    session = session_of(request)
    session["visits"] = session.get("visits", 0) + 1
    return session


@application.post("/login")
def login():
    session = session_of(request)
    session.regenerate(keep_data=True)
    session["user"] = "ann"
    return session


@application.post("/logout")
def logout():
    session_of(request).destroy()
    return {}


app = SessionMiddleware(
    application,
    secret=os.environ["SESSION_SECRET"],
    store=os.environ["SESSION_STORE"],
)
