"""When Flask and Quart end the session of a request: not before the request, and with it alone."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from typing import Any

import flask
import pytest
import quart
from flaskshop import QuartShop, Shop, put
from werkzeug.test import EnvironBuilder, create_environ

from coatcheck_flask import session
from coatcheck_flask.quart import session as quart_session


@pytest.fixture
def shop() -> Shop:
    return Shop()


# Copies of a context, and several contexts of one environ


def test_an_error_in_a_copied_context_ends_nothing(shop: Shop) -> None:
    """The request goes on, and its login is saved."""
    shop.visit(put(cart=["hat"]))

    def login() -> None:
        session.regenerate(keep_data=True)
        session["user"] = 42

        @flask.copy_current_request_context
        def send_mail() -> None:
            raise ValueError("no mail server")

        def run() -> None:
            with pytest.raises(ValueError):
                send_mail()

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        session["mailed"] = False

    shop.visit(login)
    assert shop.data() == {"cart": ["hat"], "user": 42, "mailed": False}


def test_a_context_that_fails_drops_its_own_changes_alone(shop: Shop) -> None:
    """As events of a WebSocket do, which share one environ."""
    shop.visit(put(user=42))
    environ = EnvironBuilder().get_environ()
    shop.client._add_cookies_to_wsgi(environ)
    contexts = [shop.app.request_context(environ) for _ in "ab"]
    first, second = (contextvars.copy_context() for _ in contexts)
    first.run(contexts[0].push)
    second.run(contexts[1].push)
    first.run(lambda: session.update(first=True))
    second.run(lambda: session.update(second=True))
    first.run(contexts[0].pop, ValueError("it failed"))

    def save() -> None:
        proxy: Any = flask.session
        found = proxy._get_current_object()
        shop.app.session_interface.save_session(shop.app, found, shop.app.response_class())

    second.run(save)
    second.run(contexts[1].pop, None)
    assert shop.data() == {"user": 42, "second": True}


def test_a_logout_is_done_although_a_context_was_inside(shop: Shop) -> None:
    shop.visit(put(user=42))

    def logout() -> None:
        session.destroy()
        with shop.app.request_context(flask.request.environ):
            pass
        raise ValueError

    with pytest.raises(ValueError):
        shop.visit(logout)
    assert shop.store.length() == 0


def test_a_logout_is_done_although_a_teardown_function_raises(shop: Shop) -> None:
    fails: list[bool] = []

    @shop.app.teardown_request
    def fail(error: BaseException | None) -> None:
        if fails:
            raise KeyError

    shop.visit(put(user=42))

    def logout() -> None:
        fails.append(True)
        session.destroy()
        raise ValueError

    with pytest.raises(KeyError):
        shop.visit(logout)
    assert shop.store.length() == 0


# After the response is made


def test_the_session_can_be_read_until_the_request_ends(shop: Shop) -> None:
    seen: list[Any] = []

    def note(*ignored: Any, **also: Any) -> None:
        seen.append(session.get("user"))

    shop.app.teardown_request(note)
    shop.visit(put(user=42))
    seen.clear()
    with flask.request_finished.connected_to(note, shop.app):
        response = shop.visit(lambda: "public")
    assert "Vary" not in response.headers
    assert seen == [42, 42]


def test_what_caches_share_may_be_read_after_the_response_is_made(shop: Shop) -> None:
    """The response cannot have what is read then."""
    seen: list[Any] = []
    shop.app.teardown_request(lambda error: seen.append(session.get("user")))
    shop.visit(put(user=42))
    seen.clear()

    def page() -> flask.Response:
        response = flask.Response("public")
        response.cache_control.public = True
        response.cache_control.max_age = 60
        return response

    shop.visit(page)
    assert seen == [42]


def test_a_test_reads_the_session_after_the_request(shop: Shop) -> None:
    shop.visit(put(user=42))
    with shop.client:
        shop.visit(lambda: "public")
        assert session["user"] == 42
        shop.visit(lambda: "public")
        assert session["user"] == 42


def test_a_teardown_function_can_change_a_session_that_exists(shop: Shop) -> None:
    shop.app.teardown_request(lambda error: session.update(seen=True))
    shop.visit(put(user=42))
    assert shop.data() == {"user": 42, "seen": True}


def test_an_error_page_has_the_cookie_of_the_response_that_it_replaces() -> None:
    shop = Shop(PROPAGATE_EXCEPTIONS=False)

    def fail(*ignored: Any, **also: Any) -> None:
        raise ValueError("after the session was saved")

    with flask.request_finished.connected_to(fail, shop.app):
        response = shop.visit(put(user=42))
    assert response.status_code == 500
    assert "Cookie" in response.headers["Vary"]
    assert shop.data() == {"user": 42}


def test_a_body_that_goes_out_as_it_is_can_read_the_session(shop: Shop) -> None:
    shop.visit(put(user=42))

    def page() -> flask.Response:
        @flask.stream_with_context
        def parts() -> Iterator[bytes]:
            yield str(session["user"]).encode()

        return flask.Response(parts(), direct_passthrough=True)

    response = shop.visit(page, buffered=True)
    assert b"".join(response.response) == b"42"


def test_a_body_is_closed_once(shop: Shop) -> None:
    class Body:
        closed = 0

        def __iter__(self) -> Iterator[bytes]:
            return self

        def __next__(self) -> bytes:
            return b"part"

        def close(self) -> None:
            self.closed += 1

    body = Body()
    shop.page = lambda: flask.Response(body)
    running = shop.app(create_environ("/"), lambda *ignored, **also: lambda part: None)
    assert next(iter(running)) == b"part"
    running.close()  # type: ignore[attr-defined]  # servers call it
    assert body.closed == 1


def test_what_cannot_be_stored_is_one_error() -> None:
    """The error page shows the session, so it must not be cached for others."""
    shop = Shop(PROPAGATE_EXCEPTIONS=False)
    errors = []

    @shop.app.errorhandler(500)
    def page(error: Any) -> tuple[str, int]:
        errors.append(type(error.original_exception).__name__)
        return str(session["user"]), 500

    shop.visit(put(user=42))

    def write() -> None:
        session["what"] = object()
        assert session.modified

    response = shop.visit(write)
    assert (response.text, response.headers["Vary"]) == ("42", "Cookie")
    assert errors == ["SerializationError"]


# Quart


async def login() -> None:
    quart_session["user"] = 42


@pytest.mark.anyio
async def test_an_error_in_a_copied_context_of_quart_ends_nothing() -> None:
    shop = QuartShop()
    await shop.visit(login)

    async def page() -> None:
        quart_session.regenerate(keep_data=True)

        @quart.copy_current_request_context
        async def send_mail() -> None:
            raise ValueError("no mail server")

        await asyncio.gather(asyncio.create_task(send_mail()), return_exceptions=True)
        quart_session["mailed"] = False

    await shop.visit(page)
    assert await shop.data() == {"user": 42, "mailed": False}


@pytest.mark.anyio
async def test_an_error_page_of_quart_has_the_cookie() -> None:
    shop = QuartShop(PROPAGATE_EXCEPTIONS=False)

    async def fail(*ignored: Any, **also: Any) -> None:
        raise ValueError("after the session was saved")

    with quart.request_finished.connected_to(fail, shop.app):
        response = await shop.visit(login)
    assert response.status_code == 500
    assert await shop.data() == {"user": 42}


@pytest.mark.anyio
async def test_a_logout_of_quart_is_done_although_a_teardown_function_raises() -> None:
    shop = QuartShop()
    fails: list[bool] = []

    @shop.app.teardown_request
    async def fail(error: BaseException | None) -> None:
        if fails:
            raise KeyError

    await shop.visit(login)

    async def logout() -> None:
        fails.append(True)
        quart_session.destroy()
        raise ValueError

    await shop.visit(logout)
    assert shop.store.length() == 0
