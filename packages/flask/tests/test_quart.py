"""`quart.session` on sessions that are kept on the server, in requests and on WebSockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
import quart
from quart.testing.app import LifespanError

from coatcheck import AsyncSession, MemoryStore, Record, session_of
from coatcheck.errors import LateWriteError, SessionGone, StoreClosed, StoreUnavailable
from coatcheck.store import ALWAYS, Condition
from coatcheck_flask import SettingsError
from coatcheck_flask.quart import Coatcheck, QuartSession, session

pytestmark = pytest.mark.anyio

SECRET = "a secret of thirty-two bytes, more"


class Shop:
    """A Quart application, its store and a visitor."""

    def __init__(self, store: MemoryStore | None = None, **config: Any) -> None:
        self.store = store or MemoryStore()
        self.app = quart.Quart("shop")
        self.app.config.update(SECRET_KEY=SECRET, TESTING=True, **config)
        self.coatcheck = Coatcheck(self.app, store=self.store)
        self.page: Callable[[], Awaitable[Any]] = put()

        @self.app.route("/")
        async def page() -> Any:
            return await self.page() or "done"

        @self.app.websocket("/ws")
        async def socket() -> Any:
            return await self.page()

        self.client: Any = self.app.test_client()

    async def visit(self, page: Callable[[], Awaitable[Any]]) -> Any:
        self.page = page
        return await self.client.get("/")

    async def text(self, page: Callable[[], Awaitable[Any]]) -> str:
        return str(await (await self.visit(page)).get_data(as_text=True))

    async def data(self) -> dict[str, Any]:
        """Return what the session of the visitor has."""
        async with self.client.session_transaction() as found:
            return dict(found)


@pytest.fixture
def shop() -> Shop:
    return Shop()


def put(**values: Any) -> Callable[[], Awaitable[None]]:
    async def page() -> None:
        quart.session.update(values)

    return page


async def test_data_stay_on_the_server(shop: Shop) -> None:
    response = await shop.visit(put(user="Ada Lovelace"))
    (line,) = response.headers.getlist("Set-Cookie")
    assert line.startswith("session=")
    assert "Lovelace" not in line

    async def page() -> str:
        found = quart.session._get_current_object()  # type: ignore[attr-defined]
        assert isinstance(found, QuartSession)
        assert isinstance(found, AsyncSession)
        assert session_of(quart.request) is found
        return str(quart.session["user"])

    assert await shop.text(page) == "Ada Lovelace"


async def test_flashed_messages(shop: Shop) -> None:
    async def flash() -> None:
        await quart.flash("welcome")

    async def show() -> str:
        return str(quart.get_flashed_messages())

    await shop.visit(flash)
    assert await shop.text(show) == "['welcome']"
    assert await shop.text(show) == "[]"


async def test_permanent_new_and_modified(shop: Shop) -> None:
    async def page() -> str:
        seen = quart.session.new, quart.session.modified, quart.session.permanent
        quart.session["n"] = quart.session.get("n", 0) + 1
        quart.session.permanent = True
        return str((*seen, quart.session.modified))

    assert await shop.text(page) == "(True, False, False, True)"
    assert await shop.text(page) == "(False, False, True, True)"


async def test_regenerate_clear_and_destroy(shop: Shop) -> None:
    await shop.visit(put(cart=["hat"]))

    async def login() -> None:
        session.regenerate(keep_data=True)

    await shop.visit(login)
    assert await shop.data() == {"cart": ["hat"]}

    async def logout() -> None:
        quart.session.clear()

    (line,) = (await shop.visit(logout)).headers.getlist("Set-Cookie")
    assert line.startswith("session=;")
    assert await shop.data() == {}


async def test_exact_counters(shop: Shop) -> None:
    await shop.visit(put(n=1))

    async def page() -> str:
        return str(await session.change(lambda data: data.update(n=data["n"] + 1) or data["n"]))

    assert await shop.text(page) == "2"


async def test_a_stream_saves_what_it_changes(shop: Shop) -> None:
    await shop.visit(put(parts=0))

    async def page() -> Any:
        @quart.stream_with_context
        async def parts() -> AsyncIterator[str]:
            for number in (1, 2):
                quart.session["parts"] = number
                yield str(number)

        return parts()

    assert await shop.text(page) == "12"
    assert await shop.data() == {"parts": 2}


async def test_a_stream_that_raises_drops_its_changes(shop: Shop) -> None:
    await shop.visit(put(parts=0))

    async def page() -> Any:
        @quart.stream_with_context
        async def parts() -> AsyncIterator[str]:
            quart.session["parts"] = 1
            yield "part"
            raise ZeroDivisionError

        return parts()

    with pytest.raises((ZeroDivisionError, ExceptionGroup)):  # a group from Quart 0.23 on
        await shop.visit(page)
    assert await shop.data() == {"parts": 0}


async def test_a_stream_that_is_cut_off_saves_what_it_has_changed(shop: Shop) -> None:
    await shop.visit(put(parts=0))

    async def page() -> Any:
        @quart.stream_with_context
        async def parts() -> AsyncIterator[str]:
            quart.session["parts"] = 1
            yield "part"
            await anyio.sleep_forever()

        return parts()

    shop.page = page
    async with shop.client.request("/") as connection:
        await connection.send_complete()
        assert await connection.receive() == b"part"
        await connection.disconnect()
    assert await shop.data() == {"parts": 1}


async def test_a_stream_of_a_plain_generator(shop: Shop) -> None:
    async def page() -> Any:
        quart.session["before"] = True
        return quart.Response(part for part in ("a", "b"))

    assert await shop.text(page) == "ab"
    assert await shop.data() == {"before": True}


async def test_a_file(shop: Shop) -> None:
    async def page() -> Any:
        quart.session["file"] = True
        return await quart.send_file(__file__)

    assert "A file" not in (await shop.text(page))[:5]
    assert await shop.data() == {"file": True}


class Failing(MemoryStore):
    """A store that is down."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        raise StoreUnavailable("down")


async def test_an_error_page_answers_a_failed_save() -> None:
    shop = Shop(Failing(), PROPAGATE_EXCEPTIONS=False)

    @shop.app.errorhandler(500)
    async def error_page(error: Any) -> tuple[str, int]:
        return type(error.original_exception).__name__, 503

    response = await shop.visit(put(user=42))
    assert response.status_code == 503
    assert await response.get_data(as_text=True) == "StoreUnavailable"


async def test_without_a_response_changes_are_dropped(shop: Shop) -> None:
    await shop.visit(put(user=42))

    async def page() -> None:
        quart.session["user"] = 43
        raise ValueError

    response = await shop.visit(page)  # the server's page, which shows the error to testers
    assert response.status_code == 500
    assert "Vary" not in response.headers
    assert await shop.data() == {"user": 42}


async def test_each_of_two_logins_at_once_has_a_session() -> None:
    """After a double click the browser may keep the cookie of either response."""
    shop = Shop(COATCHECK_OWNER="user")
    (line,) = (await shop.visit(put(cart="shoes"))).headers.getlist("Set-Cookie")
    met, users = anyio.Event(), ["ann", "bob"]
    seen = []

    async def log_in() -> None:
        user = users.pop()
        if not users:
            met.set()
        await met.wait()
        quart.session["user"] = user

    async def visit(line: str) -> Any:
        client = shop.app.test_client(use_cookies=False)
        return await client.get("/", headers={"Cookie": line.partition(";")[0]})

    async def log_in_and_look() -> None:
        (own,) = (await visit(line)).headers.getlist("Set-Cookie")
        seen.append(own)

    shop.page = log_in
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(log_in_and_look)
        tasks.start_soon(log_in_and_look)

    async def show() -> str:
        return f"{quart.session['user']}, {quart.session['cart']}"

    shop.page = show
    pages = [await (await visit(own)).get_data(as_text=True) for own in seen]
    assert sorted(pages) == ["ann, shoes", "bob, shoes"]


async def test_logging_out_everywhere(shop: Shop) -> None:
    other = Shop(shop.store)
    await shop.visit(put(_user_id="42"))
    await other.visit(put(_user_id="42"))

    async def page() -> str:
        return str(await shop.coatcheck.sessions.arevoke_all("42", keep=session))

    assert await shop.text(page) == "1"
    assert await shop.data() == {"_user_id": "42"}
    assert await other.data() == {}


# WebSockets


async def test_a_socket_has_the_session_of_the_pages(shop: Shop) -> None:
    await shop.visit(put(moves=["e4"]))

    async def page() -> None:
        await quart.websocket.accept()
        while True:
            quart.session["moves"].append(await quart.websocket.receive())
            await session.save()
            await quart.websocket.send(str(quart.session["moves"]))

    shop.page = page
    async with shop.client.websocket("/ws") as socket:
        await socket.send("e5")
        assert await socket.receive() == "['e4', 'e5']"
    assert await shop.data() == {"moves": ["e4", "e5"]}


async def test_a_socket_saves_when_its_handler_returns(shop: Shop) -> None:
    await shop.visit(put(moves=[]))

    async def page() -> None:
        quart.session["moves"].append(await quart.websocket.receive())
        await quart.websocket.send("done")

    shop.page = page
    async with shop.client.websocket("/ws") as socket:
        await socket.send("e5")
        await socket.receive()
    assert await shop.data() == {"moves": ["e5"]}


async def test_a_socket_saves_when_the_visitor_leaves(shop: Shop) -> None:
    await shop.visit(put(moves=[]))

    async def page() -> None:
        while True:
            quart.session["moves"].append(await quart.websocket.receive())
            await quart.websocket.send("done")

    shop.page = page
    async with shop.client.websocket("/ws") as socket:
        await socket.send("e5")
        await socket.receive()
        await socket.disconnect()
    assert await shop.data() == {"moves": ["e5"]}


async def test_a_socket_that_fails_drops_what_it_has_not_saved(shop: Shop) -> None:
    await shop.visit(put(moves=[]))
    seen: list[Any] = []
    fails = anyio.Event()

    async def page() -> None:
        seen.append(quart.session._get_current_object())  # type: ignore[attr-defined]
        quart.session["moves"].append(await quart.websocket.receive())
        fails.set()
        raise ValueError

    shop.page = page
    async with shop.client.websocket("/ws") as socket:
        await socket.send("e5")
        await fails.wait()
    assert await shop.data() == {"moves": []}
    with pytest.raises(LateWriteError):
        seen[0]["late"] = True


async def test_a_socket_that_was_never_accepted_lets_go_of_the_session(shop: Shop) -> None:
    seen: list[Any] = []
    ran = anyio.Event()

    async def page() -> None:
        seen.append(quart.session._get_current_object())  # type: ignore[attr-defined]
        seen[0].get("user")
        ran.set()

    shop.page = page
    async with shop.client.websocket("/ws"):
        await ran.wait()
    with pytest.raises(LateWriteError, match="the request is over"):
        seen[0]["late"] = True


async def test_a_session_can_begin_before_the_socket_is_accepted(shop: Shop) -> None:
    async def page() -> None:
        quart.session["moves"] = []
        await quart.websocket.accept()
        with pytest.raises(LateWriteError, match="headers"):
            session.regenerate()
        await quart.websocket.send("done")

    shop.page = page
    sent: list[Any] = []
    serve = shop.app.asgi_app

    async def note(scope: Any, receive: Any, send: Any) -> None:
        async def noting(message: Any) -> None:
            sent.append(message)
            await send(message)

        await serve(scope, receive, noting)

    shop.app.asgi_app = note  # type: ignore[method-assign]
    async with shop.client.websocket("/ws") as socket:
        assert await socket.receive() == "done"
    assert sent[0]["type"] == "websocket.accept"
    assert dict(sent[0]["headers"])[b"set-cookie"].startswith(b"session=")
    assert shop.store.length() == 1


async def test_a_socket_cannot_begin_a_session_afterwards(shop: Shop) -> None:
    async def page() -> None:
        await quart.websocket.accept()
        with pytest.raises(LateWriteError, match="headers are sent"):
            quart.session["moves"] = []
        await quart.websocket.send("done")

    shop.page = page
    async with shop.client.websocket("/ws") as socket:
        assert await socket.receive() == "done"
    assert shop.store.length() == 0


async def test_a_socket_sees_a_logout(shop: Shop) -> None:
    await shop.visit(put(_user_id="42"))

    async def page() -> None:
        while True:
            await quart.websocket.receive()
            try:
                await session.reload()
            except SessionGone:
                await quart.websocket.send("logged out")
                return
            await quart.websocket.send("logged in")

    shop.page = page
    async with shop.client.websocket("/ws") as socket:
        await socket.send("?")
        assert await socket.receive() == "logged in"
        await shop.coatcheck.sessions.arevoke_all("42")
        await socket.send("?")
        assert await socket.receive() == "logged out"


async def test_a_socket_can_be_refused(shop: Shop) -> None:
    await shop.visit(put(user=42))

    async def page() -> tuple[str, int]:
        quart.session["refused"] = True
        return "no", 403

    shop.page = page
    with pytest.raises(Exception, match="403"):
        async with shop.client.websocket("/ws") as socket:
            await socket.receive()
    assert await shop.data() == {"user": 42, "refused": True}


# The application


async def test_the_end_of_serving_closes_the_store(tmp_path: Path) -> None:
    app = quart.Quart("shop")
    app.config.update(SECRET_KEY=SECRET, COATCHECK_STORE=f"file://{tmp_path}/sessions")
    coatcheck = Coatcheck(app)

    @app.get("/")
    async def count() -> str:
        quart.session["n"] = quart.session.get("n", 0) + 1
        return str(quart.session["n"])

    client = app.test_client()
    store: Any = coatcheck.store
    for number in ("1", "2"):
        async with app.test_app():
            response = await client.get("/")
            assert await response.get_data(as_text=True) == number
    with pytest.raises(StoreClosed):
        await store.get("key")


async def test_serving_does_not_start_without_the_store() -> None:
    class Down(MemoryStore):
        def ping(self) -> None:
            raise StoreUnavailable("nobody is there")

    shop = Shop(Down(), COATCHECK_CHECK_STORE=True)
    with pytest.raises(LifespanError, match="nobody is there"):
        await shop.app.test_app().startup()


async def test_wrong_settings_are_one_clear_error() -> None:
    app = quart.Quart("shop")
    with pytest.raises(SettingsError, match="`SECRET_KEY` is not set"):
        Coatcheck(app)
    app.config.update(SECRET_KEY=SECRET, COATCHECK_SOTRE="memory:")
    with pytest.raises(SettingsError, match="did you mean `COATCHECK_STORE`"):
        Coatcheck(app)


async def test_flask_does_not_need_quart() -> None:
    import subprocess
    import sys

    program = "import sys, coatcheck_flask; sys.exit('quart' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
