"""The tools of `coatcheck.testing` with Flask's own session."""

from __future__ import annotations

from typing import Any

import flask

from coatcheck import MemoryStore
from coatcheck.testing import find_sessions, login, read_session
from coatcheck_flask import Coatcheck


def test_flask_s_test_client_is_logged_in() -> None:
    app = flask.Flask("shop")
    app.config.update(SECRET_KEY="a secret of thirty-two bytes, more", COATCHECK_OWNER="user")
    Coatcheck(app, store=MemoryStore())

    @app.get("/buy")
    def buy() -> dict[str, Any]:
        flask.session.setdefault("cart", []).append("umbrella")
        return dict(flask.session)

    with app.test_client() as client:
        assert read_session(client) is None
        made = login(client, {"user": "ann"})
        assert client.get("/buy").json == {"user": "ann", "cart": ["umbrella"]}
        assert read_session(client) == {"user": "ann", "cart": ["umbrella"]}
        sessions = find_sessions(app)
        assert [entry.ref for entry in sessions.list("ann")] == [made.ref]
        assert sessions.revoke(made.ref) is True
        assert client.get("/buy").json == {"cart": ["umbrella"]}
