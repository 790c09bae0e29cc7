"""Browsers that visit the demo over HTTP, and what they read in its pages."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlencode

import httpx

from ._serving import HOST, RunningDemo

#: Seconds. Revoking waits for the owner index of stores that are eventually consistent.
TIMEOUT: Final = 60.0


class CheckFailed(Exception):
    """A promise was not kept; the message says which."""


def expect(holds: bool, otherwise: str) -> None:
    """Go on if something holds.

    :raises CheckFailed: it does not.
    """
    if not holds:
        raise CheckFailed(otherwise)


class Browser:
    """Visit the demo, with cookies of one's own.

    :param demo: the demo.
    """

    def __init__(self, demo: RunningDemo) -> None:
        self.http = httpx.Client(
            base_url=demo.url, timeout=TIMEOUT, trust_env=False, verify=demo.tls()
        )
        self._cookie_name = demo.cookie_name

    @property
    def cookie(self) -> str | None:
        """The session cookie's value."""
        return self.http.cookies.get(self._cookie_name)

    @cookie.setter
    def cookie(self, value: str | None) -> None:
        self.http.cookies.set(self._cookie_name, value or "", domain=HOST, path="/")

    def look(self, path: str = "/") -> Page:
        """Open a page."""
        response = self.http.get(path)
        expect(response.status_code == 200, f"GET {path}: status {response.status_code}")
        return Page(response.text)

    def cart(self) -> dict[str, int]:
        """Return the quantity of each item in the cart."""
        return self.look("/cart").cart

    def send(self, path: str, **fields: str) -> httpx.Response:
        """Fill a form of a page and send it."""
        response = self.http.post(path, data={"token": self.look().token, **fields})
        expect(response.status_code == 303, f"POST {path}: status {response.status_code}")
        return response

    def log_in(self, name: str, **fields: str) -> httpx.Response:
        """Log in, and look whether it worked."""
        response = self.send("/login", name=name, **fields)
        expect(self.look().user == name, "the login did not last")
        return response


class Page:
    """Read a page of the demo."""

    def __init__(self, html: str) -> None:
        self.html = html

    @property
    def token(self) -> str:
        """The token of its forms."""
        return self._first(r'name="token" value="([^"]+)"')

    @property
    def views(self) -> int:
        """How often the visitor has seen the home page."""
        return int(self._first(r'id="views">(\d+)<'))

    @property
    def user(self) -> str:
        """The name of the user who is logged in, as HTML of the home page."""
        return self._first(r'id="user">([^<]*)<')

    @property
    def cart(self) -> dict[str, int]:
        """The quantity of each item on the page of the cart."""
        lines = re.findall(r'data-item="(\w+)" data-quantity="(\d+)"', self.html)
        return {item: int(quantity) for item, quantity in lines}

    @property
    def hooks(self) -> int:
        """How many hooks of the home page are in use."""
        return self.html.count('aria-pressed="true"')

    @property
    def is_blank(self) -> bool:
        """Whether it is the home page that a new visitor sees."""
        found = (self.views, self.user, self.hooks, 'class="count"' in self.html)
        return found == (1, "stranger", 0, False)

    def _first(self, pattern: str) -> str:
        found = re.search(pattern, self.html)
        if found is None:
            raise CheckFailed(f"the page lacks {pattern}")
        return str(found[1])


class SlowForm:
    """Send the headers of a form, and its body when :meth:`body` goes on."""

    def __init__(self, **fields: str) -> None:
        self.content = urlencode(fields).encode()

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the request."""
        return {
            "content-type": "application/x-www-form-urlencoded",
            "content-length": str(len(self.content)),
        }
