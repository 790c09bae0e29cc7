"""Test applications that have sessions: log a test client in, and read its session.

::

    from coatcheck.testing import login, read_session

    with TestClient(app) as client:  # of Starlette and FastAPI
        login(client, {"user_id": 42})
        client.post("/cart", json={"item": "umbrella"})
        assert read_session(client)["cart"] == ["umbrella"]

The clients are those of Starlette, FastAPI, Litestar, Flask, aiohttp and Django, and of httpx.
Nothing here imports a framework or pytest: the fixtures are in :mod:`coatcheck.testing.fixtures`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urljoin

from ..cookie import CookieOptions
from ..errors import ConfigurationError
from ..sessions import CreatedSession, SessionEntry, Sessions
from ._applications import find_sessions
from ._django_client import django_client_of
from ._set_cookie_lines import StorageState, StoredCookie, storage_state
from ._test_clients import TestClient, client_of

__all__ = [
    "Clock",
    "StorageState",
    "StoredCookie",
    "alogin",
    "aread_session",
    "find_sessions",
    "login",
    "read_session",
    "storage_state",
]


def __dir__() -> list[str]:
    return __all__


class Clock:
    """A clock that stands still until the test moves it; for ``clock=`` of options and stores.

    :param now: POSIX seconds; without it, the present time.
    :ivar now: what the clock shows.
    """

    def __init__(self, now: float | None = None) -> None:
        self.now: float = time.time() if now is None else now

    def __call__(self) -> float:
        """Return what the clock shows, in POSIX seconds."""
        return self.now

    def advance(self, by: float | timedelta) -> None:
        """Move the clock.

        :param by: seconds, or a timedelta.
        """
        self.now += by.total_seconds() if isinstance(by, timedelta) else by


def login(
    client: Any,
    data: Mapping[str, Any],
    *,
    owner: str | int | None = None,
    sessions: Sessions | None = None,
    url: str | None = None,
) -> CreatedSession:
    """Give a test client a new session, as if its user had logged in.

    The client gets the cookie that the application would have sent. A session that it had before
    goes on without it.

    :param client: the test client of Starlette, FastAPI, Litestar, Flask, aiohttp or Django, or a
        client of httpx.
    :param data: what the session holds.
    :param owner: whose session it is, where the option ``owner`` does not derive it from the data.
    :param sessions: the sessions of the application; without it they are found through the client:
        see :func:`find_sessions`.
    :param url: where the client will use the session, if that is not its own base URL.
    :returns: the session, with the ``ref`` that :class:`~coatcheck.Sessions` takes.
    :raises TypeError: ``client`` is of another kind, or :meth:`Sessions.create
        <coatcheck.Sessions.create>` refuses an argument.
    :raises ConfigurationError: no application is found, the client would not send the cookie or
        sends another one first, or the option ``cookie`` is a function of the request.
    :raises StoreError: the store failed.
    """
    of_django = django_client_of(client)
    if of_django is not None:
        _check_django(owner, sessions, url)
        session = of_django.new(data)
        session.save()
        return of_django.receive(session)
    page = _ClientPage(client, sessions, url)
    page.check_cookie_option()
    made = page.sessions.create(data, owner=owner, https=page.is_https)
    page.receive(made)
    page.check_found(made, page.sessions.find(page.cookies()))
    return made


async def alogin(
    client: Any,
    data: Mapping[str, Any],
    *,
    owner: str | int | None = None,
    sessions: Sessions | None = None,
    url: str | None = None,
) -> CreatedSession:
    """See :func:`login`."""
    of_django = django_client_of(client)
    if of_django is not None:
        _check_django(owner, sessions, url)
        session = of_django.new(data)
        await session.asave()
        return of_django.receive(session)
    page = _ClientPage(client, sessions, url)
    page.check_cookie_option()
    made = await page.sessions.acreate(data, owner=owner, https=page.is_https)
    page.receive(made)
    page.check_found(made, await page.sessions.afind(page.cookies()))
    return made


def read_session(
    client: Any, *, sessions: Sessions | None = None, url: str | None = None
) -> dict[str, Any] | None:
    """Return the data of a client's session as they are stored, or None if it has no session.

    Reading does not keep the session alive. The parameters and errors are those of :func:`login`.
    """
    of_django = django_client_of(client)
    if of_django is not None:
        session = of_django.present()
        data: dict[str, Any] = session.load()
        return None if session.session_key is None else data
    page = _ClientPage(client, sessions, url)
    entry = page.sessions.find(page.cookies())
    return None if entry is None else entry.data


async def aread_session(
    client: Any, *, sessions: Sessions | None = None, url: str | None = None
) -> dict[str, Any] | None:
    """See :func:`read_session`."""
    of_django = django_client_of(client)
    if of_django is not None:
        session = of_django.present()
        data: dict[str, Any] = await session.aload()
        return None if session.session_key is None else data
    page = _ClientPage(client, sessions, url)
    entry = await page.sessions.afind(page.cookies())
    return None if entry is None else entry.data


def _check_django(owner: object, sessions: object, url: object) -> None:
    """Refuse what Django's test client does not need, because its engine knows it."""
    if not (owner is None and sessions is None and url is None):
        raise ConfigurationError(
            "with Django's test client `owner`, `sessions` and `url` follow from the settings: "
            "leave them out (a user logs in with `client.force_login(user)`)"
        )


class _ClientPage:
    """A client, and the page where it has its session.

    :ivar sessions: the sessions of the application.
    :ivar is_https: whether the client uses https.
    """

    def __init__(self, client: Any, sessions: Sessions | None, url: str | None) -> None:
        self._client: TestClient = client_of(client)
        self.sessions = sessions or self._client.sessions()
        if not isinstance(self.sessions, Sessions):
            raise TypeError(
                "`sessions` must be `Sessions(middleware.store, middleware.options)`, "
                f"not {type(sessions).__name__}"
            )
        options = self.sessions.options
        cookie = options.cookie if isinstance(options.cookie, CookieOptions) else CookieOptions()
        self._name, self._domain = options.name, cookie.domain
        base = url or self._client.base_url()
        if not base.startswith(("http://", "https://")):
            raise ConfigurationError(
                "the client has no base URL: say where it will use the session, for example "
                '`url="http://localhost:8000"`'
            )
        self._url = base if url else urljoin(base, cookie.path)
        self.is_https = base.startswith("https:")

    def check_cookie_option(self) -> None:
        """Refuse a cookie whose settings follow from a request: there is none."""
        if callable(self.sessions.options.cookie):
            raise ConfigurationError(
                "the option `cookie` is a function of the request here: call "
                "`sessions.create(data, request=...)`, and set the cookie in the client, with the "
                "`cookie_name` and `cookie_value` of what it returns"
            )

    def check_found(self, made: CreatedSession, found: SessionEntry | None) -> None:
        """Check that the application will find the session, of all that the client has."""
        if found is not None and found.ref != made.ref:
            raise ConfigurationError(
                f"the client also sends another cookie of the name {made.cookie_name!r}, and the "
                "application would take that: give the client no cookie of its own, or delete it "
                "before the login"
            )

    def receive(self, made: CreatedSession) -> None:
        """Give the client the cookie, and check that it will send it."""
        self._client.receive(self._url, made.set_cookie)
        if made.cookie_value not in self.cookies():
            raise ConfigurationError(
                f"the client would not send the session cookie to {self._url}: the cookie's domain "
                "or path is another; give the client that base URL, or say `url=`"
            )

    def cookies(self) -> str:
        """Return the Cookie header that the client would send."""
        return self._client.cookies(self._url, self._name, self._domain)
