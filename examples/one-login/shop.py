"""The shop, with Flask. Visitors log in here."""

from common import OPTIONS
from flask import Flask, redirect, request

from coatcheck import session_of
from coatcheck.wsgi import SessionMiddleware

app = Flask(__name__)
app.wsgi_app = SessionMiddleware(app.wsgi_app, options=OPTIONS)


@app.post("/login")
def login():
    session = session_of(request)
    session.regenerate(keep_data=True)
    session["user"] = request.form["user"]
    return redirect("/")


@app.get("/")
def home():
    session = session_of(request)
    return {"seen_by": "Flask", "user": session.get("user"), "cart": session.get("cart", [])}
