"""Extensions that use `flask.session` work as they do with Flask's own sessions."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import flask
import flask_login
import pytest
from authlib.integrations.flask_client import OAuth
from flask_socketio import SocketIO
from flask_wtf.csrf import CSRFProtect
from werkzeug.serving import make_server

from coatcheck import MemoryStore
from coatcheck.testing import login
from coatcheck_flask import Coatcheck, session

SECRET = "a secret of thirty-two bytes, more"


def make_app(**config: Any) -> tuple[flask.Flask, Coatcheck]:
    app = flask.Flask("shop")
    app.config.update(SECRET_KEY=SECRET, TESTING=True, **config)
    return app, Coatcheck(app, store=MemoryStore())


# Flask-Login


def make_login_app(protection: str = "strong") -> tuple[flask.Flask, Coatcheck]:
    app, coatcheck = make_app()
    manager = flask_login.LoginManager(app)
    manager.session_protection = protection

    class User(flask_login.UserMixin):
        def __init__(self, name: str) -> None:
            self.id = name

    @manager.user_loader
    def load(name: str) -> User:
        return User(name)

    @app.post("/login")
    def login() -> str:
        session.regenerate(keep_data=True)
        flask_login.login_user(User("ada"))
        return "welcome"

    @app.get("/")
    def name() -> str:
        user: Any = flask_login.current_user
        return str(user.id) if user.is_authenticated else "nobody"

    @app.post("/logout")
    def logout() -> str:
        flask_login.logout_user()
        return "goodbye"

    @app.post("/logout-everywhere")
    @flask_login.login_required
    def logout_everywhere() -> str:
        return str(coatcheck.sessions.revoke_all(flask_login.current_user.get_id()))

    return app, coatcheck


def test_flask_login() -> None:
    app, _ = make_login_app()
    visitor = app.test_client()
    visitor.post("/login")
    assert visitor.get("/").text == "ada"
    visitor.post("/logout")
    assert visitor.get("/").text == "nobody"


@pytest.mark.parametrize("method", ["destroy", "clear"])
def test_a_logout_ends_the_session_and_the_remember_me_cookie(method: str) -> None:
    """The session first: Flask-Login notes in it that its own cookie has to go."""
    app, coatcheck = make_login_app()

    @app.post("/remember")
    def remember() -> str:
        user: Any = app.login_manager._user_callback("ada")  # type: ignore[attr-defined]
        flask_login.login_user(user, remember=True)
        session["cart"] = ["hat"]
        return "welcome"

    @app.post("/end")
    def end() -> str:
        getattr(session, method)()
        flask_login.logout_user()
        return "goodbye"

    visitor = app.test_client()
    visitor.post("/remember")
    assert visitor.get("/").text == "ada"
    assert visitor.get_cookie("remember_token") is not None
    visitor.post("/end")
    assert visitor.get_cookie("remember_token") is None
    assert visitor.get_cookie("session") is None
    assert visitor.get("/").text == "nobody"
    assert [*coatcheck.sessions.list_all(10)] == []


def test_a_session_without_the_key_of_strong_protection_is_no_login() -> None:
    """docs/testing.md says so, and what to do."""
    app, _ = make_login_app()
    visitor = app.test_client()
    login(visitor, {"_user_id": "ada"})
    assert visitor.post("/logout-everywhere").status_code == 401
    app, _ = make_login_app("basic")
    visitor = app.test_client()
    login(visitor, {"_user_id": "ada"})
    assert visitor.get("/").text == "ada"


def test_flask_login_protects_a_stolen_session() -> None:
    """With "strong" another browser that has the cookie is not logged in."""
    app, _ = make_login_app()
    visitor, thief = app.test_client(), app.test_client()
    visitor.post("/login")
    found = visitor.get_cookie("session")
    assert found is not None
    thief.set_cookie("session", found.value)
    assert thief.get("/", headers={"User-Agent": "another browser"}).text == "nobody"


def test_logging_out_everywhere_logs_out_of_flask_login() -> None:
    app, coatcheck = make_login_app()
    phone, laptop = app.test_client(), app.test_client()
    phone.post("/login")
    laptop.post("/login")
    assert len(coatcheck.sessions.list("ada")) == 2
    assert phone.post("/logout-everywhere").text == "2"
    assert phone.get("/").text == "nobody"
    assert laptop.get("/").text == "nobody"


def test_the_test_client_of_flask_login() -> None:
    app, coatcheck = make_login_app("basic")

    class User(flask_login.UserMixin):
        id = "ada"

    app.test_client_class = flask_login.FlaskLoginClient
    with app.test_client(user=User()) as client:
        assert client.get("/").text == "ada"
    assert len(coatcheck.sessions.list("ada")) == 1


# Flask-WTF


def test_flask_wtf() -> None:
    """The token of one session is refused in another one."""
    app, _ = make_app()
    CSRFProtect(app)

    @app.route("/", methods=["GET", "POST"])
    def form() -> str:
        return flask.render_template_string("{{ csrf_token() }}")

    visitor, other = app.test_client(), app.test_client()
    token = visitor.get("/").text
    other.get("/")
    assert visitor.post("/").status_code == 400
    assert visitor.post("/", data={"csrf_token": token}).status_code == 200
    assert other.post("/", data={"csrf_token": token}).status_code == 400


# Authlib


@pytest.fixture
def provider() -> Iterator[str]:
    """An identity provider, which gives a token for each code."""
    app = flask.Flask("provider")

    @app.post("/token")
    def token() -> dict[str, str]:
        return {"access_token": flask.request.form["code"], "token_type": "Bearer"}

    server = make_server("127.0.0.1", 0, app)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_authlib_keeps_its_state_for_each_tab(provider: str) -> None:
    """Two tabs log in at the same time, and each comes back with its own state."""
    app, _ = make_app()
    client: Any = OAuth(app).register(
        "provider", client_id="shop", client_secret="s", authorize_url=f"{provider}/authorize",
        access_token_url=f"{provider}/token",
    )  # fmt: skip

    @app.get("/login")
    def login() -> Any:
        return client.authorize_redirect("http://localhost/callback")

    @app.get("/callback")
    def callback() -> str:
        return str(client.authorize_access_token()["access_token"])

    visitor = app.test_client()
    states = [
        parse_qs(urlsplit(visitor.get("/login").headers["Location"]).query)["state"][0]
        for _ in range(2)
    ]
    assert states[0] != states[1]
    for number, state in enumerate(states):
        answer = visitor.get("/callback", query_string={"code": f"code-{number}", "state": state})
        assert answer.text == f"code-{number}"
    with visitor.session_transaction() as found:
        assert not [key for key in found if key.startswith("_state")]


# Flask-SocketIO


def test_flask_socketio_shares_the_session() -> None:
    """With `manage_session=False` events read and write the session of the pages."""
    app, _ = make_app()
    socketio = SocketIO(app, manage_session=False, async_mode="threading")

    @app.get("/begin")
    def begin() -> str:
        flask.session["moves"] = []
        return "begun"

    @app.get("/add")
    def add() -> str:
        flask.session["page"] = True
        return "added"

    @socketio.on("move")
    def move(name: str) -> list[str]:
        flask.session["moves"].append(name)
        return [*flask.session["moves"], str(flask.session.get("page"))]

    @socketio.on("logout")
    def logout() -> None:
        session.destroy()

    visitor = app.test_client()
    visitor.get("/begin")
    sockets = socketio.test_client(app, flask_test_client=visitor)
    assert sockets.emit("move", "e4", callback=True) == ["e4", "None"]
    visitor.get("/add")
    assert sockets.emit("move", "e5", callback=True) == ["e4", "e5", "True"]
    with visitor.session_transaction() as found:
        assert dict(found) == {"moves": ["e4", "e5"], "page": True}
    sockets.emit("logout")
    with visitor.session_transaction() as found:
        assert dict(found) == {}
    sockets.disconnect()


# The command line


def test_flask_coatcheck_runs_the_command_line() -> None:
    app, _ = make_app()
    runner = app.test_cli_runner()
    from coatcheck_flask.commands import command

    done = runner.invoke(command, ["secret"], prog_name="flask coatcheck")
    assert done.exit_code == 0
    assert re.fullmatch(r"[\w-]{64}\n", done.output)
    done = runner.invoke(command, ["--help"], prog_name="flask coatcheck")
    assert "usage: flask coatcheck" in done.output
    done = runner.invoke(command, ["create-table", "nothing://"], prog_name="flask coatcheck")
    assert done.exit_code == 2


def test_flask_finds_the_commands() -> None:
    """Also where the application cannot be made, as before its secret is set."""
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "no_such_module", "coatcheck", "stores"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "memory" in done.stdout
