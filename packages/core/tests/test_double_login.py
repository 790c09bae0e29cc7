"""A login form that is sent twice: both requests have the same old cookie, and each logs in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

import anyio
import pytest
from webclient import (
    SECRET,
    AsyncMemoryStore,
    Client,
    SyncClient,
    YieldingStore,
    asgi_app,
    sessions_in,
    set_cookies,
    wsgi_app,
)

from coatcheck import ALWAYS, MemoryStore, Record, SessionOptions
from coatcheck.codec import JSONCodec
from coatcheck.logins import LOGIN_KEY, record_login
from coatcheck.session_lifecycle import SessionLifecycle
from coatcheck.store import Condition

pytestmark = pytest.mark.anyio

#: How an application says that a request is a login.
WAYS = ["owner", "derived owner", "record_login"]


def options_of(way: str, **options: Any) -> dict[str, Any]:
    return options | ({"owner": "user"} if way == "derived owner" else {})


def act(session: Any, path: str, way: str) -> str:
    """Do what the path says, and return the data."""
    action, _, word = path.strip("/").partition("/")
    match action:
        case "cart":
            session["cart"] = word
        case "login":
            if way in {"record_login", "without data"}:
                record_login(session, keep_data=way == "record_login")
            else:
                session.regenerate(keep_data=True)
            session["user"] = word
            if way == "owner":
                session.owner = word
        case "rotate":
            session.regenerate(keep_data=True)
            session["rotated"] = word
        case "logout":
            session.destroy()
    return str({key: value for key, value in sorted(session.items()) if key != LOGIN_KEY})


def data_in(store: MemoryStore) -> list[dict[str, Any]]:
    """Return the data of all sessions, without the moments of logins."""
    found = [JSONCodec().loads(record.data, key).data for key, record in sessions_in(store).items()]
    for data in found:
        data.pop(LOGIN_KEY, None)
    return sorted(found, key=str)


class Script(MemoryStore):
    """A store before whose n-th call of a request another request is answered."""

    number = 0
    action: Callable[[], object] | None = None

    def script(self, number: int, action: Callable[[], object]) -> None:
        self.number, self.action = number, action

    def _step(self) -> None:
        self.number -= 1
        if self.number == 0 and self.action is not None:
            action, self.action = self.action, None
            action()

    def get(self, key: str) -> Record | None:
        self._step()
        return super().get(key)

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        self._step()
        return super().set(key, record, only_if)

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        self._step()
        return super().destroy(key, only_if)


class Site:
    """A visitor without a login, who has a cart."""

    def __init__(self, way: str, **options: Any) -> None:
        self.store = Script()
        app = wsgi_app(
            lambda session, environ: act(session, environ["PATH_INFO"], way),
            store=self.store,
            **options_of(way, **options),
        )
        self.browser = SyncClient(app)
        self.old = set_cookies(self.browser.get("/cart/shoes"))[0].partition(";")[0]

    def sends(self, *paths: str) -> Callable[[], Iterable[object]]:
        """Return a function that sends requests with the old cookie."""
        return lambda: [self.browser.present(self.old, path) for path in paths]

    def cookie_of(self, path: str) -> str | None:
        """Return the cookie that a request with the old cookie gets."""
        lines = set_cookies(self.browser.present(self.old, path))
        assert self.store.action is None, "what was to come in between came"
        return lines[0].partition(";")[0] if lines else None


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("concurrency", ["merge", "error", "last-write-wins"])
@pytest.mark.parametrize("make", [MemoryStore, YieldingStore])
async def test_each_of_two_logins_that_meet_has_a_session_of_its_own(
    way: str, concurrency: str, make: Callable[[], Any]
) -> None:
    """The browser may keep the cookie of either response. The old cookie ends both sessions."""
    met, arrived = anyio.Event(), 0

    async def handle(session: Any, scope: dict[str, Any]) -> str:
        nonlocal arrived
        if scope["path"].startswith("/login"):
            arrived += 1
            if arrived == 2:
                met.set()
            await met.wait()
        return act(session, scope["path"], way)

    store = make()
    memory = store.store if isinstance(store, AsyncMemoryStore) else store
    browser = Client(asgi_app(handle, store=store, **options_of(way, concurrency=concurrency)))
    old = set_cookies(await browser.get("/cart/shoes"))[0].partition(";")[0]
    cookies: dict[str, str] = {}

    async def log_in(user: str) -> None:
        (line,) = set_cookies(await browser.present(old, f"/login/{user}"))
        cookies[user] = line.partition(";")[0]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(log_in, "ann")
        tasks.start_soon(log_in, "bob")
    for user, cookie in cookies.items():
        response = await browser.present(cookie, "/read")
        assert response.text == str({"cart": "shoes", "user": user})
    assert len(data_in(memory)) == 2
    await browser.present(old, "/logout")
    assert data_in(memory) == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("step", [2, 3, 4])
def test_at_whichever_point_of_a_login_the_other_comes_both_count(way: str, step: int) -> None:
    """It reads, stores the succession record and the session, and ends the old one."""
    site = Site(way)
    site.store.script(step, site.sends("/login/ann"))
    cookie = site.cookie_of("/login/bob")
    assert cookie is not None
    assert site.browser.present(cookie, "/read").text == str({"cart": "shoes", "user": "bob"})
    assert [data["user"] for data in data_in(site.store)] == ["ann", "bob"]


def test_logins_without_the_data_never_depend_on_each_other() -> None:
    site = Site("without data")
    site.store.script(3, site.sends("/login/ann"))
    assert site.cookie_of("/login/bob") is not None
    site.browser.present(site.old, "/logout")
    assert data_in(site.store) == [{"user": "ann"}, {"user": "bob"}]


@pytest.mark.parametrize("way", WAYS)
def test_what_the_other_login_did_is_not_shown(way: str) -> None:
    """The old cookie leads to nothing that came after it: there may be a thief who has it."""
    site = Site(way)
    site.store.script(3, site.sends("/cart/hats", "/login/ann"))
    cookie = site.cookie_of("/login/bob")
    assert cookie is not None
    assert site.browser.present(cookie, "/read").text == str({"cart": "shoes", "user": "bob"})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("step", range(1, 8))
def test_a_logout_at_any_point_of_the_second_login_ends_both(way: str, step: int) -> None:
    """The login stores twice, is refused, reads the old session, and looks for the other one."""
    site = Site(way)
    logs_in, logs_out = site.sends("/login/ann"), site.sends("/logout")

    def log_in_first() -> None:
        logs_in()
        site.store.script(step, logs_out)

    site.store.script(2, log_in_first)
    assert site.cookie_of("/login/bob") is None
    assert data_in(site.store) == []


def run_in_turn(store: MemoryStore, first: Any, second: Any, *switches: int) -> None:
    """Execute two generators of operations in turn.

    :param switches: after how many operations the other one goes on; the last goes to its end.
    """
    running, waiting = [first, None], [second, None]
    try:
        for count in switches:
            for _ in range(count):
                step(store, running)
            running, waiting = waiting, running
        while True:
            step(store, running)
    except StopIteration:
        with pytest.raises(StopIteration):
            while True:
                step(store, waiting if running[0].gi_frame is None else running)


def step(store: MemoryStore, steps: list[Any]) -> None:
    operation = steps[0].send(steps[1])
    steps[1] = getattr(store, operation.name)(*operation.args)


@pytest.mark.parametrize("method", ["rotate", "fork"])
def test_no_order_of_the_second_login_and_a_logout_leaves_a_session(method: str) -> None:
    """The first login has moved the old session, and the calls of the store of both mix."""
    for switches in product(range(10), repeat=3):
        store = MemoryStore()
        sessions = SessionLifecycle(store, SessionOptions(secret=SECRET, owner="user"))
        old = sessions.run(sessions.create({"cart": 1}))
        sessions.run(sessions.rotate(old, {"cart": 1, "user": "ann"}))
        login = getattr(sessions, method)(old, {"cart": 1, "user": "bob"})
        run_in_turn(store, login, sessions.end(old.id), *switches)
        assert sessions_in(store) == {}, switches


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", ["/rotate/2", "/login/ann"])
def test_only_a_visitor_who_was_nobody_gets_a_second_session(way: str, path: str) -> None:
    """A thief who has the cookie of a login would keep a session that no logout ends."""
    site = Site(way)
    site.old = site.cookie_of("/login/ann") or ""
    site.store.script(3, site.sends("/rotate/1"))
    assert site.cookie_of(path) is None
    assert data_in(site.store) == [{"cart": "shoes", "rotated": "1", "user": "ann"}]


@pytest.mark.parametrize("way", WAYS)
def test_a_new_id_alone_is_no_login(way: str) -> None:
    """Its cookie could replace the one of the login."""
    site = Site(way)
    site.store.script(3, site.sends("/login/ann"))
    assert site.cookie_of("/rotate/1") is None
    assert data_in(site.store) == [{"cart": "shoes", "user": "ann"}]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("step", [2, 3, 4])
def test_a_login_whose_session_was_ended_does_not_count(way: str, step: int) -> None:
    """A session that is gone stays gone."""
    site = Site(way)
    site.store.script(step, site.sends("/logout"))
    assert site.cookie_of("/login/ann") is None
    assert data_in(site.store) == []
