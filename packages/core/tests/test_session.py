"""The session as applications use it: a mapping, its attributes, its lifetime."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from webclient import (
    SECRET,
    Client,
    Clock,
    CountingStore,
    FragileStore,
    SyncClient,
    asgi_app,
    sessions_in,
    set_cookies,
    wsgi_app,
)

from coatcheck import AsyncSession, CookieOptions, Record, Session, SyncSession
from coatcheck.asgi import SessionMiddleware as ASGISessions
from coatcheck.errors import ConfigurationError, LateWriteError, StoreError
from coatcheck.wsgi import SessionMiddleware as WSGISessions

DAY = 86400.0

Handler = Callable[[Any], Any]


def nothing(session: Session) -> str:
    """Serve a page that has no use for the session."""
    return ""


class Site:
    """An application with one visitor. A test says what each request does with the session."""

    def __init__(self, driver: str, **options: Any) -> None:
        self.clock = options.setdefault("clock", Clock())
        self.store = options.setdefault("store", CountingStore(clock=self.clock))
        self._handler: Handler = nothing
        make_app = asgi_app if driver == "asgi" else wsgi_app
        app = make_app(lambda session, request: self._handler(session), **options)
        self.client = Client(app)

    async def visit(self, handler: Handler = nothing, path: str = "/") -> httpx.Response:
        self._handler = handler
        return await self.client.get(path)

    async def returning(self, **data: Any) -> Site:
        """Store a session, and forget that it took store calls."""
        await self.visit(lambda session: session.update(data))
        self.store.taken()
        return self

    @property
    def record(self) -> Record:
        """The one stored record."""
        [record] = sessions_in(self.store).values()
        return record


@pytest.fixture(params=["asgi", "wsgi"])
def driver(request: pytest.FixtureRequest) -> str:
    """Every story is told on both drivers."""
    return request.param


pytestmark = pytest.mark.anyio


def missing(session: Session) -> None:
    with pytest.raises(KeyError):
        session["missing"]


READS: dict[str, Handler] = {
    "[]": lambda session: session["a"],
    "[] of a missing key": missing,
    "get": lambda session: session.get("a"),
    "get of a missing key": lambda session: session.get("missing", 1),
    "in": lambda session: "a" in session,
    "in with no string": lambda session: 5 in session,
    "len": len,
    "bool": bool,
    "iter": list,
    "dict": dict,
    "**": lambda session: {**session},
    "keys": lambda session: list(session.keys()),
    "values": lambda session: list(session.values()),
    "items": lambda session: list(session.items()),
    "in keys": lambda session: "a" in session.keys(),  # noqa: SIM118  # the view is the point
    "len of items": lambda session: len(session.items()),
    "==": lambda session: session == {},
    "== from the right": lambda session: {} == session,  # noqa: SIM300  # the point
    "!=": lambda session: session != {"a": 1},
    "== itself": lambda session: session == session,  # the point
    "setdefault": lambda session: session.setdefault("a", 1),
    "id": lambda session: session.id,
    "is_new": lambda session: session.is_new,
    "is_modified": lambda session: session.is_modified,
    "created_at": lambda session: session.created_at,
    "expires_at": lambda session: session.expires_at,
    "expires_in": lambda session: session.expires_in,
    "owner": lambda session: session.owner,
    "cookie": lambda session: session.cookie.max_age,
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
async def test_each_way_of_reading_is_access(driver: str, read: Handler) -> None:
    """A response made from the session must not be cached for somebody else."""
    site = await Site(driver).returning(a=1)
    response = await site.visit(read)
    assert response.headers.get("vary") == "Cookie"
    assert site.store.taken() == ["get"]


@pytest.mark.parametrize("read", [bool, dict, lambda session: session.get("a")])
async def test_reading_an_empty_session_is_access_and_stores_nothing(
    driver: str, read: Handler
) -> None:
    """A page for strangers that looked whether they are strangers varies by cookie, too."""
    site = Site(driver)
    response = await site.visit(read)
    assert response.headers.get("vary") == "Cookie"
    assert set_cookies(response) == []
    assert site.store.taken() == []


async def test_a_framework_can_say_that_a_response_depends_on_the_session(driver: str) -> None:
    """Starlette does when an application asks for `request.session`."""
    site = await Site(driver).returning(a=1)
    response = await site.visit(lambda session: session.mark_accessed())
    assert response.headers.get("vary") == "Cookie"


@pytest.mark.parametrize("look", [nothing, repr, str, type, id])
async def test_what_shows_nothing_of_the_session_is_no_access(driver: str, look: Handler) -> None:
    """A page that does not depend on the session can be cached for all."""
    site = await Site(driver).returning(a=1)
    response = await site.visit(lambda session: bool(look(session)))
    assert "vary" not in response.headers
    assert site.store.taken() == (["get"] if driver == "asgi" else [])


async def test_asking_whether_it_is_degraded_loads_it_and_is_access(driver: str) -> None:
    """Whether the store works is known once it was asked, and the response depends on it."""
    site = await Site(driver).returning(a=1)
    response = await site.visit(lambda session: session.degraded)
    assert response.headers["vary"] == "Cookie"
    assert (response.text, site.store.taken()) == ("False", ["get"])


WRITES: dict[str, Handler] = {
    "[]=": lambda session: session.__setitem__("b", 2),
    "del": lambda session: session.__delitem__("a"),
    "pop": lambda session: session.pop("a"),
    "popitem": lambda session: session.popitem(),
    "setdefault": lambda session: session.setdefault("b", 2),
    "update": lambda session: session.update(b=2),
    "update with pairs": lambda session: session.update([("b", 2)]),
    "update with a mapping": lambda session: session.update({"b": 2}, c=3),
    "clear": lambda session: session.clear(),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_each_way_of_writing_is_saved(driver: str, write: Handler) -> None:
    """Every mutating method of a mapping does to the session what it does to a dictionary."""
    expected: dict[str, Any] = {"a": 1}
    write(expected)
    site = await Site(driver).returning(a=1)
    response = await site.visit(write)
    assert response.headers.get("vary") == "Cookie"
    assert site.store.taken() == ["get", "set"]
    assert (await site.visit(dict)).text == repr(expected)


_keys = st.sampled_from(["a", "b", "$", ""])
_values = st.none() | st.booleans() | st.integers(0, 2) | st.lists(st.integers(0, 2), max_size=2)
_pairs = st.dictionaries(_keys, _values, max_size=3)


def _popitem(mapping: MutableMapping[str, Any]) -> int:
    if mapping:
        mapping.pop(next(iter(mapping)))
    return len(mapping)


def _append(mapping: MutableMapping[str, Any], key: str) -> None:
    if isinstance(mapping.get(key), list):
        mapping[key].append(7)


def _delete(mapping: MutableMapping[str, Any], key: str) -> str:
    try:
        del mapping[key]
    except KeyError as error:
        return repr(error)
    return "deleted"


_OPERATIONS = st.one_of(
    st.tuples(st.just(MutableMapping.__setitem__), _keys, _values),
    st.tuples(st.just(_delete), _keys),
    st.tuples(st.just(lambda mapping, key: mapping.get(key, "absent")), _keys),
    st.tuples(st.just(lambda mapping, key: mapping.pop(key, "absent")), _keys),
    st.tuples(st.just(lambda mapping, *pair: mapping.setdefault(*pair)), _keys, _values),
    st.tuples(st.just(lambda mapping, pairs: mapping.update(pairs)), _pairs),
    st.tuples(st.just(lambda mapping, key: key in mapping), _keys),
    st.tuples(st.just(_append), _keys),
    st.tuples(st.just(_popitem)),
    st.tuples(st.just(lambda mapping: mapping.clear())),
    st.tuples(st.just(lambda mapping: [len(mapping), bool(mapping), mapping == {"a": None}])),
    st.tuples(st.just(lambda mapping: list(mapping.items()))),
    st.tuples(st.just(lambda mapping: [list(mapping), list(mapping.values())])),
)


def _perform(mapping: MutableMapping[str, Any], operations: list[Any]) -> list[str]:
    results = []
    for operation, *arguments in operations:
        if operation is MutableMapping.__setitem__:
            key, value = arguments
            mapping[key] = list(value) if isinstance(value, list) else value
        else:
            copies = [_copy(argument) for argument in arguments]
            results.append(repr(operation(mapping, *copies)))
    return results


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return list(value) if isinstance(value, list) else value


@given(st.lists(st.lists(_OPERATIONS, max_size=8), min_size=1, max_size=4))
def test_a_session_behaves_as_a_dictionary_over_requests(requests: list[list[Any]]) -> None:
    """After any calls, the next request sees the same as in a dictionary."""
    model: dict[str, Any] = {}
    stories = iter(requests)

    def handler(session: Any, environ: Any) -> str:
        operations = next(stories)
        assert repr(dict(session)) == repr(model)
        assert _perform(session, operations) == _perform(model, operations)
        assert repr(dict(session)) == repr(model)
        return ""

    app = wsgi_app(handler, store=CountingStore())
    client = SyncClient(app)
    for _ in requests:
        client.get("/")


async def test_sessions_are_what_their_types_say(driver: str) -> None:
    """The drivers' sessions are mutable mappings, unhashable as those are."""

    def check(session: Session) -> None:
        assert isinstance(session, MutableMapping)
        assert isinstance(session, AsyncSession if driver == "asgi" else SyncSession)
        assert isinstance(session, Mapping)
        with pytest.raises(TypeError, match="unhashable"):
            hash(session)
        assert session != 5
        assert session != None  # noqa: E711  # the operator is the point

    await Site(driver).visit(check)


@pytest.mark.parametrize("key", [1, None, b"a", ("a",), 1.5])
@pytest.mark.parametrize(
    "write",
    [
        lambda session, key: session.__setitem__(key, 1),
        lambda session, key: session.setdefault(key, 1),
        lambda session, key: session.update({"fine": 1, key: 1}),
    ],
    ids=["[]=", "setdefault", "update"],
)
async def test_keys_are_strings(driver: str, key: Any, write: Callable[..., None]) -> None:
    """Another type of key is refused at the call, and nothing is changed."""

    def handler(session: Session) -> None:
        with pytest.raises(TypeError, match=f"must be strings, not {type(key).__name__}"):
            write(session, key)
        assert dict(session) == {}
        assert not session.is_modified

    site = Site(driver)
    await site.visit(handler)
    assert site.store.taken() == []


NESTED: dict[str, tuple[Any, Handler]] = {
    "a list": ([1], lambda session: session["v"].append(2)),
    "through get": ([1], lambda session: session.get("v").append(2)),
    "through values": ([1], lambda session: next(iter(session.values())).append(2)),
    "through items": ([1], lambda session: dict(session.items())["v"].append(2)),
    "through setdefault": ([1], lambda session: session.setdefault("v", []).append(2)),
    "a dictionary": ({"a": 1}, lambda session: session["v"].update(a=2)),
    "a set": ({1}, lambda session: session["v"].add(2)),
    "deep": ({"a": [{"b": []}]}, lambda session: session["v"]["a"][0]["b"].append(1)),
    "in a tuple": (([1], 2), lambda session: session["v"][0].append(2)),
    "beside a date": ([datetime(2026, 1, 1), {}], lambda session: session["v"][1].update(a=1)),
    "to another type": ([1], lambda session: session["v"].__setitem__(0, True)),
    "the order": ({"a": 1, "b": 2}, lambda session: session["v"].update(a=session["v"].pop("a"))),
}


@pytest.mark.parametrize(("value", "change"), NESTED.values(), ids=NESTED)
async def test_nested_changes_are_saved(driver: str, value: Any, change: Handler) -> None:
    """A change inside a value is noticed without a word from the application."""
    expected = {"v": _deep_copy(value)}
    change(expected)
    site = await Site(driver).returning(v=value)
    await site.visit(change)
    assert site.store.taken() == ["get", "set"]
    assert (await site.visit(dict)).text == repr(expected)


def _deep_copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _deep_copy(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return type(value)(map(_deep_copy, value))
    return value


async def test_a_value_changed_after_it_was_assigned_is_saved_as_it_is_in_the_end(
    driver: str,
) -> None:
    """The session holds the application's object, not a copy from the moment of assignment."""

    def assign_and_change(session: Session) -> None:
        cart: list[int] = []
        session["cart"] = cart
        cart.append(1)

    site = await Site(driver).returning(a=1)
    await site.visit(assign_and_change)
    assert (await site.visit(dict)).text == "{'a': 1, 'cart': [1]}"


@pytest.mark.parametrize(
    "handler",
    [
        lambda session: session["v"],
        lambda session: session.update(v=[1, {"x": 2}]),
        lambda session: session.__setitem__("n", 5),
        lambda session: session.update(dict(session)),
        lambda session: (session["v"].append(3), session["v"].pop()),
        lambda session: (session.__setitem__("new", 1), session.pop("new")),
        lambda session: session.update(),
        lambda session: session.pop("missing", None),
    ],
)
async def test_what_is_equal_in_the_end_costs_no_write(driver: str, handler: Handler) -> None:
    """Only a difference to the stored session is written, however it was handled meanwhile."""
    site = await Site(driver).returning(v=[1, {"x": 2}], n=5)
    response = await site.visit(handler)
    assert site.store.taken() == ["get"]
    assert set_cookies(response) == []


async def test_no_repr_shows_id_or_data(driver: str) -> None:
    """Sessions can be printed, logged and shown by debuggers."""

    def show(session: Session) -> None:
        shown = [repr(session), str(session), f"{session!r:>99}", repr(session.cookie)]
        shown += [repr(session.items()), repr(session.keys()), repr(session.values())]
        for text in shown:
            assert session.id not in text
            assert "marker" not in text
        assert repr(session) == f"<{type(session).__name__}>"

    site = await Site(driver).returning(marker="marker")
    await site.visit(show)


async def test_a_new_session_tells_what_it_is(driver: str) -> None:
    """Before anything is stored a session has an id, a birth, an end and no owner."""

    def check(session: Session) -> None:
        assert session.is_new
        assert not session.is_modified
        assert (session.created_at, session.expires_in) == (site.clock.now, DAY)
        assert session.expires_at == site.clock.now + DAY
        assert session.owner is None
        assert not session.degraded
        assert len(session.id) == 32
        assert session.id == session.id  # it is made once
        session["n"] = 1
        assert session.is_new
        assert session.is_modified
        del session["n"]
        assert not session.is_modified

    site = Site(driver)
    response = await site.visit(check)
    assert set_cookies(response) == []
    assert site.store.taken() == []


async def test_a_stored_session_tells_what_it_is(driver: str) -> None:
    """A session that goes on keeps its birth and its id, and knows what is left."""
    site = Site(driver, touch_interval=3600)
    born = site.clock.now
    session_id = (await site.visit(lambda session: session.update(n=1) or session.id)).text
    site.clock.advance(100)

    def check(session: Session) -> None:
        assert not session.is_new
        assert not session.is_modified
        assert (session.created_at, session.expires_at) == (born, born + DAY)
        assert session.expires_in == DAY - 100
        assert session.id == session_id
        session["n"] = 1
        assert not session.is_modified
        session["n"] = True
        assert session.is_modified

    await site.visit(check)


async def test_an_end_or_a_rotation_shows_at_once(driver: str) -> None:
    """destroy() leaves a new, empty session; regenerate() a new id, with the data if wanted."""

    def check(session: Session) -> None:
        old = session.id
        session.regenerate(keep_data=True)
        assert session.id != old
        assert dict(session) == {"n": 1}
        assert not session.is_new
        assert session.is_modified
        session.regenerate()
        assert dict(session) == {}
        assert session.is_new
        session["n"] = 2
        session.destroy()
        assert dict(session) == {}
        assert session.is_new
        assert not session.is_modified

    await (await Site(driver).returning(n=1)).visit(check)


async def test_an_owner_set_by_hand_is_stored(driver: str) -> None:
    """The owner reaches the record, is kept, and goes when it is taken away."""
    site = Site(driver)
    await site.visit(lambda session: setattr(session, "owner", "ann"))
    assert site.record.owner == "ann"
    assert (await site.visit(lambda session: session.owner)).text == "ann"
    await site.visit(lambda session: setattr(session, "owner", None))
    assert site.record.owner is None


@pytest.mark.parametrize("owner", ["", "\ud800", 42, b"ann", True])
async def test_an_owner_is_a_string(driver: str, owner: Any) -> None:
    """Anything but a non-empty string or None is refused at the assignment."""

    def assign(session: Session) -> None:
        with pytest.raises(TypeError) as caught:
            session.owner = owner
        assert "must be a non-empty string or None" in str(caught.value)

    await Site(driver).visit(assign)


@pytest.mark.parametrize(
    ("rule", "data", "owner"),
    [
        ("user", {"user": "ann"}, "ann"),
        ("user", {"user": 42}, "42"),
        ("user", {"user": ""}, None),
        ("user", {"n": 1}, None),
        (lambda data: data["n"] and f"user-{data['n']}", {"n": 7}, "user-7"),
    ],
)
async def test_an_owner_can_follow_from_the_data(
    driver: str, rule: Any, data: dict[str, Any], owner: str | None
) -> None:
    """With the option `owner` the data decide, and assigning by hand is refused."""

    def handler(session: Session) -> None:
        session.update(data)
        assert session.owner == owner
        with pytest.raises(ConfigurationError) as caught:
            session.owner = "bob"
        assert str(caught.value) == "`session.owner` follows from the option `owner` here"

    site = Site(driver, owner=rule)
    await site.visit(handler)
    assert site.record.owner == owner


@pytest.mark.parametrize("value", [True, 1.5, ["ann"]])
async def test_an_owner_of_another_type_is_a_configuration_error(driver: str, value: Any) -> None:
    """A value that cannot name an owner is an error, and not indexed under another name."""
    with pytest.raises(ConfigurationError, match="`owner` must give"):
        await Site(driver, owner="user").visit(lambda session: session.update(user=value))


async def test_a_degraded_session_says_so_and_is_never_saved(driver: str) -> None:
    """Where a failed load may pass, the request has an empty session that leaves no trace."""
    store = FragileStore(clock=Clock())
    site = Site(driver, store=store, on_store_error="anonymous")
    await site.returning(n=1)
    store.fail("get")

    def check(session: Session) -> None:
        assert dict(session) == {}
        assert session.degraded
        session["n"] = 2

    response = await site.visit(check)
    assert set_cookies(response) == []
    assert store.taken() == ["get"]
    store.fail()
    assert (await site.visit(lambda session: (session["n"], session.degraded))).text == (
        "(1, False)"
    )


async def test_a_failed_load_raises_at_each_use(driver: str) -> None:
    """A page that needs the session fails each time it asks; one that does not stays up."""
    store = FragileStore(clock=Clock())
    site = await Site(driver, store=store).returning(n=1)
    store.fail("get")
    assert (await site.visit(nothing)).status_code == 200

    def use_twice(session: Session) -> None:
        for use in (len, dict):
            with pytest.raises(StoreError):
                use(session)

    await site.visit(use_twice)
    assert store.taken() == (["get", "get"] if driver == "asgi" else ["get"])


MONTH = 30 * 86400


def remember(session: Session) -> None:
    session["user"] = 1
    session.cookie.max_age = MONTH


async def test_remember_me_is_sent_and_stored(driver: str) -> None:
    """One session's cookie can outlive the others, and its record lives as long."""
    site = Site(driver)
    [line] = set_cookies(await site.visit(remember))
    assert "; Max-Age=2592000;" in line
    assert "; Expires=Thu, 14 Dec 2023 22:13:20 GMT;" in line
    assert site.record.expires_at == site.clock.now + MONTH
    site.clock.advance(29 * DAY)
    response = await site.visit(lambda session: (session["user"], session.cookie.max_age))
    assert response.text == f"(1, {MONTH})"
    assert site.record.expires_at == site.clock.now + MONTH


async def test_other_sessions_keep_the_configured_settings(driver: str) -> None:
    """A cookie setting of one session is no other one's."""
    site = Site(driver)
    await site.visit(remember)
    other = Site(driver, store=site.store, clock=site.clock)
    [line] = set_cookies(await other.visit(lambda session: session.update(n=1)))
    assert "Max-Age" not in line
    assert "Expires" not in line


async def test_settings_changed_alone_on_a_stored_session_are_sent_and_stored(driver: str) -> None:
    """The browser learns of a new lifetime although no data changed."""
    site = await Site(driver).returning(n=1)
    change = await site.visit(lambda session: setattr(session.cookie, "max_age", 600))
    assert site.store.taken() == ["get", "set"]
    assert "; Max-Age=600;" in set_cookies(change)[0]
    assert site.record.expires_at == site.clock.now + 600
    later = await site.visit(lambda session: (session.cookie.max_age, dict(session)))
    assert later.text == "(600, {'n': 1})"
    assert set_cookies(later) == []


async def test_settings_alone_create_no_session(driver: str) -> None:
    """A stranger whose cookie would live longer is still a stranger."""
    site = Site(driver)
    response = await site.visit(lambda session: setattr(session.cookie, "max_age", 600))
    assert set_cookies(response) == []
    assert site.store.taken() == []


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("max_age", timedelta(hours=1), "Max-Age=3600"),
        ("path", "/shop", "Path=/shop"),
        ("domain", "shop.test", "Domain=shop.test"),
        ("same_site", "strict", "SameSite=Strict"),
        ("priority", "high", "Priority=High"),
        ("expires", datetime(2023, 11, 15, tzinfo=UTC), "Expires=Wed, 15 Nov 2023 00:00:00 GMT"),
    ],
)
async def test_each_setting_can_be_the_sessions_own(
    driver: str, name: str, value: Any, shown: str
) -> None:
    """A setting for a session appears in its cookie, at once and later on."""

    def choose(session: Session) -> None:
        session["n"] = 1
        setattr(session.cookie, name, value)

    site = Site(driver, rolling=True)
    first = await site.visit(choose, "/shop")
    again = await site.visit(nothing, "/shop")
    for response in (first, again):
        assert shown in set_cookies(response)[0].split("; ")


async def test_a_setting_can_be_taken_off(driver: str) -> None:
    """HttpOnly goes for one session where its page needs the cookie in a script."""

    def choose(session: Session) -> None:
        session["n"] = 1
        session.cookie.http_only = False

    [line] = set_cookies(await Site(driver).visit(choose))
    assert "HttpOnly" not in line


async def test_the_later_of_max_age_and_expires_applies(driver: str) -> None:
    """A session's lifetime is one of the two, so setting the one clears the other."""

    def choose(session: Session) -> None:
        session.cookie.max_age = 600
        session.cookie.expires = site.clock.now + 60
        assert session.cookie.max_age is None
        assert session.expires_in == 60
        session.cookie.max_age = 700
        assert session.cookie.expires is None
        assert session.expires_in == 700

    site = Site(driver)
    await site.visit(choose)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("path", "shop", "cookie `path` must be a path that starts with `/`, not 'shop'"),
        ("max_age", 0, "cookie `max_age` must be seconds or a timedelta, more than zero, not 0"),
        (
            "secure",
            False,
            "a cookie named '__Secure-sid' needs `secure=True`",
        ),
        (
            "maxage",
            60,
            (
                "a session cookie has no setting `maxage`; it has path, domain, max_age, expires, "
                "http_only, secure, same_site, priority, partitioned"
            ),
        ),
    ],
)
async def test_a_wrong_setting_is_refused_and_changes_nothing(
    driver: str, name: str, value: Any, message: str
) -> None:
    """A session's own settings are checked as the configured ones are, at the assignment."""

    def choose(session: Session) -> None:
        before = repr(session.cookie)
        with pytest.raises(ConfigurationError) as caught:
            setattr(session.cookie, name, value)
        assert str(caught.value) == message
        assert repr(session.cookie) == before
        assert not session.is_modified

    await Site(driver, name="__Secure-sid").visit(choose)


async def test_reading_an_unknown_setting_is_an_attribute_error(driver: str) -> None:
    """A misspelt setting is not None."""

    def read(session: Session) -> None:
        assert not hasattr(session.cookie, "maxage")
        assert session.cookie.path == "/"

    await Site(driver).visit(read)


async def test_a_destroyed_sessions_cookie_is_removed_with_its_own_attributes(driver: str) -> None:
    """A browser removes a cookie only if Path and Domain are those that it was set with."""

    def choose(session: Session) -> None:
        session["n"] = 1
        session.cookie.path = "/shop"
        session.cookie.domain = "shop.test"

    site = Site(driver)
    await site.visit(choose, "/shop")
    [line] = set_cookies(await site.visit(lambda session: session.destroy(), "/shop"))
    assert line.startswith("sid=; Domain=shop.test; Path=/shop; Expires=Thu, 01 Jan 1970 ")
    assert "; Max-Age=0;" in line


@pytest.mark.parametrize(
    ("options", "own", "lifetime"),
    [
        ({}, {}, DAY),
        ({"cookie": CookieOptions(max_age=600)}, {}, 600),
        ({"cookie": CookieOptions(expires=1_700_000_000.0 + 500)}, {}, 500),
        ({"idle_timeout": 300, "cookie": CookieOptions(max_age=600)}, {}, 300),
        ({"idle_timeout": timedelta(minutes=5)}, {}, 300),
        ({"idle_timeout": 300, "cookie": CookieOptions(max_age=600)}, {"max_age": 900}, 900),
        ({"idle_timeout": 300}, {"expires": 1_700_000_000.0 + 50}, 50),
        ({"idle_timeout": 300}, {"max_age": None}, 300),
        ({"absolute_timeout": 50}, {}, 50),
        ({"absolute_timeout": timedelta(seconds=50), "idle_timeout": 300}, {}, 50),
        ({"absolute_timeout": 50}, {"max_age": 900}, 50),
        ({"absolute_timeout": 50, "cookie": CookieOptions(max_age=600)}, {}, 50),
        ({"absolute_timeout": 999, "idle_timeout": 300}, {}, 300),
    ],
)
async def test_the_nearest_setting_gives_the_lifetime(
    driver: str, options: dict[str, Any], own: dict[str, Any], lifetime: float
) -> None:
    """Own settings, then the idle timeout, then the cookie's, then a day; never over the cap."""

    def write(session: Session) -> None:
        session["n"] = 1
        for name, value in own.items():
            setattr(session.cookie, name, value)
        assert session.expires_in == lifetime

    site = Site(driver, **options)
    await site.visit(write)
    assert site.record.expires_at == site.clock.now + lifetime
    site.clock.advance(lifetime - 1)
    assert (await site.visit(lambda session: session.touch(False) or len(session))).text == "1"
    site.clock.advance(1)
    assert (await site.visit(lambda session: (len(session), session.is_new))).text == "(0, True)"


@pytest.mark.parametrize(
    ("options", "max_age"),
    [
        ({}, None),
        ({"idle_timeout": 300}, None),
        ({"absolute_timeout": 50}, None),
        ({"cookie": CookieOptions(max_age=600)}, 600),
        ({"cookie": CookieOptions(max_age=600), "idle_timeout": 300}, 600),
        ({"cookie": CookieOptions(max_age=600), "absolute_timeout": 50}, 50),
        ({"cookie": CookieOptions(expires=1_700_000_000.0 + 500)}, 500),
    ],
)
async def test_the_cookie_has_a_lifetime_only_if_the_cookie_options_give_one(
    driver: str, options: dict[str, Any], max_age: int | None
) -> None:
    """Max-Age and Expires are sent together or not at all, and never beyond the absolute end."""
    site = Site(driver, **options)
    [line] = set_cookies(await site.visit(lambda session: session.update(n=1)))
    if max_age is None:
        assert "Max-Age" not in line
        assert "Expires" not in line
    else:
        end = datetime.fromtimestamp(site.clock.now + max_age, UTC)
        assert f"; Max-Age={max_age};" in line
        assert f"; Expires={end:%a, %d %b %Y %H:%M:%S} GMT;" in line


async def test_activity_and_rotation_do_not_move_the_absolute_end(driver: str) -> None:
    """However often it is used or rotated, a session is over at its absolute timeout."""
    site = await Site(driver, absolute_timeout=100, touch_interval=0).returning(n=1)
    end = site.clock.now + 100
    for handler in (
        len,
        lambda session: session.update(n=2),
        lambda session: session.regenerate(keep_data=True),
    ):
        site.clock.advance(30)
        await site.visit(handler)
        assert site.record.expires_at == end
    site.clock.advance(10)
    assert (await site.visit(len)).text == "0"


async def test_a_rotation_without_data_starts_the_absolute_timeout_anew(driver: str) -> None:
    """A session that takes over nothing is as old as its own first request."""
    site = await Site(driver, absolute_timeout=100).returning(n=1)
    site.clock.advance(60)

    def rotate(session: Session) -> None:
        session.regenerate()
        session["n"] = 2

    await site.visit(rotate)
    assert site.record.expires_at == site.clock.now + 100


@pytest.mark.parametrize(
    ("options", "interval"),
    [
        ({}, 60),
        ({"idle_timeout": 3600}, 60),
        ({"idle_timeout": 300}, 30),
        ({"touch_interval": 500}, 500),
        ({"touch_interval": timedelta(minutes=10)}, 600),
        ({"touch_interval": 0.5, "idle_timeout": 300}, 0.5),
    ],
)
async def test_an_unmodified_sessions_expiry_is_moved_now_and_then(
    driver: str, options: dict[str, Any], interval: float
) -> None:
    """A touch is due when the expiry would move by the interval, and not before."""
    site = await Site(driver, **options).returning(n=1)
    lifetime = site.record.expires_at - site.clock.now
    site.clock.advance(interval - 0.25)
    await site.visit(len)
    assert site.store.taken() == ["get"]
    site.clock.advance(0.25)
    response = await site.visit(len)
    assert site.store.taken() == ["get", "touch"]
    assert site.record.expires_at == site.clock.now + lifetime
    assert set_cookies(response) == []


async def test_a_touch_interval_of_zero_touches_each_time_that_the_clock_moved(
    driver: str,
) -> None:
    """Zero means each request, but an expiry that stays where it is costs nothing."""
    site = await Site(driver, touch_interval=0).returning(n=1)
    await site.visit(len)
    assert site.store.taken() == ["get"]
    site.clock.advance(0.001)
    await site.visit(len)
    assert site.store.taken() == ["get", "touch"]


async def test_a_shortened_lifetime_reaches_sessions_that_exist(driver: str) -> None:
    """Touch moves an expiry nearer, too, so a stricter configuration takes effect."""
    before = await Site(driver, idle_timeout=3600).returning(n=1)
    stricter = Site(driver, idle_timeout=300, store=before.store, clock=before.clock)
    stricter.client.cookies = before.client.cookies
    await stricter.visit(len)
    assert before.record.expires_at == before.clock.now + 300


async def test_a_write_moves_the_expiry_without_a_touch(driver: str) -> None:
    """One command stores the data and extends the session."""
    site = await Site(driver).returning(n=1)
    site.clock.advance(3600)
    await site.visit(lambda session: session.update(n=2))
    assert site.store.taken() == ["get", "set"]
    assert site.record.expires_at == site.clock.now + DAY


async def test_touch_forces_what_is_not_due(driver: str) -> None:
    """`session.touch()` extends the session now, however short ago it was extended."""
    site = await Site(driver).returning(n=1)
    site.clock.advance(1)
    await site.visit(lambda session: session.touch())
    assert site.store.taken() == ["get", "touch"]
    assert site.record.expires_at == site.clock.now + DAY


@pytest.mark.parametrize(
    ("handler", "calls"),
    [
        (lambda session: session.touch(False), ["get"]),
        (lambda session: session.touch(extend=False), ["get"]),
        (lambda session: (session.update(n=2), session.touch(False)), ["get", "set"]),
        (lambda session: (session.touch(), session.touch(False)), ["get"]),
    ],
)
async def test_touch_false_leaves_the_expiry(
    driver: str, handler: Handler, calls: list[str]
) -> None:
    """A request that says so does not keep the session alive, even if it writes."""
    site = await Site(driver).returning(n=1)
    end = site.record.expires_at
    site.clock.advance(3600)
    await site.visit(handler)
    assert site.store.taken() == calls
    assert site.record.expires_at == end


async def test_requests_that_do_not_extend_let_the_session_end(driver: str) -> None:
    """A page that polls all night does not keep its user logged in."""

    def is_no_poll(request: Mapping[str, Any]) -> bool:
        return request.get("path", request.get("PATH_INFO")) != "/poll"

    site = await Site(driver, idle_timeout=100, keeps_alive=is_no_poll).returning(n=1)
    site.clock.advance(50)
    await site.visit(len, "/poll")
    assert site.store.taken() == ["get"]
    await site.visit(len, "/page")
    assert site.store.taken() == ["get", "touch"]
    site.clock.advance(60)
    assert (await site.visit(len, "/poll")).text == "1"
    site.clock.advance(40)
    assert (await site.visit(len, "/poll")).text == "0"


async def test_touch_wins_over_keeps_alive(driver: str) -> None:
    """The word of a request's handler wins over the rule for all requests."""
    site = await Site(driver, keeps_alive=lambda request: False).returning(n=1)
    site.clock.advance(3600)
    await site.visit(len)
    assert site.store.taken() == ["get"]
    await site.visit(lambda session: session.touch())
    assert site.store.taken() == ["get", "touch"]


STEPS = {
    "untouched": nothing,
    "read": lambda session: session.get("a"),
    "written": lambda session: session.update(b=[1]),
    "cookie": lambda session: session.cookie.max_age,
    "remembered": lambda session: setattr(session.cookie, "max_age", 600),
    "regenerated": lambda session: session.regenerate(),
    "destroyed": lambda session: session.destroy(),
}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
async def test_a_request_leaves_nothing_to_the_garbage_collector(
    driver: str, step: Handler
) -> None:
    """A session refers to its request and the request to it, but not longer than it lasts."""
    site = await Site(driver).returning(a=1)
    kept = []

    def handle(session: Any) -> None:
        kept.append(weakref.ref(session))
        step(session)

    gc.disable()
    try:
        await site.visit(handle)
        assert kept[0]() is None
    finally:
        gc.enable()


def test_a_request_that_had_something_in_the_session_s_place_leaves_nothing_either() -> None:
    """The place is looked after for one request."""

    class Environ(dict[str, Any]):
        """Can be referred to weakly, which a dict cannot."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return []

    middleware = WSGISessions(app, secret=SECRET)
    environ = Environ({"PATH_INFO": "/", "wsgi.url_scheme": "http", "coatcheck.session": None})
    kept = weakref.ref(environ)
    gc.disable()
    try:
        middleware(environ, lambda *_: None)
        del environ
        assert kept() is None
    finally:
        gc.enable()


async def test_a_change_is_kept_where_the_owner_cannot_be_derived(driver: str) -> None:
    """An exception of `owner` reaches the application, and the next save stores the change."""
    broken: list[bool] = []

    def owner(data: Mapping[str, Any]) -> None:
        if broken:
            raise ValueError

    def act(session: Any) -> None:
        session["b"] = 2
        broken.append(True)
        with pytest.raises(ValueError, match=r"^$"):
            session.is_modified  # noqa: B018  # it encodes the session
        broken.clear()

    site = await Site(driver, owner=owner).returning(a=1)
    await site.visit(act)
    assert (await site.visit(lambda session: session["b"])).text == "2"


async def test_an_id_cannot_be_made_after_the_request(driver: str) -> None:
    """A task that asks for the id of a session that was never stored comes too late."""
    kept = []
    await Site(driver).visit(kept.append)
    with pytest.raises(LateWriteError, match="the request is over"):
        kept[0].id  # noqa: B018


async def test_messages_after_the_application_returned_pass() -> None:
    """A task that goes on sending is between the application and its server."""
    sent, kept = [], []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        kept.append(send)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "scheme": "http", "path": "/", "headers": []}
    await ASGISessions(app, secret=SECRET)(scope, None, send)
    messages = [
        {"type": "http.response.start", "status": 200, "headers": []},
        {"type": "http.response.body", "body": b""},
        {"type": "websocket.close"},
    ]
    for message in messages:
        await kept[0](message)
    assert sent == messages
