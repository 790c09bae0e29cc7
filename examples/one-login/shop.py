"""The shop, with Flask. Visitors log in here."""

from common import OPTIONS
from flask import Flask, redirect, request

from coatcheck_flask import Coatcheck, session

app = Flask(__name__)
Coatcheck(app, OPTIONS)


@app.post("/login")
def login():
    session.regenerate(keep_data=True)
    session["user"] = request.form["user"]
    return redirect("/")


@app.get("/")
def home():
    return {"seen_by": "Flask", "user": session.get("user"), "cart": session.get("cart", [])}
