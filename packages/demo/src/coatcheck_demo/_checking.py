"""Visit the demo over HTTP, and tell whether sessions do what they promise.

Each check has its own visitors. Its docstring is its line in the output.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from threading import Barrier, Event
from typing import Final, TypeAlias

from coatcheck import Capabilities

from ._home import temporary_home
from ._serving import RunningDemo, running
from ._shop import HOOKS
from ._visiting import TIMEOUT, Browser, CheckFailed, SlowForm, expect


def check(store_url: str | None, *, framework: str = "asgi", https: bool = False) -> int:
    """Start the demo, visit it, print a line for each check, and return the exit status.

    If the store is durable, the server is restarted in the middle.

    :param store_url: the store to open; None: see :func:`~coatcheck_demo._home.temporary_home`.
    :param framework: ``"asgi"``, ``"flask"`` or ``"django"``.
    :param https: whether to serve over https.
    :raises ConfigurationError: the framework is not installed, the store does not accept the URL,
        or SESSION_SECRET is too short.
    :raises StoreError: the store does not answer.
    """
    with temporary_home(store_url) as home, _quiet():
        start = partial(running, home.store_url, home.secret, framework=framework, https=https)
        with start() as demo:
            print(f"The demo is at {demo.url} (store: {home.described})", flush=True)
            first, second = _halves(demo.capabilities)
            results = _results(demo, first)
            staying = _Staying(demo) if demo.capabilities.durable else None
            if staying is None:
                results += _results(demo, second)
        if staying is not None:
            with start() as demo:
                print(f"The server was stopped, and is back at {demo.url}", flush=True)
                results += _results(demo, [staying.restart, *second])
    failed = results.count(False)
    if failed:
        print(f"demo: {failed} of {len(results)} checks failed")
        return 1
    print(f"demo: {len(results)} checks passed")
    return 0


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep warnings out of the output: the checks are about what they warn of."""
    loggers = [logging.getLogger(name) for name in ("coatcheck", "django.request")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


NewBrowser: TypeAlias = Callable[[], Browser]
Check: TypeAlias = Callable[[NewBrowser], None]


def counter(browser: NewBrowser) -> None:
    """each visitor has a view counter"""
    ann, bob = browser(), browser()
    expect([ann.look().views for _ in range(3)] == [1, 2, 3], "the first did not count 1, 2, 3")
    expect([bob.look().views for _ in range(2)] == [1, 2], "the second did not count 1, 2")
    expect(ann.look().views == 4, "the first did not go on with 4")


def no_cookie_without_need(browser: NewBrowser) -> None:
    """a page that does not use the session sets no cookie"""
    response = browser().http.get("/about")
    expect(response.status_code == 200, f"status {response.status_code}")
    expect("set-cookie" not in response.headers, "there is a Set-Cookie")


def protected_cookie(browser: NewBrowser) -> None:
    """the cookie is HttpOnly and SameSite=Lax"""
    line = browser().http.get("/").headers["set-cookie"]
    expect("; HttpOnly" in line and "; SameSite=Lax" in line, "it lacks an attribute")


def rotation(browser: NewBrowser) -> None:
    """the login changes the session id and keeps the cart"""
    ann = browser()
    ann.send("/cart/add", item="hat")
    before = ann.cookie
    ann.log_in(_name())
    expect(ann.cookie is not None and ann.cookie != before, "the id is the same")
    expect(ann.cart() == {"hat": 1}, "the cart is lost")


def dead_id(browser: NewBrowser) -> None:
    """the session id from before the login is dead"""
    ann, thief = browser(), browser()
    ann.send("/cart/add", item="hat")
    before = ann.cookie
    ann.log_in(_name())
    thief.cookie = before
    expect(thief.look().is_blank, "the old cookie still shows the session")
    expect(thief.cookie not in (before, ann.cookie), "the old cookie's id was adopted")


def remember_me(browser: NewBrowser) -> None:
    """a login with "remember me" sends Max-Age, a plain one does not"""
    line = browser().log_in(_name(), remember="on").headers["set-cookie"]
    expect("; Max-Age=2592000" in line, "Max-Age=2592000 is missing")
    line = browser().log_in(_name()).headers["set-cookie"]
    expect("Max-Age" not in line, "a plain login has a Max-Age")


def nested_changes(browser: NewBrowser) -> None:
    """nested changes in the cart are kept"""
    ann = browser()
    for item in ("scarf", "hat", "gloves"):
        ann.send("/cart/add", item=item)
    ann.send("/cart/quantity", item="hat", quantity="7")
    ann.send("/cart/quantity", item="gloves", quantity="0")
    cart = ann.cart()
    expect(cart == {"scarf": 1, "hat": 7}, f"the cart is {cart}")


def separate_visitors(browser: NewBrowser) -> None:
    """a visitor never sees another's session"""
    ann, bob = browser(), browser()
    name = _name()
    ann.log_in(name)
    ann.send("/cart/add", item="umbrella")
    ann.send("/hooks", hook="3")
    page = bob.look()
    expect(page.is_blank and name not in page.html, "the second sees what the first did")
    bob.send("/cart/add", item="scarf")
    expect(ann.cart() == {"umbrella": 1}, "the first sees what the second did")


def parallel_requests(browser: NewBrowser) -> None:
    """20 parallel requests lose no change"""
    ann = browser()
    token = ann.look().token
    barrier = Barrier(HOOKS)

    def body(form: SlowForm) -> Iterator[bytes]:
        # The headers are sent when this runs. All requests have begun before one can end.
        barrier.wait(TIMEOUT)
        yield form.content

    def hang(hook: int) -> int:
        form = SlowForm(token=token, hook=str(hook))
        return ann.http.post("/hooks", content=body(form), headers=form.headers).status_code

    with ThreadPoolExecutor(HOOKS) as threads:
        statuses = set(threads.map(hang, range(HOOKS)))
    expect(statuses == {303}, f"statuses {sorted(statuses)}")
    used = ann.look().hooks
    expect(used == HOOKS, f"{used} of {HOOKS} changes are left")


def logout(browser: NewBrowser) -> None:
    """the logout expires the cookie, and a copy of it is dead"""
    ann, thief = browser(), browser()
    ann.log_in(_name())
    copy = ann.cookie
    line = ann.send("/logout").headers.get("set-cookie", "")
    expect("; Max-Age=0" in line or "1970" in line, "the cookie was not expired")
    expect(ann.cookie is None, "the browser still has the cookie")
    thief.cookie = copy
    expect(thief.look().is_blank, "the copy still shows the session")
    expect(thief.cookie != copy, "the copy's id was adopted")


def forged_cookie(browser: NewBrowser) -> None:
    """a forged cookie gets a new session"""
    ann, forger = browser(), browser()
    ann.log_in(_name())
    real = ann.cookie or ""
    other = "A" if real[-20] != "A" else "B"
    for forged in (real[:-20] + other + real[-19:], real[: len(real) // 2], "A" * len(real)):
        forger.cookie = forged
        expect(forger.look().is_blank, "it shows a session")
        expect(forger.cookie not in (forged, real), "its id was adopted")


def foreign_form(browser: NewBrowser) -> None:
    """a form without the session's token is refused"""
    ann, bob = browser(), browser()
    ann.look()
    for fields in ({}, {"token": ""}, {"token": bob.look().token}):
        response = ann.http.post("/cart/add", data={"item": "hat", **fields})
        expect(response.status_code == 403, f"status {response.status_code}")
    expect(ann.cart() == {}, "the cart was changed")


def escaped_input(browser: NewBrowser) -> None:
    """what a visitor types is escaped"""
    ann = browser()
    ann.send("/login", name='<b>Ann & "Bob\'s"</b>')
    expect(ann.look().user == "&lt;b&gt;Ann &amp; &#34;Bob&#39;s&#34;&lt;/b&gt;", "it is not")


def race(browser: NewBrowser) -> None:
    """two tabs that change different things keep both, and the last write loses one"""
    ann = browser()
    ann.send("/race")
    html = ann.look("/race").html
    expect("Both changes are there." in html, "a change was lost")
    expect("One change is lost." in html, "the store kept both where the last write wins")


def slow_writer(browser: NewBrowser) -> None:
    """a slow request that writes after the logout does not bring the session back"""
    ann, again = browser(), browser()
    name = _name()
    ann.log_in(name)
    token, copy = ann.look().token, ann.cookie
    began, ended = Event(), Event()

    def body(form: SlowForm) -> Iterator[bytes]:
        began.set()
        expect(ended.wait(TIMEOUT), "the logout did not end")
        yield form.content

    def add() -> None:
        form = SlowForm(token=token, item="hat")
        slow = browser()
        slow.cookie = copy
        slow.http.post("/cart/add", content=body(form), headers=form.headers)

    with ThreadPoolExecutor(1) as thread:
        adding = thread.submit(add)
        expect(began.wait(TIMEOUT), "the slow request did not begin")
        ann.send("/logout")
        ended.set()
        adding.result()
    again.cookie = copy
    expect(again.look().is_blank, "the session is back")
    again.send("/late-write")
    html = again.look("/late-write").html
    expect("The user stays logged out." in html, "the session of the experiment is back")
    expect("The session is back." in html, "it is not back where the last write wins")


def log_out_everywhere_else(browser: NewBrowser) -> None:
    """logging out everywhere else ends the user's other sessions, and no more"""
    ann, ann_elsewhere, bob = browser(), browser(), browser()
    name, other_name = _name(), _name()
    ann.log_in(name)
    ann_elsewhere.log_in(name)
    bob.log_in(other_name)
    ann.send("/devices/end-others")
    expect(ann_elsewhere.look().is_blank, "the other browser is still logged in")
    expect(ann.look().user == name, "this browser was logged out")
    expect(bob.look().user == other_name, "another user was logged out")


class _Staying:
    """Hold two visitors from before a restart: one is logged in, one has logged out again.

    :param demo: the demo before the restart.
    """

    def __init__(self, demo: RunningDemo) -> None:
        self._name = _name()
        self._failure: Exception | None = None
        with ExitStack() as browsers:
            try:
                self._visit(_browse(browsers, demo), _browse(browsers, demo))
            except Exception as error:  # the result of the check below
                self._failure = error

    def _visit(self, ann: Browser, bob: Browser) -> None:
        ann.log_in(self._name)
        ann.send("/cart/add", item="umbrella")
        self._cookie = ann.cookie
        bob.log_in(_name())
        self._dead_cookie = bob.cookie
        bob.send("/logout")

    def restart(self, browser: NewBrowser) -> None:
        """a restart of the server logs nobody out, and nobody in"""
        if self._failure is not None:
            raise self._failure
        ann, bob = browser(), browser()
        ann.cookie, bob.cookie = self._cookie, self._dead_cookie
        page = ann.look()
        expect(page.user == self._name, "the first visitor is logged out")
        expect(ann.cart() == {"umbrella": 1}, "the cart is lost")
        expect(bob.look().is_blank, "the second visitor is logged in again")


_CHECKS: Final[tuple[Check, ...]] = (
    counter,
    no_cookie_without_need,
    protected_cookie,
    rotation,
    dead_id,
    remember_me,
    nested_changes,
    separate_visitors,
    parallel_requests,
    logout,
    forged_cookie,
    foreign_form,
    escaped_input,
    race,
    slow_writer,
)


def _halves(capabilities: Capabilities) -> tuple[list[Check], list[Check]]:
    """Return the checks for a store: those before a restart, and those after it."""
    checks = [*_CHECKS, *([log_out_everywhere_else] if capabilities.owners else [])]
    middle = len(checks) // 2
    return checks[:middle], checks[middle:]


def _results(demo: RunningDemo, checks: Sequence[Check]) -> list[bool]:
    return [_passes(one, demo) for one in checks]


def _passes(one: Check, demo: RunningDemo) -> bool:
    with ExitStack() as browsers:
        try:
            one(partial(_browse, browsers, demo))
        except Exception as error:  # an exception of a check is its result
            reason = str(error) if isinstance(error, CheckFailed) else repr(error)
            print(f"FAILED  {one.__doc__}: {' '.join(reason.split())}", flush=True)
            return False
    print(f"ok  {one.__doc__}", flush=True)
    return True


def _browse(browsers: ExitStack, demo: RunningDemo) -> Browser:
    browser = Browser(demo)
    browsers.enter_context(browser.http)
    return browser


def _name() -> str:
    """Return a user name that nobody else has in a store that others use, too."""
    return f"visitor-{secrets.token_hex(6)}"
