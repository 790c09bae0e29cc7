"""Read the Cookie header, and write the Set-Cookie header.

Section numbers are those of RFC 6265. SameSite and the limits are from its successor draft,
Partitioned is from CHIPS.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from ..errors import ConfigurationError

Priority: TypeAlias = Literal["low", "medium", "high"] | None

#: The characters that a path segment may have unescaped, in addition to letters and digits
#: (RFC 3986, 3.3).
PATH_SAFE: Final = "/!$&'()*+,;=:@"
#: How many cookies of our name one request may present.
MAX_CANDIDATES: Final = 5
_MAX_COOKIE_BYTES: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieAttributes:
    """Hold the attributes of one Set-Cookie line, with nothing left to decide.

    :ivar max_age: whole seconds, or None to leave Max-Age out.
    :ivar expires: POSIX seconds, or None to leave Expires out.
    """

    path: str | None = "/"
    domain: str | None = None
    max_age: int | None = None
    expires: float | None = None
    http_only: bool = True
    secure: bool = False
    same_site: Literal["lax", "strict", "none"] | None = None
    priority: Priority = None
    partitioned: bool = False
    _tail: str | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def tail(self) -> str:
        """The part of a Set-Cookie line after the value, which begins with a semicolon."""
        if self._tail is None:
            # Kept, because most lines differ in nothing but the value.
            object.__setattr__(self, "_tail", _tail(self))
        return self._tail or ""


def cookie_values(headers: Iterable[str], name: str, limit: int | None = None) -> list[str]:
    """Return the values of the cookies of a name, without quotes, in the order sent (4.2.2).

    :param limit: how many to return at most; None for all.
    """
    values: list[str] = []
    for header in headers:
        if name in header:
            for pair in header.split(";"):
                found, separator, value = pair.partition("=")
                if separator and found.strip(" \t") == name:
                    value = value.strip(" \t")
                    if len(value) > 1 and value[0] == value[-1] == '"':
                        value = value[1:-1]
                    values.append(value)
                    if len(values) == limit:
                        return values
    return values


def path_matches(request_path: str, cookie_path: str) -> bool:
    """Tell whether a cookie of a path belongs to a request (5.1.4)."""
    if request_path == cookie_path or cookie_path == "/":
        return True
    return request_path.startswith(cookie_path) and (
        cookie_path.endswith("/") or request_path[len(cookie_path)] == "/"
    )


def set_cookie_line(name: str, value: str, attributes: CookieAttributes) -> str:
    """Return the value of a Set-Cookie header (4.1).

    :raises ConfigurationError: name and value together exceed 4096 bytes.
    """
    if len(name) + len(value) > _MAX_COOKIE_BYTES:
        raise ConfigurationError("the session cookie's name and value exceed 4096 bytes")
    return f"{name}={value}{attributes.tail}"


def _tail(attributes: CookieAttributes) -> str:
    expires = None if attributes.expires is None else http_date(attributes.expires)
    parts = (
        "",
        _attribute("Domain", attributes.domain),
        _attribute("Path", attributes.path),
        _attribute("Expires", expires),
        _attribute("Max-Age", attributes.max_age),
        "HttpOnly" if attributes.http_only else None,
        "Secure" if attributes.secure else None,
        "Partitioned" if attributes.partitioned else None,
        _attribute("Priority", attributes.priority and attributes.priority.capitalize()),
        _attribute("SameSite", attributes.same_site and attributes.same_site.capitalize()),
    )
    return "; ".join(part for part in parts if part is not None)


def _attribute(name: str, value: object) -> str | None:
    return None if value is None else f"{name}={value}"


def http_date(timestamp: float) -> str:
    """Return POSIX seconds as an RFC 1123 date in GMT, without the fraction."""
    from email.utils import formatdate  # takes 10 ms, and most processes do not need it

    return formatdate(int(timestamp), usegmt=True)
