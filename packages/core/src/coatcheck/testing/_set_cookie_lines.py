"""Read the Set-Cookie line of a created session, and write it as a browser's state."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Literal, TypedDict
from urllib.parse import urlsplit

from ..sessions import CreatedSession


class StoredCookie(TypedDict, total=False):
    """A cookie in Playwright's storage state."""

    name: str
    value: str
    domain: str
    path: str
    expires: float
    httpOnly: bool
    secure: bool
    sameSite: Literal["Lax", "None", "Strict"]


class StorageState(TypedDict, total=False):
    """Playwright's storage state: the cookies, and what pages keep in the browser."""

    cookies: list[StoredCookie]
    origins: list[Any]


def attributes_of(set_cookie: str) -> dict[str, str]:
    """Return the attributes of a Set-Cookie line; their names are in lower case."""
    pairs = (part.strip().partition("=") for part in set_cookie.split(";")[1:])
    return {name.lower(): value for name, _, value in pairs}


def storage_state(made: CreatedSession, url: str) -> StorageState:
    """Return a session as Playwright's storage state, for a browser that is logged in.

    ::

        made = sessions.create({"user_id": 42}, https=False)
        context = browser.new_context(storage_state=storage_state(made, "http://localhost:8000"))

    It can be written to a file as JSON as well. Anybody who has it has the session.

    :param made: the session, as ``Sessions.create()`` or ``login()`` returns it.
    :param url: where the browser will use the session.
    :raises ValueError: ``url`` is no http or https URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("`url` must be an http or https URL, such as 'http://localhost:8000'")
    attributes = attributes_of(made.set_cookie)
    domain = attributes.get("domain")
    expires = attributes.get("expires")
    cookie: StoredCookie = {
        "name": made.cookie_name,
        "value": made.cookie_value,
        "domain": parts.hostname if domain is None else "." + domain.lstrip("."),
        "path": attributes.get("path", "/"),
        "expires": -1 if expires is None else _posix(expires),
        "httpOnly": "httponly" in attributes,
        "secure": "secure" in attributes,
        # Browsers take a cookie without the attribute for a lax one.
        "sameSite": attributes.get("samesite", "Lax"),  # type: ignore[typeddict-item]  # as written
    }
    return {"cookies": [cookie], "origins": []}


def _posix(http_date: str) -> float:
    return parsedate_to_datetime(http_date).replace(tzinfo=UTC).timestamp()
