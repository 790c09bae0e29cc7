"""Settings: Flask's, coatcheck's and Flask-Session's, and errors that say what to write."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import flask
import pytest
import quart

from coatcheck import MemoryStore, SessionOptions
from coatcheck.errors import ConfigurationError, StoreUnavailable
from coatcheck_flask import Coatcheck, SettingsError
from coatcheck_flask.quart import Coatcheck as QuartCoatcheck

SECRET = "a secret of thirty-two bytes, more"


def make_app(**config: Any) -> flask.Flask:
    app = flask.Flask("shop")
    app.config.update(SECRET_KEY=SECRET, TESTING=True)
    app.config.update(config)

    @app.get("/")
    def count() -> str:
        flask.session["n"] = flask.session.get("n", 0) + 1
        return str(flask.session["n"])

    @app.get("/end")
    def end() -> str:
        flask.session.clear()
        return "ended"

    return app


def line_of(app: flask.Flask, path: str = "/", **arguments: Any) -> str:
    (line,) = app.test_client().get(path, **arguments).headers.getlist("Set-Cookie")
    return str(line)


# Flask's own


def test_the_cookie_follows_flasks_settings() -> None:
    app = make_app(
        SESSION_COOKIE_NAME="shop",
        SESSION_COOKIE_DOMAIN=".example.com",
        SESSION_COOKIE_PATH="/",
        SESSION_COOKIE_HTTPONLY=False,
        SESSION_COOKIE_SAMESITE="Strict",
        SESSION_COOKIE_SECURE=True,
        SESSION_COOKIE_PARTITIONED=True,
    )
    Coatcheck(app, store=MemoryStore())
    line = line_of(app, base_url="https://example.com")
    pair, *attributes = line.split("; ")
    assert pair.startswith("shop=")
    assert sorted(attributes) == [
        "Domain=example.com", "Partitioned", "Path=/", "SameSite=Strict", "Secure",
    ]  # fmt: skip


def test_the_default_cookie_is_flasks() -> None:
    app = make_app()
    Coatcheck(app, store=MemoryStore())
    assert line_of(app).partition("; ")[2] == "Path=/; HttpOnly"
    assert "Secure" in line_of(app, base_url="https://localhost")


def test_the_path_may_be_that_of_the_application() -> None:
    app = make_app(APPLICATION_ROOT="/shop")
    Coatcheck(app, store=MemoryStore())
    assert "Path=/shop" in line_of(app, base_url="http://localhost/shop")


def test_a_secure_cookie_goes_out_behind_a_proxy_that_says_nothing() -> None:
    """As Flask's does: it is set by somebody who knows that visitors come over https."""
    app = make_app(SESSION_COOKIE_SECURE=True)
    Coatcheck(app, store=MemoryStore())
    client = app.test_client()
    assert [client.get("/", base_url="http://localhost").text for _ in range(2)] == ["1", "2"]


def test_a_proxy_may_say_that_the_visitor_came_over_https() -> None:
    """The cookie can then have a name that needs https."""
    app = make_app(SESSION_COOKIE_NAME="__Host-session", SESSION_COOKIE_SECURE=True)
    Coatcheck(app, store=MemoryStore())
    assert line_of(app, base_url="https://localhost").startswith("__Host-session=")
    for trusts in (True, False):
        app = make_app(COATCHECK_TRUST_PROXY=trusts)
        Coatcheck(app, store=MemoryStore())
        assert ("Secure" in line_of(app, headers={"X-Forwarded-Proto": "https"})) is trusts


def test_settings_may_change_at_any_time() -> None:
    """As with Flask's own sessions."""
    app = make_app()
    Coatcheck(app, store=MemoryStore())
    client = app.test_client()
    assert client.get("/").text == "1"
    app.config["SESSION_COOKIE_SAMESITE"] = "Lax"
    assert "SameSite=Lax" in line_of(app)
    assert client.get("/").text == "2"
    app.config["SESSION_COOKIE_SAMESITE"] = "sometimes"
    with pytest.raises(SettingsError, match="`SESSION_COOKIE_SAMESITE` must be"):
        client.get("/")


def test_secrets_can_be_replaced() -> None:
    app = make_app()
    Coatcheck(app, store=MemoryStore())
    client = app.test_client()
    client.get("/")
    app.secret_key = "another secret of thirty-two bytes"
    assert app.test_client().get("/").text == "1"
    app.config["SECRET_KEY_FALLBACKS"] = [SECRET]
    response = client.get("/")
    assert response.text == "2"
    assert response.headers.getlist("Set-Cookie")  # signed with the new secret
    app.config["SECRET_KEY_FALLBACKS"] = []
    assert client.get("/").text == "3"


def test_without_the_secret_flask_says_so() -> None:
    app = make_app()
    Coatcheck(app, store=MemoryStore())
    app.secret_key = None
    with pytest.raises(RuntimeError, match="session is unavailable"):
        app.test_client().get("/")


# coatcheck's


def test_options_are_settings(tmp_path: Path) -> None:
    app = make_app(COATCHECK_STORE=f"file://{tmp_path}/sessions", COATCHECK_OWNER="user")
    coatcheck = Coatcheck(app)
    client = app.test_client()
    with client.session_transaction() as found:
        found["user"] = 42
    assert [entry.data for entry in coatcheck.sessions.list(42)] == [{"user": 42}]
    coatcheck.close()
    assert client.get("/").text == "1"
    assert len(coatcheck.sessions.list(42)) == 1
    coatcheck.close()


def test_arguments_win_over_settings() -> None:
    store = MemoryStore()
    app = make_app(COATCHECK_STORE="memory:", COATCHECK_IDLE_TIMEOUT=60)
    coatcheck = Coatcheck(app, store=store)
    assert coatcheck.store is store
    interface: Any = app.session_interface
    assert interface.sessions is not None
    assert interface._integrations.first.options.idle_timeout == 60


def test_options_that_applications_share_replace_flasks_settings() -> None:
    options = SessionOptions(secret=SECRET, store=MemoryStore(), name="sid", idle_timeout=60)
    app = make_app(SECRET_KEY=None, SESSION_COOKIE_SAMESITE="Strict")
    coatcheck = Coatcheck(app, options, owner="user")
    assert re.match(r"sid=\S+; Path=/; HttpOnly; SameSite=Lax$", line_of(app))
    assert coatcheck.options.idle_timeout == 60
    assert coatcheck.options.owner == "user"
    assert coatcheck.store is options.store


def test_an_application_can_be_initialised_later() -> None:
    coatcheck = Coatcheck(store=MemoryStore())
    app = make_app()
    coatcheck.init_app(app)
    with app.app_context():
        assert coatcheck.sessions.list("42") == []
    assert app.test_client().get("/").text == "1"


@pytest.mark.parametrize(
    ("config", "arguments", "says"),
    [
        ({"SECRET_KEY": None}, {}, "`SECRET_KEY` is not set: set `app.config"),
        ({"SECRET_KEY": "dev"}, {}, "`SECRET_KEY` must have at least 16 bytes"),
        ({"SECRET_KEY_FALLBACKS": ["old"]}, {}, "`SECRET_KEY` must have at least 16 bytes"),
        ({"SESSION_COOKIE_NAME": "a b"}, {}, "`SESSION_COOKIE_NAME`"),
        ({"SESSION_COOKIE_SAMESITE": "maybe"}, {}, "`SESSION_COOKIE_SAMESITE`"),
        ({"SESSION_COOKIE_DOMAIN": "a;b"}, {}, "`SESSION_COOKIE_DOMAIN`"),
        ({"PERMANENT_SESSION_LIFETIME": timedelta(days=500)}, {}, "`PERMANENT_SESSION_LIFETIME`"),
        ({"PERMANENT_SESSION_LIFETIME": 0}, {}, "`PERMANENT_SESSION_LIFETIME`"),
        ({"COATCHECK_STORE": "nothing://host"}, {}, "nothing"),
        ({"COATCHECK_STORE": 5}, {}, "`COATCHECK_STORE`"),
        ({"COATCHECK_SOTRE": "memory:"}, {}, "did you mean `COATCHECK_STORE`"),
        ({"COATCHECK_SECRET": SECRET}, {}, "set SECRET_KEY"),
        ({"COATCHECK_COOKIE": None}, {}, "SESSION_COOKIE_DOMAIN"),
        ({"COATCHECK_TOUCH_INTERVAL": -1}, {}, "`COATCHECK_TOUCH_INTERVAL`"),
        ({}, {"sotre": "memory:"}, "did you mean `COATCHECK_STORE`"),
        ({}, {"name": "shop"}, "set SESSION_COOKIE_NAME"),
    ],
)
def test_wrong_settings_are_one_clear_error(
    config: dict[str, Any], arguments: dict[str, Any], says: str
) -> None:
    """When the extension is initialised, as a RuntimeError, with the names of the settings."""
    app = make_app(**config)
    with pytest.raises(SettingsError) as caught:
        Coatcheck(app, **arguments)
    assert says in str(caught.value)
    assert SECRET not in str(caught.value)
    assert isinstance(caught.value, RuntimeError)
    assert isinstance(caught.value, ConfigurationError)
    assert "coatcheck" not in app.extensions


def test_a_store_that_is_down_may_be_an_error_at_the_start() -> None:
    class Down(MemoryStore):
        def ping(self) -> None:
            raise StoreUnavailable("nobody is there")

    app = make_app(COATCHECK_CHECK_STORE=True)
    with pytest.raises(SettingsError, match=r"cannot be reached .* nobody is there"):
        Coatcheck(app, store=Down())
    Coatcheck(app, store=MemoryStore())
    Coatcheck(make_app(), store=Down())


def test_initialising_twice_is_an_error() -> None:
    app = make_app()
    Coatcheck(app, store=MemoryStore())
    with pytest.raises(SettingsError, match="has its `Coatcheck` already"):
        Coatcheck(app, store=MemoryStore())


@pytest.mark.parametrize(
    ("extension", "app", "advice"),
    [
        (Coatcheck, quart.Quart(__name__), "a Flask application, not Quart: {}.quart`"),
        (QuartCoatcheck, flask.Flask(__name__), "a Quart application, not Flask: {}`"),
        (Coatcheck, {}, "a Flask application, not dict"),
    ],
)
def test_an_application_of_another_kind_is_an_error(extension: Any, app: Any, advice: str) -> None:
    with pytest.raises(SettingsError) as caught:
        extension(app)
    where = advice.format("import it from `coatcheck_flask")
    assert str(caught.value) == f"this `Coatcheck` takes {where}"


def test_using_it_before_is_an_error() -> None:
    app = make_app()
    with app.app_context(), pytest.raises(SettingsError, match="init_app"):
        Coatcheck(store=MemoryStore()).sessions  # noqa: B018


# Flask-Session's


def test_filesystem(tmp_path: Path) -> None:
    app = make_app(SESSION_TYPE="filesystem", SESSION_FILE_DIR=str(tmp_path / "sessions"))
    Coatcheck(app)
    client = app.test_client()
    assert [client.get("/").text for _ in range(2)] == ["1", "2"]
    assert list((tmp_path / "sessions").rglob("*"))


def test_sessions_of_flask_session_are_permanent(tmp_path: Path) -> None:
    """As they are there, unless the settings say otherwise."""
    app = make_app(SESSION_TYPE="filesystem", SESSION_FILE_DIR=str(tmp_path))
    Coatcheck(app)
    assert "Max-Age=2678400" in line_of(app)
    app.config["SESSION_PERMANENT"] = False
    assert "Max-Age" not in line_of(app)


def test_the_length_of_ids() -> None:
    app = make_app(SESSION_ID_LENGTH=48, SESSION_TYPE=None, SESSION_USE_SIGNER=True)
    Coatcheck(app, store=MemoryStore())
    assert len(line_of(app).partition("=")[2].partition(".")[0]) == 64


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"SESSION_TYPE": "memcached"}, "COATCHECK_STORE"),
        ({"SESSION_TYPE": "cachelib"}, "COATCHECK_STORE"),
        ({"SESSION_TYPE": "sqlalchemy"}, "COATCHECK_STORE"),
        ({"SESSION_TYPE": "postgres"}, "one of dynamodb, filesystem, mongodb, redis"),
        ({"SESSION_TYPE": "mongodb"}, "`SESSION_MONGODB = "),
        ({"SESSION_TYPE": "dynamodb"}, "`SESSION_DYNAMODB = "),
        ({"SESSION_TYPE": "redis", "SESSION_REDIS": "redis://host"}, "redis"),
        ({"SESSION_TYPE": "filesystem", "SESSION_KEY_PREFIX": "shop:"}, "SESSION_KEY_PREFIX"),
        ({"SESSION_TYPE": "filesystem", "COATCHECK_STORE": "memory:"}, "both name a store"),
        ({"SESSION_CACHELIB": object()}, "COATCHECK_STORE"),
        ({"SESSION_SQLALCHEMY_TABLE": "sessions"}, "COATCHECK_STORE"),
        ({"SESSION_CLEANUP_N_REQUESTS": 100}, "by themselves"),
        ({"SESSION_FILE_THRESHOLD": 500}, "no limit"),
        ({"SESSION_FILE_MODE": 0o644}, "0o600"),
        ({"SESSION_USE_SIGNER": False}, "always signed"),
        ({"SESSION_SERIALIZATION_FORMAT": "msgpack"}, "COATCHECK_CODEC"),
        ({"SESSION_ID_LENGTH": 4}, "16 to 96"),
    ],
)
def test_what_has_no_meaning_here_is_an_error_that_says_what_to_write(
    config: dict[str, Any], says: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        Coatcheck(make_app(**config))
    assert says in str(caught.value)
