"""Shortcuts of the request path say what the rules say that they leave out."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from webclient import SECRET, Clock

from coatcheck import CookieOptions, JSONCodec, MemoryStore, SessionOptions, Sessions, SyncSession
from coatcheck._request.policy import Policy
from coatcheck._request.request_context import RequestContext
from coatcheck._request.session_manager import SessionManager
from coatcheck._session.contents import Contents, Settings
from coatcheck._session.phase import HEADERS_SENT
from coatcheck._session.session_core import SyncSessionCore
from coatcheck._stores.runners import SyncRunner
from coatcheck.codec import SessionState
from coatcheck.events import Emitter
from coatcheck.integration import WSGIAdapter

NOW = 1_700_000_000
#: Whole seconds, which no arithmetic rounds.
IDLE, MAX_AGE, OWN_MAX_AGE, ABSOLUTE = 30, 1000, 200, 500
OWN_SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"path": "/a"},
    {"max_age": None},
    {"max_age": OWN_MAX_AGE},
    {"expires": NOW + OWN_MAX_AGE},
    {"max_age": None, "expires": None},
)
CREATED = (NOW, NOW - ABSOLUTE + 40)
#: Around each end and each half of a lifetime, and as far from an end as a touch moves it.
STORED = sorted(
    {
        NOW + int(end * part) + more
        for end in (IDLE, MAX_AGE, OWN_MAX_AGE, ABSOLUTE, 40, 86400)
        for part in (0.5, 1)
        for more in (-100, -60, -59, -21, -20, -19, -4, -3, -2, -1, 0, 1, 2, 3, 4, 59, 60, 61)
    }
)


def policies() -> list[Policy]:
    """Return policies of all options that say how long a session lives."""
    cookies = (
        CookieOptions(),
        CookieOptions(max_age=MAX_AGE),
        CookieOptions(expires=NOW + MAX_AGE),
    )
    made = []
    for cookie, idle, absolute, interval in product(
        cookies, (None, IDLE), (None, ABSOLUTE), (None, 0, 20)
    ):
        options = SessionOptions(
            secret=SECRET,
            clock=lambda: float(NOW),
            idle_timeout=idle,
            absolute_timeout=absolute,
            touch_interval=interval,
            cookie=cookie,
        )
        made.append(Policy(options, cookie, Emitter((), options.clock)))
    return made


CASES = list(product(policies(), OWN_SETTINGS, CREATED))


def test_the_expiry_of_a_state_is_that_of_its_settings() -> None:
    """`Policy.expiry` leaves out `expires_at` for sessions without settings of their own."""
    for policy, own, created_at in CASES:
        state = SessionState({}, created_at=created_at, cookie=own)
        assert policy.expiry(state) == policy.expires_at(own, created_at)


def test_an_expiry_that_was_touched_lately_is_not_due() -> None:
    """`Policy.was_touched_lately` leaves out `touch_is_due`, and may only do so if it says no."""
    for policy, own, created_at in CASES:
        expires_at = policy.expires_at(own, created_at)
        lately = [stored for stored in STORED if policy.was_touched_lately(own, stored)]
        assert not any(policy.touch_is_due(expires_at, stored, None) for stored in lately)


def test_little_is_left_of_less_than_half() -> None:
    """`Policy.little_is_left` leaves out `expires_at` where half of the lifetime is left."""
    for policy, own, created_at in CASES:
        half = (policy.expires_at(own, created_at) - NOW) / 2
        little = [policy.little_is_left(own, created_at, stored) for stored in STORED]
        assert little == [stored - NOW < half for stored in STORED]


def owner_of(data: Any) -> str | None:
    """Return the owner by the rule that the tests use."""
    user: str | None = data.get("user")
    return user


VALUES = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers())


@given(
    data=st.dictionaries(st.text(), VALUES),
    user=st.none() | st.text(),
    owner=st.none() | st.text(),
    created_at=st.none() | st.floats(0, 1e11),
    own=st.sampled_from(OWN_SETTINGS),
    derives=st.booleans(),
)
def test_the_state_of_contents_is_made_of_their_parts(
    data: dict[str, Any],
    user: str | None,
    owner: str | None,
    created_at: float | None,
    own: dict[str, Any],
    derives: bool,
) -> None:
    """`Contents.state` leaves out calls of `plain`, `began_at` and `current_owner`."""
    data = {**data, "user": user}
    derive = owner_of if derives else None
    known = Settings(lambda: NOW, JSONCodec(), derive, CookieOptions(), "sid", lambda _: b"")
    contents = Contents({}, known, SessionState(data, 0, own, owner, {"x": 1}))
    contents.created_at = created_at
    state = contents.state()
    assert contents.created_at == (NOW if created_at is None else created_at)
    assert state == SessionState(
        contents.plain(), contents.began_at(), own, contents.current_owner(), contents.extra
    )
    assert state.data is not contents.data


@pytest.mark.parametrize("rule", [None, True, False])
@pytest.mark.parametrize("asked", [None, True, False])
def test_a_write_moves_the_expiry_by_the_rule(rule: bool | None, asked: bool | None) -> None:
    """`RequestContext.expiry_of_write` leaves out `KeepAlive.of_write`.

    :param rule: what the option `keeps_alive` says.
    :param asked: what the application says with `touch()`.
    """
    # At 700 of 1000 seconds, loading the session has moved its expiry.
    for max_age, waited, sent, changed in product(
        (None, 1000), (0, 400, 700), (False, True), (False, True)
    ):
        clock = Clock()
        options = SessionOptions(
            secret=SECRET,
            clock=clock,
            idle_timeout=1000,
            cookie=CookieOptions(max_age=max_age),
            keeps_alive=None if rule is None else lambda _: rule,
        )
        store = MemoryStore(clock=clock)
        made = Sessions(store, options).create({"user": "ann"})
        clock.advance(waited)
        context = opened(store, options, f"{made.cookie_name}={made.cookie_value}")
        session = context.session
        session.keeps_alive = asked
        if sent:
            session.advance(HEADERS_SENT)
        loaded = session.identity.snapshot
        assert loaded is not None
        decided = context.expiry_of_write(loaded, changed)
        assert decided == context.keep_alive.of_write(loaded, changed)


def opened(store: MemoryStore, options: SessionOptions, cookie: str) -> RequestContext:
    """Return the context of a request that has loaded its session."""
    environ: dict[str, Any] = {"HTTP_COOKIE": cookie}
    context = RequestContext(SessionManager(options, WSGIAdapter(), eager=True), environ, "place")
    core = context.session = SyncSessionCore(context, SyncRunner(store).run)
    environ["place"] = SyncSession(core)
    assert context.begin()
    core.run(context.load())
    return context
