"""Plain WSGI. Run it with `waitress-serve plain_wsgi:app`."""

import json
import os

from coatcheck.wsgi import SessionMiddleware


def application(environ, start_response):
    session = environ["coatcheck.session"]
    match environ["REQUEST_METHOD"], environ["PATH_INFO"]:
        case "POST", "/login":
            session.regenerate(keep_data=True)
            session["user"] = "ann"
        case "POST", "/logout":
            session.destroy()
        case _:
            session["visits"] = session.get("visits", 0) + 1
    body = json.dumps(session).encode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body]


app = SessionMiddleware(
    application,
    secret=os.environ["SESSION_SECRET"],
    store=os.environ["SESSION_STORE"],
)
