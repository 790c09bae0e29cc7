"""Falcon with WSGI. Run it with `waitress-serve falcon_wsgi:app`."""

import os

import falcon

from coatcheck import session_of
from coatcheck.wsgi import SessionMiddleware


class Visits:
    def on_get(self, req, resp):
        session = session_of(req)
        session["visits"] = session.get("visits", 0) + 1
        resp.media = session


class Login:
    def on_post(self, req, resp):
        session = session_of(req)
        session.regenerate(keep_data=True)
        session["user"] = "ann"
        resp.media = session


class Logout:
    def on_post(self, req, resp):
        session_of(req).destroy()
        resp.media = {}


application = falcon.App()
application.add_route("/", Visits())
application.add_route("/login", Login())
application.add_route("/logout", Logout())

app = SessionMiddleware(
    application,
    secret=os.environ["SESSION_SECRET"],
    store=os.environ["SESSION_STORE"],
)
