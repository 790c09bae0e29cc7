"""The SQL store, against other libraries that keep sessions in PostgreSQL.

Flask-Session with Flask-SQLAlchemy is compared with coatcheck-flask, and Django's own database
sessions with coatcheck-django. Each pair is the same application on the same server, called as
a WSGI server calls it. The peers have the settings that are best for them here: Django keeps its
connection, which it would close after each request, and Flask-Session does not write after a read.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from wsgiref.util import setup_testing_defaults

import django
import flask
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.http import HttpResponse
from django.urls import path
from flask_session import Session
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import make_url

from benchmarks.plots import PeerTimes
from benchmarks.with_server import SECRET, act
from coatcheck_flask import Coatcheck
from coatcheck_sql import SQLStore
from testing.servers import postgresql
from testing.servers.programs import ServerMissing

#: Ratios to the time of the peer.
BUDGETS = {"read": 0.6, "write": 0.6, "new": 0.6}
_CALLS = 40

Data = dict[str, Any]


@dataclass(frozen=True)
class Pair:
    """An application with the sessions of a peer, and the same one with ours."""

    name: str
    peer: Any
    ours: Any


def compare(data: Data, rounds: int) -> list[PeerTimes]:
    """Print a table for each peer, and return their rows."""
    rows = []
    try:
        with postgresql.server() as url:
            store = SQLStore.from_url(url)
            store.ensure_table()
            for make in (_flask, _django):
                rows += _compare(make(url, data), rounds)
            store.close()
    except ServerMissing as missing:
        print(f"\nsql-peers left out: {missing}")
    return rows


def _compare(pair: Pair, rounds: int) -> list[PeerTimes]:
    both = pair.peer, pair.ours
    cookies = [_proven(app) for app in both]
    print(f"\n{pair.name:25}{'peer':>9}{'coatcheck':>11}{'ratio':>7}  budget")
    rows = []
    for scenario, budget in BUDGETS.items():
        used = cookies if scenario != "new" else ["", ""]
        times = [
            [_microseconds(app, scenario, cookie) for app, cookie in zip(both, used, strict=True)]
            for _ in range(rounds)
        ]
        peer, ours = (statistics.median(column) for column in zip(*times, strict=True))
        ratio = statistics.median(our / other for other, our in times)
        met = f"<= {budget}" + " MISSED" * (ratio > budget)
        print(f"{scenario:25}{peer:9.1f}{ours:11.1f}{ratio:7.2f}  {met}", flush=True)
        rows.append(PeerTimes(pair.name, scenario, peer, ours, ratio))
    return rows


def _microseconds(app: Any, scenario: str, cookie: str) -> float:
    start = time.perf_counter()
    for _ in range(_CALLS):
        call(app, f"/{scenario}", cookie)
    return (time.perf_counter() - start) / _CALLS * 1e6


def _proven(app: Any) -> str:
    """Check that the sessions of an application work, and return the cookie of one."""
    _, cookie = call(app, "/new", "")
    before, _ = call(app, "/show", cookie)
    call(app, "/write", cookie)
    call(app, "/read", cookie)
    after, _ = call(app, "/show", cookie)
    other, _ = call(app, "/show", "")
    assert (int(after), other) == (int(before) + 1, b"0"), "these sessions do not work"
    return cookie


def call(app: Any, path: str, cookie: str) -> tuple[bytes, str]:
    """Return the body of a reply, and the cookie that it sets."""
    environ: dict[str, Any] = {"PATH_INFO": path, "HTTP_COOKIE": cookie}
    setup_testing_defaults(environ)
    seen = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        assert status == "200 OK", status
        seen.extend(value for name, value in headers if name.lower() == "set-cookie")

    replied = app(environ, start_response)
    body = b"".join(replied)
    replied.close()
    return body, seen[0].partition(";")[0] if seen else ""


def _replied(scenario: str, session: Any, data: Data) -> bytes:
    if scenario == "show":
        return str(session.get("visits", 0)).encode()
    act(scenario, session, data)
    return b"ok"


def _flask(url: str, data: Data) -> Pair:
    def application(**config: Any) -> flask.Flask:
        app = flask.Flask("benchmark")
        app.config.update(SECRET_KEY=SECRET, TESTING=True, **config)
        app.add_url_rule("/<scenario>", view_func=view)
        return app

    def view(scenario: str) -> bytes:
        return _replied(scenario, flask.session, data)

    there = make_url(url).set(drivername="postgresql+psycopg")
    peer = application(
        SQLALCHEMY_DATABASE_URI=there,
        SESSION_TYPE="sqlalchemy",
        SESSION_REFRESH_EACH_REQUEST=False,
    )
    peer.config["SESSION_SQLALCHEMY"] = SQLAlchemy(peer)
    Session(peer)
    ours = application(COATCHECK_STORE=url)
    Coatcheck(ours)
    return Pair("Flask-Session, SQLAlchemy", peer, ours)


def _django(url: str, data: Data) -> Pair:
    def view(request: Any, scenario: str) -> HttpResponse:
        return HttpResponse(_replied(scenario, request.session, data))

    urls: Any = ModuleType("urls")
    urls.urlpatterns = [path("<scenario>", view)]
    parts = make_url(url)
    settings.configure(
        SECRET_KEY=SECRET,
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF=urls,
        INSTALLED_APPS=["django.contrib.sessions", "coatcheck_django"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "HOST": parts.host, "PORT": parts.port,
                "USER": parts.username, "NAME": parts.database,
                "CONN_MAX_AGE": None,
            }
        },
        COATCHECK={"STORE": url},
    )  # fmt: skip
    django.setup()
    call_command("migrate", verbosity=0)

    def application(engine: str, middleware: str) -> WSGIHandler:
        settings.SESSION_ENGINE, settings.MIDDLEWARE = engine, [middleware]
        return WSGIHandler()  # it reads them now

    database, module = "django.contrib.sessions", "coatcheck_django"
    peer = application(f"{database}.backends.db", f"{database}.middleware.SessionMiddleware")
    return Pair(
        "Django, backends.db", peer, application(module, f"{module}.middleware.SessionMiddleware")
    )
