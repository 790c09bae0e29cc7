"""A Flask and a Quart application with sessions, and their visitors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import flask
import quart
from flask.testing import FlaskClient

from coatcheck import MemoryStore
from coatcheck.testing import Clock
from coatcheck_flask import Coatcheck, session
from coatcheck_flask.quart import Coatcheck as QuartCoatcheck

SECRET = "a secret of thirty-two bytes, more"


class Shop:
    """A Flask application and a visitor. Each page is a function."""

    def __init__(self, store: MemoryStore | None = None, **config: Any) -> None:
        self.clock = Clock()
        self.store = store or MemoryStore(clock=self.clock)
        self.app = flask.Flask("shop")
        self.app.config.update(SECRET_KEY=SECRET, TESTING=True, **config)
        self.coatcheck = Coatcheck(self.app, store=self.store, clock=self.clock)
        self.page: Callable[[], Any] = lambda: None
        self.app.add_url_rule("/", "page", lambda: self.page() or "done")
        self.client: FlaskClient = self.app.test_client()

    def visit(self, page: Callable[[], Any], **arguments: Any) -> Any:
        self.page = page
        return self.client.get("/", **arguments)

    def cookies(self, response: Any) -> list[str]:
        return list(response.headers.getlist("Set-Cookie"))

    def data(self) -> dict[str, Any]:
        with self.client.session_transaction() as found:
            return dict(found)


def put(**values: Any) -> Callable[[], None]:
    return lambda: session.update(values)


class QuartShop:
    """A Quart application and a visitor."""

    def __init__(self, **config: Any) -> None:
        self.store = MemoryStore()
        self.app = quart.Quart("shop")
        self.app.config.update(SECRET_KEY=SECRET, TESTING=True, **config)
        QuartCoatcheck(self.app, store=self.store)

        @self.app.route("/")
        async def page() -> Any:
            return await self.page() or "done"

        self.client: Any = self.app.test_client()

    async def visit(self, page: Callable[[], Awaitable[Any]]) -> Any:
        self.page = page
        return await self.client.get("/")

    async def data(self) -> dict[str, Any]:
        async with self.client.session_transaction() as found:
            return dict(found)
