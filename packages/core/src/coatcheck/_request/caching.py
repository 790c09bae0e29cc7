"""Read and write the headers that say what caches may do with a response.

They are from RFC 9111, RFC 9213 and the documentation of single products.

docs/decisions/2026-11-30-caches.md has the reasons.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

#: Headers for caches, and the value of each that forbids them to store. A name that ends with
#: Cache-Control is for some caches only (RFC 9213, for example CDN-Cache-Control).
_FORBIDDING: Final = {"surrogate-control": "no-store", "expires": "0", "x-accel-expires": "0"}
_ENDING: Final = "cache-control"
#: Each name of a header for caches has one of these in it, in lower case.
PARTS_OF_NAMES: Final = (_ENDING, *_FORBIDDING)

#: Directives of Cache-Control that only restrict caches. ``must-understand`` is not among them,
#: because it lets caches ignore ``no-store``.
_RESTRICTING: Final = frozenset(
    {"no-store", "no-cache", "private", "no-transform", "must-revalidate", "proxy-revalidate"}
)
_DIRECTIVE_UNCOMPILED: Final = r"([^\s,;=\"]+)(?:\s*=\s*(\"(?:[^\"\\]|\\.)*\"|[^\s,;\"]*))?"


def forbids(name: str) -> str | None:
    """Return the value of a header that keeps caches from storing the response.

    :param name: the name of the header, in lower case.
    :returns: None if the header is not for caches, or is Cache-Control itself.
    """
    if name.endswith(_ENDING):
        return None if name == _ENDING else "no-store"
    return _FORBIDDING.get(name)


def restricted(values: Iterable[str]) -> str:
    """Return a Cache-Control that forbids storing, and keeps other restrictions.

    :param values: the values of the application's Cache-Control lines.
    """
    kept = [
        match[0]
        for value in values
        for match in re.finditer(_DIRECTIVE_UNCOMPILED, value)
        if match[1].lower() in _RESTRICTING
    ]
    if not any(directive.lower() == "no-store" for directive in kept):
        kept.append("no-store")
    return ", ".join(dict.fromkeys(kept))


def may_be_shared(headers: Iterable[tuple[str, str]], now: float) -> bool:
    """Tell whether a response says that a cache may serve it to several visitors.

    It says so by ``public``, or by a lifetime in ``s-maxage``, ``max-age`` or ``Expires`` without
    ``private``, ``no-store`` or ``no-cache`` (RFC 9111, 3). Some caches have headers of their own
    for this. A response whose Vary has Cookie or ``*`` does not say so. A cache that is configured
    to store such responses without being told cannot be noticed here.

    :param now: POSIX seconds.
    """
    controls: dict[str, dict[str, str]] = {}
    expires: list[str] = []
    for name, value in headers:
        name = name.lower()
        if name == "vary":
            if not {part.strip().lower() for part in value.split(",")}.isdisjoint({"*", "cookie"}):
                return False
        elif name == "expires":
            expires.append(value)
        elif name == "x-accel-expires":
            controls[name] = {"max-age": value}
        elif name.endswith(_ENDING) or name == "surrogate-control":
            controls.setdefault(name, {}).update(_directives(value))
    general = controls.setdefault(_ENDING, {})
    if general.keys().isdisjoint(("max-age", "s-maxage")):
        # Cache-Control wins over Expires (RFC 9111, 5.3).
        general["max-age"] = str(int(any(_is_later(each, now) for each in expires)))
    return any(map(_lets_share, controls.values()))


def _directives(value: str) -> dict[str, str]:
    return {
        match[1].lower(): (match[2] or "").strip('"')
        for match in re.finditer(_DIRECTIVE_UNCOMPILED, value)
    }


def _lets_share(directives: dict[str, str]) -> bool:
    """Tell whether directives let a shared cache use a response without asking again."""
    for name in ("private", "no-cache", "no-store"):
        # A directive with the names of headers is about these headers only.
        if directives.get(name) == "":
            return False
    if "public" in directives:
        return True
    lifetime = directives.get("s-maxage", directives.get("max-age", "0"))
    # Surrogate-Control may add how long the response can be used afterwards. nginx accepts the end
    # of the lifetime: `@...`.
    return re.match(r"@?0*[1-9]", lifetime) is not None


def _is_later(date: str, now: float) -> bool:
    from email.utils import parsedate_to_datetime  # most processes do not need it

    try:
        return parsedate_to_datetime(date).timestamp() > now
    except ValueError:
        return False
