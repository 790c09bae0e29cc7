"""Visit the demo over HTTP, and tell whether sessions do what they promise.

Each check has its own visitors. Its docstring is its line in the output.
"""

from __future__ import annotations

import re
import secrets
import ssl
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from threading import Barrier
from typing import Final, TypeAlias
from urllib.parse import urlencode

import httpx

from ...store import Capabilities
from .home import temporary_home
from .pages import HOOKS
from .serving import HOST, RunningDemo, running

_COOKIE: Final = "sid"
#: Seconds. Revoking waits for the owner index of stores that are eventually consistent.
_TIMEOUT: Final = 60.0


class CheckFailed(Exception):
    """A promise was not kept; the message says which."""


def check(store_url: str | None) -> int:
    """Start the demo, visit it, print a line for each check, and return the exit status.

    If the store is durable, the server is restarted in the middle.

    :param store_url: the store to open; None: see
        :func:`~coatcheck._command_line.demo.home.temporary_home`.
    :raises ConfigurationError: the store does not accept the URL, or SESSION_SECRET is too short.
    :raises StoreError: the store does not answer.
    """
    with temporary_home(store_url) as home:
        with running(home.store_url, home.secret) as demo:
            print(f"The demo is at {demo.url} (store: {home.described})", flush=True)
            first, second = _halves(demo.capabilities)
            results = _results(demo, first)
            staying = _Staying(demo.url) if demo.capabilities.durable else None
            if staying is None:
                results += _results(demo, second)
        if staying is not None:
            with running(home.store_url, home.secret) as demo:
                print(f"The server was stopped, and is back at {demo.url}", flush=True)
                results += _results(demo, [staying.restart, *second])
    failed = results.count(False)
    if failed:
        print(f"demo: {failed} of {len(results)} checks failed")
        return 1
    print(f"demo: {len(results)} checks passed")
    return 0


class Browser:
    """Visit the demo, with cookies of one's own.

    :param url: the URL of the demo.
    """

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(
            base_url=url,
            timeout=_TIMEOUT,
            trust_env=False,
            # There is no TLS here: an empty context spares reading the certificates.
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        )

    @property
    def cookie(self) -> str | None:
        """The session cookie's value."""
        return self.http.cookies.get(_COOKIE)

    @cookie.setter
    def cookie(self, value: str | None) -> None:
        self.http.cookies.set(_COOKIE, value or "", domain=HOST, path="/")

    def look(self, path: str = "/") -> Page:
        """Open a page."""
        response = self.http.get(path)
        _expect(response.status_code == 200, f"GET {path}: status {response.status_code}")
        return Page(response.text)

    def send(self, path: str, **fields: str) -> httpx.Response:
        """Fill a form of the home page and send it."""
        response = self.http.post(path, data={"token": self.look().token, **fields})
        _expect(response.status_code == 303, f"POST {path}: status {response.status_code}")
        return response

    def log_in(self, name: str, **fields: str) -> httpx.Response:
        """Log in, and look whether it worked."""
        response = self.send("/login", name=name, **fields)
        _expect(self.look().user == name, "the login did not last")
        return response


class Page:
    """Read the demo's home page."""

    def __init__(self, html: str) -> None:
        self.html = html

    @property
    def token(self) -> str:
        """The token of its forms."""
        return self._first(r'name="token" value="([^"]+)"')

    @property
    def views(self) -> int:
        """How often the visitor has seen it."""
        return int(self._first(r'id="views">(\d+)<'))

    @property
    def user(self) -> str:
        """The name of the user who is logged in, as HTML."""
        return self._first(r'id="user">([^<]*)<')

    @property
    def cart(self) -> dict[str, int]:
        """The quantity of each item."""
        lines = re.findall(r'data-item="(\w+)" data-quantity="(\d+)"', self.html)
        return {item: int(quantity) for item, quantity in lines}

    @property
    def coats(self) -> int:
        """How many hooks are in use."""
        return self.html.count('aria-pressed="true"')

    @property
    def is_blank(self) -> bool:
        """Whether it is the page that a new visitor sees."""
        return (self.views, self.user, self.cart, self.coats) == (1, "stranger", {}, 0)

    def _first(self, pattern: str) -> str:
        found = re.search(pattern, self.html)
        if found is None:
            raise CheckFailed(f"the page lacks {pattern}")
        return str(found[1])


NewBrowser: TypeAlias = Callable[[], Browser]
Check: TypeAlias = Callable[[NewBrowser], None]


def counter(browser: NewBrowser) -> None:
    """each visitor has a view counter"""
    ann, bob = browser(), browser()
    _expect([ann.look().views for _ in range(3)] == [1, 2, 3], "the first did not count 1, 2, 3")
    _expect([bob.look().views for _ in range(2)] == [1, 2], "the second did not count 1, 2")
    _expect(ann.look().views == 4, "the first did not go on with 4")


def no_cookie_without_need(browser: NewBrowser) -> None:
    """a page that does not use the session sets no cookie"""
    response = browser().http.get("/about")
    _expect(response.status_code == 200, f"status {response.status_code}")
    _expect("set-cookie" not in response.headers, "there is a Set-Cookie")


def protected_cookie(browser: NewBrowser) -> None:
    """the cookie is HttpOnly and SameSite=Lax"""
    line = browser().http.get("/").headers["set-cookie"]
    _expect("; HttpOnly" in line and "; SameSite=Lax" in line, "it lacks an attribute")


def rotation(browser: NewBrowser) -> None:
    """the login changes the session id and keeps the cart"""
    ann = browser()
    ann.send("/cart/add", item="hat")
    before = ann.cookie
    ann.log_in(_name())
    _expect(ann.cookie is not None and ann.cookie != before, "the id is the same")
    _expect(ann.look().cart == {"hat": 1}, "the cart is lost")


def dead_id(browser: NewBrowser) -> None:
    """the session id from before the login is dead"""
    ann, thief = browser(), browser()
    ann.send("/cart/add", item="hat")
    before = ann.cookie
    ann.log_in(_name())
    thief.cookie = before
    _expect(thief.look().is_blank, "the old cookie still shows the session")
    _expect(thief.cookie not in (before, ann.cookie), "the old cookie's id was adopted")


def remember_me(browser: NewBrowser) -> None:
    """a login with "remember me" sends Max-Age, a plain one does not"""
    line = browser().log_in(_name(), remember="on").headers["set-cookie"]
    _expect("; Max-Age=2592000" in line, "Max-Age=2592000 is missing")
    line = browser().log_in(_name()).headers["set-cookie"]
    _expect("Max-Age" not in line, "a plain login has a Max-Age")


def nested_changes(browser: NewBrowser) -> None:
    """nested changes in the cart are kept"""
    ann = browser()
    for item in ("scarf", "hat", "gloves"):
        ann.send("/cart/add", item=item)
    ann.send("/cart/quantity", item="hat", quantity="7")
    ann.send("/cart/quantity", item="gloves", quantity="0")
    cart = ann.look().cart
    _expect(cart == {"scarf": 1, "hat": 7}, f"the cart is {cart}")


def separate_visitors(browser: NewBrowser) -> None:
    """a visitor never sees another's session"""
    ann, bob = browser(), browser()
    name = _name()
    ann.log_in(name)
    ann.send("/cart/add", item="umbrella")
    ann.send("/hooks", hook="3")
    page = bob.look()
    _expect(page.is_blank and name not in page.html, "the second sees what the first did")
    bob.send("/cart/add", item="scarf")
    _expect(ann.look().cart == {"umbrella": 1}, "the first sees what the second did")


def parallel_requests(browser: NewBrowser) -> None:
    """20 parallel requests lose no change"""
    ann = browser()
    token = ann.look().token
    barrier = Barrier(HOOKS)

    def body(hook: int) -> Iterator[bytes]:
        # The headers are sent when this runs. All requests have begun before one can end.
        barrier.wait(_TIMEOUT)
        yield urlencode({"token": token, "hook": hook}).encode()

    def hang(hook: int) -> int:
        return ann.http.post("/hooks", content=body(hook)).status_code

    with ThreadPoolExecutor(HOOKS) as threads:
        statuses = set(threads.map(hang, range(HOOKS)))
    _expect(statuses == {303}, f"statuses {sorted(statuses)}")
    coats = ann.look().coats
    _expect(coats == HOOKS, f"{coats} of {HOOKS} changes are left")


def logout(browser: NewBrowser) -> None:
    """the logout expires the cookie, and a copy of it is dead"""
    ann, thief = browser(), browser()
    ann.log_in(_name())
    copy = ann.cookie
    line = ann.send("/logout").headers.get("set-cookie", "")
    _expect("; Max-Age=0" in line or "1970" in line, "the cookie was not expired")
    _expect(ann.cookie is None, "the browser still has the cookie")
    thief.cookie = copy
    _expect(thief.look().is_blank, "the copy still shows the session")
    _expect(thief.cookie != copy, "the copy's id was adopted")


def forged_cookie(browser: NewBrowser) -> None:
    """a forged cookie gets a new session"""
    ann, forger = browser(), browser()
    ann.log_in(_name())
    real = ann.cookie or ""
    other = "A" if real[-20] != "A" else "B"
    for forged in (real[:-20] + other + real[-19:], real[: len(real) // 2], "A" * len(real)):
        forger.cookie = forged
        _expect(forger.look().is_blank, "it shows a session")
        _expect(forger.cookie not in (forged, real), "its id was adopted")


def foreign_form(browser: NewBrowser) -> None:
    """a form without the session's token is refused"""
    ann, bob = browser(), browser()
    ann.look()
    for fields in ({}, {"token": ""}, {"token": bob.look().token}):
        response = ann.http.post("/cart/add", data={"item": "hat", **fields})
        _expect(response.status_code == 403, f"status {response.status_code}")
    _expect(ann.look().cart == {}, "the cart was changed")


def escaped_input(browser: NewBrowser) -> None:
    """what a visitor types is escaped"""
    ann = browser()
    ann.send("/login", name='<b>Ann & "Bob\'s"</b>')
    _expect(ann.look().user == "&lt;b&gt;Ann &amp; &quot;Bob&#x27;s&quot;&lt;/b&gt;", "it is not")


def log_out_everywhere_else(browser: NewBrowser) -> None:
    """logging out everywhere else ends the user's other sessions, and no more"""
    ann, ann_elsewhere, bob = browser(), browser(), browser()
    name, other_name = _name(), _name()
    ann.log_in(name)
    ann_elsewhere.log_in(name)
    bob.log_in(other_name)
    ann.send("/sessions/end-others")
    _expect(ann_elsewhere.look().is_blank, "the other browser is still logged in")
    _expect(ann.look().user == name, "this browser was logged out")
    _expect(bob.look().user == other_name, "another user was logged out")


class _Staying:
    """Hold two visitors from before a restart: one is logged in, one has logged out again.

    :param url: the URL of the demo before the restart.
    """

    def __init__(self, url: str) -> None:
        self._name = _name()
        self._failure: Exception | None = None
        with ExitStack() as browsers:
            try:
                self._visit(_browse(browsers, url), _browse(browsers, url))
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
        _expect(page.user == self._name, "the first visitor is logged out")
        _expect(page.cart == {"umbrella": 1}, "the cart is lost")
        _expect(bob.look().is_blank, "the second visitor is logged in again")


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
)


def _halves(capabilities: Capabilities) -> tuple[list[Check], list[Check]]:
    """Return the checks for a store: those before a restart, and those after it."""
    checks = [*_CHECKS, *([log_out_everywhere_else] if capabilities.owners else [])]
    middle = len(checks) // 2
    return checks[:middle], checks[middle:]


def _results(demo: RunningDemo, checks: Sequence[Check]) -> list[bool]:
    return [_passes(one, demo.url) for one in checks]


def _passes(one: Check, url: str) -> bool:
    with ExitStack() as browsers:
        try:
            one(partial(_browse, browsers, url))
        except Exception as error:  # an exception of a check is its result
            reason = str(error) if isinstance(error, CheckFailed) else repr(error)
            print(f"FAILED  {one.__doc__}: {' '.join(reason.split())}", flush=True)
            return False
    print(f"ok  {one.__doc__}", flush=True)
    return True


def _browse(browsers: ExitStack, url: str) -> Browser:
    browser = Browser(url)
    browsers.enter_context(browser.http)
    return browser


def _name() -> str:
    """Return a user name that nobody else has in a store that others use, too."""
    return f"visitor-{secrets.token_hex(6)}"


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise CheckFailed(otherwise)
