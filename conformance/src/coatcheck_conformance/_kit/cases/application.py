"""Check whole applications: logins, logouts and parallel requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, Final, TypeVar

from coatcheck import Sessions

from ..case import case
from ..context import Context
from ..serving import Browser, options_of, serving

T = TypeVar("T")

#: Clauses that every server needs.
_SERVED: Final = ("LOOP-1", "LOOP-2", "LOOP-3", "GET-2", "GET-5")
_WRITES: Final = 50
#: Tabs that count in one session at the same time, and how often each tab counts.
_COUNTERS: Final = 8
_COUNTS: Final = 4
#: How often a request is repeated if its session could not be saved.
_TRIES: Final = 10
#: The most often that the id of a session changes.
_ROTATIONS: Final = 50
#: Seconds between two steps of the moving clock.
_TICK: Final = 0.02


def _get(context: Context, browser: Browser, path: str, who: str, **query: str) -> dict[str, Any]:
    """Request a path, and return what the session holds."""
    status, shown = browser.get(path, **query)
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    context.steps.note(f"{who} requests {path}?{asked} -> {status} {shown}")
    context.expect(status, 200, f"the status of {path}")
    return shown


def _login(context: Context, make_browser: Callable[[], Browser], user: str) -> Browser:
    browser = make_browser()
    context.expect(_get(context, browser, "/login", user, user=user), {"user": user})
    context.expect_that(bool(browser.cookie), "a cookie", "none")
    return browser


def _expect_shown(context: Context, browser: Browser, who: str, contents: dict[str, Any]) -> None:
    context.expect(_get(context, browser, "/show", who), contents)


@case("SET-3", depends_on=_SERVED, prerequisite=False)
def login(context: Context) -> None:
    """A user who logs in is logged in at the next request, and no other user is."""
    with serving(context) as make_browser:
        ann, bob = (_login(context, make_browser, user) for user in ("ann", "bob"))
        _expect_shown(context, ann, "ann", {"user": "ann"})
        _expect_shown(context, bob, "bob", {"user": "bob"})
        _expect_shown(context, make_browser(), "a stranger", {})


@case("DESTROY-1", depends_on=(*_SERVED, "SET-3"), prerequisite=False)
def logout(context: Context) -> None:
    """After a logout the old cookie opens no session."""
    with serving(context) as make_browser:
        ann, bob = (_login(context, make_browser, user) for user in ("ann", "bob"))
        thief = ann.copy()
        _get(context, ann, "/logout", "ann")
        _expect_shown(context, thief, "a browser with ann's old cookie", {})
        _expect_shown(context, bob, "bob", {"user": "bob"})


@case(
    "DESTROY-6",
    depends_on=(
        *_SERVED,
        "SET-3",
        "DATA-2",
    ),
    prerequisite=False,
)
def rotation(context: Context) -> None:
    """When a session gets a new id it keeps its data, and the old cookie opens no session."""
    with serving(context) as make_browser:
        ann = _login(context, make_browser, "ann")
        thief = ann.copy()
        _get(context, ann, "/rotate", "ann")
        _expect_shown(context, ann, "ann", {"user": "ann"})
        _expect_shown(context, thief, "a browser with ann's old cookie", {})


@case("RACE-2", depends_on=(*_SERVED, "SET-3", "SET-7", "SET-8", "SET-10"), prerequisite=False)
def fifty_parallel_requests(context: Context) -> None:
    """Fifty requests to two servers each write a value, and no value is lost."""
    with serving(context) as make_browser, serving(context) as make_other:
        ann = _login(context, make_browser, "ann")
        servers = (ann, make_other())
        values = {f"value{number}": str(number) for number in range(_WRITES)}
        context.steps.note(f"{_WRITES} requests at once, to two servers, write a value each")
        tabs = [ann.copy(servers[number % 2]) for number in range(_WRITES)]
        _at_once([_write(tab, *item) for tab, item in zip(tabs, values.items(), strict=True)])
        shown = _get(context, ann, "/show", "ann")
        lost = sorted(values.keys() - shown.keys())
        context.expect_that(not lost, f"all {_WRITES} values", f"without {', '.join(lost)}")


@case("RACE-2", depends_on=(*_SERVED, "SET-3", "SET-7", "SET-8", "SET-10"), prerequisite=False)
def counting_requests(context: Context) -> None:
    """Parallel requests to two servers count in one session, and no count is lost."""
    with serving(context) as make_browser, serving(context) as make_other:
        ann = _login(context, make_browser, "ann")
        servers = (ann, make_other())
        tabs = [ann.copy(servers[number % 2]) for number in range(_COUNTERS)]
        context.steps.note(f"{_COUNTERS} tabs of two servers count {_COUNTS} times each")
        counted = sum(map(sum, _at_once([_counts(tab) for tab in tabs])))
        context.expect(_get(context, ann, "/show", "ann").get("count"), counted)


def _counts(browser: Browser) -> Callable[[], list[bool]]:
    return lambda: [browser.get("/count")[0] == 200 for _ in range(_COUNTS)]


def _write(browser: Browser, name: str, value: str) -> Callable[[], object]:
    def write() -> object:
        # A user tries again if the server says that it could not save.
        return any(browser.get("/put", **{name: value})[0] == 200 for _ in range(_TRIES))

    return write


def _at_once(requests: Sequence[Callable[[], T]]) -> list[T]:
    with ThreadPoolExecutor(len(requests)) as pool:
        return [made.result() for made in [pool.submit(request) for request in requests]]


@case("RACE-4", depends_on=(*_SERVED, "SET-3", "SET-7", "SET-9", "DESTROY-1"), prerequisite=False)
def logout_amid_requests(context: Context) -> None:
    """A logout ends the session while other requests write to it."""
    with serving(context) as make_browser:
        for number in range(3):
            ann = _login(context, make_browser, "ann")
            tabs = [ann.copy() for _ in range(6)]
            writes = [_write_once(tab, str(n)) for n, tab in enumerate(tabs)]
            context.steps.note("six requests that write, and among them a logout")
            _at_once([*writes[:3], lambda: ann.copy().get("/logout"), *writes[3:]])  # noqa: B023  # called at once
            _expect_shown(context, ann, f"a browser with ann's old cookie, try {number}", {})


@case(
    "RACE-4",
    depends_on=(*_SERVED, "SET-3", "SET-7", "SET-9", "DESTROY-1", "DESTROY-6"),
    prerequisite=False,
)
def logout_amid_rotations(context: Context) -> None:
    """A logout with an old cookie ends a session whose id changes again and again."""
    with serving(context) as make_browser:
        for number in range(3):
            ann = _login(context, make_browser, "ann")
            tab = ann.copy()
            context.steps.note("a tab asks for one new id after the other, and another logs out")
            _at_once([_rotate(ann), lambda: tab.get("/logout")])  # noqa: B023  # called at once
            _expect_shown(context, ann, f"a browser with the latest cookie, try {number}", {})


def _rotate(browser: Browser) -> Callable[[], object]:
    """Return a function that changes the id of a session until the session has ended."""

    def rotate() -> object:
        return any(not browser.get("/rotate")[1] for _ in range(_ROTATIONS))

    return rotate


def _write_once(browser: Browser, value: str) -> Callable[[], object]:
    return lambda: browser.get("/put", value=value)


@case(
    "OWNER-1",
    depends_on=(
        *_SERVED,
        "SET-3",
        "DESTROY-1",
        "CAP-4",
    ),
    prerequisite=False,
)
def logout_everywhere(context: Context) -> None:
    """Ending all sessions of a user ends each of them, and no other session."""
    with serving(context) as make_browser:
        browsers = [_login(context, make_browser, "ann") for _ in range(3)]
        bob = _login(context, make_browser, "bob")
        if context.capabilities.owner_lag:
            # The core waits by the system's clock, which does not move the store's.
            context.advance(context.capabilities.owner_lag)
        context.expect(_revoke_all(context, "ann"), 3, "revoked")
        for browser in browsers:
            _expect_shown(context, browser, "a browser with one of ann's cookies", {})
        _expect_shown(context, bob, "bob", {"user": "bob"})


@case(
    "OWNER-1",
    depends_on=(*_SERVED, "SET-3", "DESTROY-1", "DESTROY-6", "CAP-4"),
    prerequisite=False,
)
def logout_everywhere_amid_rotations(context: Context) -> None:
    """Ending all sessions of a user also ends one whose id changes again and again."""
    with serving(context) as make_browser:
        thief = _login(context, make_browser, "ann")
        if context.capabilities.owner_lag:
            # The core waits by the system's clock, which does not move the store's.
            context.advance(context.capabilities.owner_lag)
        context.steps.note("a thief asks for one new id after the other")
        _at_once([_rotate(thief), lambda: _revoke_as_time_passes(context, "ann")])
        _expect_shown(context, thief, "a browser with the latest cookie", {})


def _revoke_as_time_passes(context: Context, owner: str) -> int:
    """Revoke while the stores' clock moves on: some indexes show a write only then."""
    with ThreadPoolExecutor(1) as pool:
        revoking = pool.submit(_revoke_all, context, owner)
        while not wait([revoking], timeout=_TICK).done:
            context.clock.advance(2 * _TICK)
        return revoking.result()


def _revoke_all(context: Context, owner: str) -> int:
    sessions = Sessions(context.store.native, options_of(context))
    context.steps.note(f"all sessions of {owner} are revoked")
    if context.api == "async":
        return context.loop.run(sessions.arevoke_all(owner))
    return sessions.revoke_all(owner)
