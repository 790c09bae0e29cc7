"""Sessions that are created outside a request, and found by their cookies."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from webclient import (
    SECRET,
    AsyncMemoryStore,
    Clock,
    CountingStore,
    FragileStore,
    SyncClient,
    asgi_app,
    attributes,
    sessions_in,
    set_cookies,
    wsgi_app,
)

from coatcheck import CookieOptions, MemoryStore, SessionOptions, Sessions
from coatcheck.errors import ConfigurationError, SerializationError, StoreUnavailable
from coatcheck.sessions import CreatedSession


def show(session: Any, request: Any) -> dict[str, Any]:
    return {**session, "owner": session.owner}


def log_in(session: Any, request: Any) -> None:
    session["user"] = "ann"


def read_by(made: Any, cookie: CreatedSession) -> Any:
    """Return what an application answers to somebody who has the cookie."""
    header = f"{cookie.cookie_name}={cookie.cookie_value}"
    return SyncClient(made).present(header).text


@pytest.mark.parametrize("make", [asgi_app, wsgi_app])
@pytest.mark.parametrize("hash_ids", [True, False])
def test_its_cookie_opens_the_session_in_the_application(make: Any, hash_ids: bool) -> None:
    """Both middlewares take it, and it is listed and ended as any other."""
    store = MemoryStore()
    options = SessionOptions(secret=SECRET, store=store, hash_ids=hash_ids)
    sessions = Sessions(store, options)
    made = sessions.create({"user": "ann", "cart": [1]}, owner=42)
    app = make(show, options=options)
    assert read_by(app, made) == "{'user': 'ann', 'cart': [1], 'owner': '42'}"
    [entry] = sessions.list(42)
    assert (entry.ref, entry.data) == (made.ref, {"user": "ann", "cart": [1]})
    assert sessions.update(made.ref, lambda data: data.update(user="bob")).data["user"] == "bob"
    assert sessions.revoke(made.ref) is True
    assert sessions.update(made.ref, lambda data: data.update(user="eve")) is None
    assert read_by(app, made) == "{'owner': None}"


def test_each_method_can_be_awaited() -> None:
    """An asynchronous store serves both, and so does a synchronous one."""

    async def visit(sessions: Sessions) -> None:
        made = await sessions.acreate({"n": 1}, owner="ann")
        cookies = f"theme=dark; sid={made.cookie_value}"
        entry = await sessions.afind(cookies)
        assert entry is not None
        assert (entry.ref, entry.owner, entry.data) == (made.ref, "ann", {"n": 1})
        assert sessions.find(cookies) == entry

    for store in (AsyncMemoryStore(), MemoryStore()):
        asyncio.run(visit(Sessions(store, SessionOptions(secret=SECRET, store=store))))


@pytest.mark.parametrize("https", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"idle_timeout": 600},
        {"cookie": CookieOptions(max_age=600, same_site="strict", domain="shop.test")},
        {"cookie": CookieOptions(path="/shop", priority="high")},
        {"cookie": lambda scope: CookieOptions(path=scope["path"])},
        {"name": "__Host-sid", "cookie": CookieOptions(secure="auto")},
        {"absolute_timeout": 60, "cookie": CookieOptions(max_age=3600)},
        {"trust_proxy": lambda scope: scope["scheme"] == "https"},
    ],
)
def test_it_is_what_a_request_would_have_begun(options: dict[str, Any], https: bool) -> None:
    """The cookie has the same attributes, and the record the same expiry."""
    clock = Clock()
    store = MemoryStore(clock=clock)
    all_options = SessionOptions(secret=SECRET, store=store, clock=clock, **options)
    scheme = "https" if https else "http"
    browser = SyncClient(asgi_app(log_in, options=all_options), f"{scheme}://shop.test")
    answer = browser.get("/shop")
    sessions = Sessions(store, all_options)
    request = {"path": "/shop"} if callable(options.get("cookie")) else None
    if not set_cookies(answer):  # a Secure cookie over http
        with pytest.raises(ConfigurationError, match="no browser would send it over http"):
            sessions.create({"user": "ann"}, https=https, request=request)
        assert sessions_in(store) == {}
        return
    [theirs] = sessions_in(store).values()
    made = sessions.create({"user": "ann"}, https=https, request=request)
    name, value, *rest = made.set_cookie.replace("=", ";", 1).split(";")
    assert (name, value) == (made.cookie_name, made.cookie_value)
    pairs = [part.strip().partition("=") for part in rest]
    assert {name.lower(): value for name, _, value in pairs} == attributes(answer)
    entry = sessions.get(made.ref)
    assert entry is not None
    assert entry.expires_at == theirs.expires_at


def test_the_owner_follows_from_the_data_where_the_options_say_so() -> None:
    """A second owner beside it would be dropped, so it is refused."""
    store = MemoryStore()
    sessions = Sessions(store, SessionOptions(secret=SECRET, store=store, owner="user"))
    made = sessions.create({"user": "ann"})
    assert [entry.ref for entry in sessions.list("ann")] == [made.ref]
    with pytest.raises(ConfigurationError, match="leave `owner` out"):
        sessions.create({"user": "ann"}, owner="ann")


def test_an_empty_session_is_stored_too() -> None:
    """Its cookie leads to a session that can be changed from outside."""
    store = MemoryStore()
    sessions = Sessions(store, SessionOptions(secret=SECRET, store=store))
    made = sessions.create({})
    entry = sessions.update(made.ref, lambda data: data.update(n=1))
    assert entry is not None
    assert entry.data == {"n": 1}


def test_observers_are_told() -> None:
    kinds: list[str] = []
    store = MemoryStore()
    options = SessionOptions(
        secret=SECRET, store=store, observers=[lambda event: kinds.append(event.kind)]
    )
    sessions = Sessions(store, options)
    sessions.update(sessions.create({"n": 1}).ref, lambda data: data.update(n=2))
    assert kinds == ["created", "updated"]


def test_what_is_shown_of_it_opens_nothing() -> None:
    store = MemoryStore()
    made = Sessions(store, SessionOptions(secret=SECRET, store=store)).create({"pin": "swordfish"})
    assert made.cookie_value not in repr(made)
    assert "swordfish" not in repr(made)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (None, TypeError),
        ([("user", "ann")], TypeError),
        ({1: "ann"}, TypeError),
        ({"user": object()}, SerializationError),
    ],
)
def test_data_that_no_session_can_hold_store_nothing(data: Any, error: type[Exception]) -> None:
    store = CountingStore()
    sessions = Sessions(store, SessionOptions(secret=SECRET, store=store))
    with pytest.raises(error):
        sessions.create(data)
    assert "set" not in store.taken()


@pytest.mark.parametrize("owner", ["", "\ud800", b"ann", ["ann"], True])
def test_an_owner_has_a_name(owner: Any) -> None:
    store = CountingStore()
    sessions = Sessions(store, SessionOptions(secret=SECRET, store=store))
    with pytest.raises(TypeError, match="`owner` must be a non-empty string or an integer"):
        sessions.create({}, owner=owner)
    assert "set" not in store.taken()


def test_a_cookie_that_depends_on_the_request_needs_one() -> None:
    store = MemoryStore()
    options = SessionOptions(secret=SECRET, store=store, cookie=lambda scope: CookieOptions())
    with pytest.raises(ConfigurationError, match="say `request=`"):
        Sessions(store, options).create({})


def test_an_id_that_another_session_has_is_not_used() -> None:
    """Neither session is mixed up with the other."""
    store = MemoryStore()
    options = SessionOptions(secret=SECRET, store=store, generate_id=lambda request: "x" * 32)
    sessions = Sessions(store, options)
    made = sessions.create({"user": "ann"})
    with pytest.raises(ConfigurationError, match="ids of other sessions"):
        sessions.create({"user": "bob"})
    entry = sessions.get(made.ref)
    assert entry is not None
    assert entry.data == {"user": "ann"}


class LosingStore(MemoryStore):
    """A store that stores the record and fails nevertheless."""

    def set(self, key: str, record: Any, *more: Any) -> bool:
        super().set(key, record, *more)
        raise StoreUnavailable("the reply was lost")


def test_a_session_that_nobody_was_told_of_is_removed() -> None:
    store = LosingStore()
    with pytest.raises(StoreUnavailable):
        Sessions(store, SessionOptions(secret=SECRET, store=store)).create({"user": "ann"})
    assert sessions_in(store) == {}


# Finding


def test_looking_for_a_session_moves_nothing() -> None:
    """The expiry stays, however little is left."""
    clock = Clock()
    store = CountingStore(clock=clock)
    options = SessionOptions(secret=SECRET, store=store, clock=clock, idle_timeout=100)
    sessions = Sessions(store, options)
    made = sessions.create({"user": "ann"})
    store.taken()
    clock.advance(99)
    entry = sessions.find(made.set_cookie)
    assert entry is not None
    assert entry.expires_at == clock() + 1
    assert store.taken() == ["get"]
    clock.advance(2)
    assert sessions.find(made.set_cookie) is None


def test_only_a_signed_cookie_of_this_name_leads_to_a_session() -> None:
    store = CountingStore()
    sessions = Sessions(store, SessionOptions(secret=SECRET, store=store))
    made = sessions.create({"user": "ann"})
    session_id, _, signature = made.cookie_value.partition(".")
    store.taken()
    for cookies in ("", "sid", f"sid={session_id}", f"sid={session_id}.x", f"SID={made.ref}"):
        assert sessions.find(cookies) is None
    assert store.taken() == []
    found = sessions.find(f"sid=forged.{signature}; sid={made.cookie_value}")
    assert found is not None
    with pytest.raises(TypeError, match="`cookies` must be the value of a Cookie header"):
        sessions.find({"sid": made.cookie_value})  # type: ignore[arg-type]


def test_a_store_that_fails_says_so() -> None:
    store = FragileStore()
    sessions = Sessions(store, SessionOptions(secret=SECRET, store=store))
    made = sessions.create({"user": "ann"})
    store.fail("get", "set")
    with pytest.raises(StoreUnavailable):
        sessions.find(made.set_cookie)
    with pytest.raises(StoreUnavailable):
        sessions.create({"user": "ann"})
