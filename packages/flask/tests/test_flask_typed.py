"""Views, logins and `session_of` of the core, used with `flask.session`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import flask

from coatcheck import MemoryStore, session_of
from coatcheck.logins import login_age, record_login
from coatcheck.typed import SessionView
from coatcheck_flask import Coatcheck


@dataclass
class Cart:
    lines: list[str] = field(default_factory=list)


CART = SessionView(Cart, "cart")


def test_flask_session_is_a_session_for_the_core() -> None:
    """`session_of` finds it, it can be typed, and it knows when somebody has logged in."""
    app = flask.Flask(__name__)
    app.secret_key = "a secret of thirty-two bytes, more"
    Coatcheck(app, store=MemoryStore())

    @app.get("/")
    def page() -> Any:
        session = session_of(flask.request)
        assert session is flask.session._get_current_object()  # type: ignore[attr-defined]
        if login_age(session) is None:
            record_login(session)
        with CART.edit(flask.session) as cart:
            cart.lines.append("hat")
        return CART.read(session).lines

    visitor = app.test_client()
    assert [visitor.get("/").json for _ in range(2)] == [["hat"], ["hat", "hat"]]
    with visitor.session_transaction() as session:
        assert {*session} == {"cart", "logged_in_at"}
