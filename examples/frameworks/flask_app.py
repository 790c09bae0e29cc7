"""Flask. Run it with `flask --app flask_app run --port 8000`."""

import os

from flask import Flask

from coatcheck_flask import Coatcheck, session

app = Flask(__name__)
app.config.update(
    SECRET_KEY=os.environ["SESSION_SECRET"],
    COATCHECK_STORE=os.environ["SESSION_STORE"],
)
Coatcheck(app)


@app.get("/")
def visit():
    session["visits"] = session.get("visits", 0) + 1
    return dict(session)


@app.post("/login")
def login():
    session.regenerate(keep_data=True)
    session["user"] = "ann"
    return dict(session)


@app.post("/logout")
def logout():
    session.clear()
    return {}
