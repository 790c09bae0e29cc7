"""Sessions from outside a request: they are revoked for good, and arguments are checked."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from jinja2 import Environment
from webclient import SECRET, Clock, SyncClient, sessions_in, set_cookies, wsgi_app

from coatcheck import Capabilities, MemoryStore, Record, SessionOptions, Sessions
from coatcheck.errors import ConfigurationError


class MovingIndex(MemoryStore):
    """A store whose owner index is read before the records, as that of most servers is.

    :ivar lag: whether the index shows only what was written before the last look had ended.
    :ivar meanwhile: what happens between the two, at each look.
    """

    def __init__(self, *, lag: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.capabilities = Capabilities(
            blocking=False, enumerable=True, owners=True, owner_lag=0.001 if lag else 0.0
        )
        self.meanwhile: Iterator[Callable[[], object]] = iter(())
        self._lags = lag
        self._shown: list[str] = []

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        now = [key for key, _ in super().owned_by(owner)]
        keys = self._shown if self._lags else now
        next(self.meanwhile, lambda: None)()
        self._shown = [key for key, _ in super().owned_by(owner)]
        for key in keys:
            record = self.get(key)
            if record is not None:
                yield key, record


def visit(session: Any, environ: dict[str, Any]) -> str:
    """Do what the path says."""
    match environ["PATH_INFO"]:
        case "/login":
            session["user"] = "ann"
        case "/rotate":
            session.regenerate(keep_data=True)
        case "/logout":
            session.destroy()
    return str(session.get("user"))


class Site:
    """A site with one visitor, and its sessions as an operator sees them."""

    def __init__(self, *, lag: bool = False, **options: Any) -> None:
        self.clock = Clock()
        self.store = MovingIndex(lag=lag, clock=self.clock)
        self.options = SessionOptions(
            secret=SECRET, store=self.store, clock=self.clock, owner="user", **options
        )
        self.browser = SyncClient(wsgi_app(visit, options=self.options))
        self.browser.get("/login")
        self.sessions = Sessions(self.store, self.options)

    def rotate(self) -> None:
        self.browser.get("/rotate")


@pytest.mark.parametrize("age", [0.0, 1000.0])
@pytest.mark.parametrize("looks", ["r", "rr", ".r", "..r", ".rr", "rrr", "r.r.r.r", ".rrrrrr"])
@pytest.mark.parametrize("lag", [False, True])
def test_a_session_that_keeps_rotating_does_not_survive_revoke_all(
    lag: bool, looks: str, age: float
) -> None:
    """Rotations between the index and the records, in whatever looks (`r`), hide nothing."""
    site = Site(lag=lag)
    site.clock.advance(age)
    site.store.meanwhile = iter([site.rotate if look == "r" else int for look in looks])
    assert site.sessions.revoke_all("ann") == 1
    assert site.sessions.list("ann") == []
    assert site.browser.get("/").text == "None"


def test_revoke_all_follows_a_session_that_was_rotated_several_times() -> None:
    """A session that has moved on by several ids since the index was read is found."""
    site = Site()
    site.clock.advance(1000)

    def rotate_thrice() -> None:
        for _ in range(3):
            site.rotate()

    site.store.meanwhile = iter([rotate_thrice, rotate_thrice])
    assert site.sessions.revoke_all("ann") == 1
    assert sessions_in(site.store) == {}


def test_revoking_a_long_succession_takes_a_few_calls_a_rotation() -> None:
    """Each of its records leads to the same session, and is followed once in a look."""
    site = Site()
    for _ in range(50):
        site.rotate()
    destroyed: list[str] = []
    destroy = site.store.destroy
    site.store.destroy = lambda key, *more: destroyed.append(key) or destroy(key, *more)
    assert site.sessions.revoke_all("ann") == 1
    assert site.sessions.list("ann") == []
    assert len(destroyed) <= 3 * 51


def test_the_session_to_keep_is_kept_after_a_rotation() -> None:
    """A session that is spared lives on, although the record of its rotation names it."""
    site = Site()
    other = site.browser.stranger()
    other.get("/login")
    kept: list[int] = []

    def revoke(session: Any, environ: dict[str, Any]) -> str:
        kept.append(site.sessions.revoke_all("ann", keep=session))
        return str(session["user"])

    site.rotate()
    again = SyncClient(wsgi_app(revoke, options=site.options), cookies=site.browser.cookies)
    again.get("/")
    assert kept == [1]
    assert [site.browser.get("/").text, other.get("/").text] == ["ann", "None"]


@pytest.mark.parametrize("hash_ids", [True, False])
def test_revoking_a_session_that_was_rotated_ends_its_successor(hash_ids: bool) -> None:
    """The reference that an operator was shown ends the session under its new id."""
    site = Site(hash_ids=hash_ids)
    [entry] = site.sessions.list("ann")
    site.rotate()
    site.rotate()
    assert site.sessions.revoke(entry.ref) is True
    assert site.sessions.revoke(entry.ref) is False
    assert sessions_in(site.store) == {}


def test_each_session_whose_cookie_was_presented_is_ended() -> None:
    """`destroy()` ends them all: those of a cookie with another domain, and a planted one."""
    site = Site()
    thief = site.browser.stranger()
    thief.get("/login")
    unknown = site.browser.stranger()
    unknown.get("/login")
    unknown.get("/logout")
    cookies = "; ".join(f"sid={browser.cookie}" for browser in (thief, site.browser))
    answer = site.browser.present(cookies, "/logout")
    assert "Max-Age=0" in set_cookies(answer)[0]
    assert sessions_in(site.store) == {}


# What is asked for

#: What a JSON body or a query string can hold in the place of a reference.
NO_REFS = ["", "x", "f" * 63, "F" * 64, "g" * 64, "a" * 3000, "\ud800" * 64, "f" * 64 + "\n"]
NO_STRINGS = [None, 0, True, b"f" * 64, {"$ne": None}, {"$regex": "^"}, ["f" * 64], ("f" * 64,)]


class Untouched(MemoryStore):
    """A store that nobody may ask anything."""

    def get(self, key: str) -> Record | None:
        raise AssertionError(key)

    def destroy(self, key: str, only_if: Any = None) -> bool:
        raise AssertionError(key)

    def all(self) -> Any:
        raise AssertionError

    def owned_by(self, owner: str) -> Any:
        raise AssertionError(owner)


@pytest.mark.parametrize("hash_ids", [True, False])
def test_what_is_no_reference_does_not_reach_the_store(hash_ids: bool) -> None:
    """A string that no session can have as reference is unknown; anything else is a TypeError."""
    sessions = Sessions(Untouched(), SessionOptions(secret=SECRET, hash_ids=hash_ids))
    for ref in NO_REFS:
        assert sessions.get(ref) is None
        assert sessions.revoke(ref) is False
    for junk in NO_STRINGS:
        for ask in (sessions.get, sessions.revoke):
            with pytest.raises(TypeError, match="`ref` must be a string"):
                ask(junk)  # type: ignore[arg-type]


@pytest.mark.parametrize("owner", ["\ud800", {"$ne": None}, ["ann"], b"ann", None, "", 1.5])
def test_what_is_no_owner_does_not_reach_the_store(owner: Any) -> None:
    """Neither a query nor text that no database can store is looked for."""
    sessions = Sessions(Untouched(), SessionOptions(secret=SECRET))
    for ask in (sessions.list, sessions.revoke_all):
        with pytest.raises(TypeError, match="`owner` must be a non-empty string or an integer"):
            ask(owner)


@pytest.mark.parametrize("owner", ["\ud800", "a\udfff"])
def test_an_owner_is_text_that_can_be_stored(owner: str) -> None:
    """A lone surrogate is refused where it is assigned, and where the data give it."""

    def assign(session: Any, environ: dict[str, Any]) -> None:
        session.owner = owner

    with pytest.raises(TypeError, match="surrogate"):
        SyncClient(wsgi_app(assign)).get("/")
    derived = wsgi_app(lambda session, environ: session.update(user=owner), owner="user")
    with pytest.raises(ConfigurationError, match="surrogate"):
        SyncClient(derived).get("/")


def test_what_leads_from_one_session_to_the_next_is_no_session() -> None:
    """A rotated session is listed once, and the record of the rotation cannot be looked up."""
    for hash_ids in (True, False):
        site = Site(hash_ids=hash_ids)
        site.rotate()
        [entry] = site.sessions.list("ann")
        [other] = set(dict(site.store.all())) - set(sessions_in(site.store))
        assert site.sessions.get(entry.ref) is not None
        assert site.sessions.get(other) is None


@pytest.mark.parametrize("hash_ids", [True, False])
def test_the_key_of_a_request_s_session_is_not_shown(hash_ids: bool) -> None:
    """It may be the session's id. The ref opens nothing and is an ordinary string."""
    store = MemoryStore()
    options = SessionOptions(secret=SECRET, store=store, hash_ids=hash_ids)

    def handle(session: Any, environ: Any) -> str:
        key = session.stored_key
        if key is None:
            session["n"] = 1
            return ""
        assert store.get(key) is not None
        template = Environment(autoescape=True).from_string("{{ session.stored_key }}")
        shown = f"{key!r} {[key]} {template.render(session=session)}"
        assert str(key) not in shown
        ref = Sessions(store, options).ref_of(session)
        assert type(ref) is str
        assert Sessions(store, options).get(ref) is not None
        return shown

    client = SyncClient(wsgi_app(handle, store=store, hash_ids=hash_ids))
    client.get("/")
    assert client.get("/").text.startswith("<session id>")


def test_the_data_of_an_entry_are_a_plain_dict() -> None:
    """Frameworks encode what `Sessions` returns, and what is done to the copy stays there."""
    site = Site()
    (entry,) = site.sessions.list("ann")
    assert json.dumps(dataclasses.asdict(entry)["data"]) == '{"user": "ann"}'
    entry.data["user"] = "eve"
    assert site.sessions.list("ann")[0].data == {"user": "ann"}


@pytest.mark.parametrize("wrong", [{"user": "ann"}, "ann", 42])
def test_only_a_session_can_be_kept(wrong: Any) -> None:
    """Another framework's session would be ended with the rest."""
    site = Site()
    with pytest.raises(TypeError, match=r"`keep` must be a session .* `session_of\(request\)`"):
        site.sessions.revoke_all("ann", keep=wrong)
    assert len(site.sessions.list("ann")) == 1


@pytest.mark.parametrize("hash_ids", [True, False])
def test_a_session_can_be_kept_by_its_ref(hash_ids: bool) -> None:
    """Integrations know the sessions of other frameworks by their refs."""
    site = Site(hash_ids=hash_ids)
    other = site.browser.stranger()
    other.get("/login")
    kept, ended = site.sessions.list("ann")
    assert site.sessions.revoke_all("ann", keep=kept.ref) == 1
    assert [entry.ref for entry in site.sessions.list("ann")] == [kept.ref] != [ended.ref]


@pytest.mark.anyio
async def test_sessions_of_all_visitors_are_listed() -> None:
    """Those without an owner are among them; records of rotations and expired ones are not."""
    site = Site()
    site.rotate()
    site.clock.advance(1)
    strange = site.sessions.create({"cart": 1})
    listed = site.sessions.list_all()
    assert [entry.owner for entry in listed] == ["ann", None]
    assert listed[1].ref == strange.ref
    assert await site.sessions.alist_all() == listed
    assert len(site.sessions.list_all(1)) == 1
    assert site.sessions.list_all(0) == []
    site.clock.advance(86401)
    assert site.sessions.list_all() == []
