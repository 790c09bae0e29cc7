"""The sessions that an application had before it took coatcheck go on."""

from __future__ import annotations

import time
from typing import Any

import flask
import flask_login
import pytest

from coatcheck import MemoryStore
from coatcheck.old_sessions.flask import FlaskSessions
from coatcheck_flask import Coatcheck

SECRET = "a secret of thirty-two bytes, more"


class User(flask_login.UserMixin):
    id = "ann"


def shop(**config: Any) -> flask.Flask:
    """Return an application with a login of Flask-Login."""
    app = flask.Flask("shop")
    app.config.update(SECRET_KEY=SECRET, TESTING=True, **config)
    manager = flask_login.LoginManager(app)
    manager.session_protection = "strong"
    manager.user_loader(lambda _: User())

    @app.get("/login")
    def log_in() -> str:
        flask_login.login_user(User())
        flask.flash("welcome")
        flask.session.permanent = "permanent" in flask.request.args
        return "in"

    @app.get("/")
    def page() -> str:
        user = flask_login.current_user
        return f"{user.get_id()} {flask.get_flashed_messages()}"

    @app.get("/logout")
    def log_out() -> str:
        flask_login.logout_user()
        flask.session.clear()
        return "out"

    return app


def cookie_of(app: flask.Flask, path: str) -> str:
    client = app.test_client()
    client.get(path)
    cookie = client.get_cookie("session")
    assert cookie is not None
    return cookie.value


@pytest.mark.parametrize("permanent", [False, True])
def test_the_sessions_of_flasks_cookie_go_on(permanent: bool) -> None:
    """The login and the messages are there, and the cookie stays as permanent as it was."""
    value = cookie_of(shop(), "/login?permanent" if permanent else "/login")
    app, store = shop(), MemoryStore()
    old = FlaskSessions(app.secret_key or "", until=time.time() + 31 * 86400)
    coatcheck = Coatcheck(app, store=store, old_sessions=[old])
    client = app.test_client()
    client.set_cookie("session", value)
    first = client.get("/")
    assert first.text == "ann ['welcome']"
    [line] = first.headers.getlist("set-cookie")
    assert ("Max-Age" in line) is permanent
    assert client.get("/").text == "ann []"
    with client.session_transaction() as found:
        assert found.permanent is permanent
        assert "_permanent" not in found
    [entry] = coatcheck.sessions.list("ann")
    assert entry.data["_user_id"] == "ann"
    assert client.get("/logout").text == "out"
    client.set_cookie("session", value)
    assert client.get("/").text == "None []"
