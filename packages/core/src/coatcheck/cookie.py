"""Check and combine the settings of the session cookie: a middleware's, and those of one session.

``coatcheck/_cookies/cookie_header.py`` writes them into the Set-Cookie header. Section numbers are
those of RFC 6265. The prefixes, SameSite and the limits are from its successor draft, Partitioned
is from CHIPS.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

from ._cookies.cookie_header import (
    CookieAttributes,
    Priority,
    cookie_values,
    set_cookie_line,
)
from ._cookies.setting_checks import (
    MAX_ATTRIBUTE_BYTES,
    advising,
    check_attribute,
    check_bool,
    checked_expires,
    checked_seconds,
    in_seconds,
    is_number,
    posix,
    setting_error,
    shown_as_configuration_error,
)
from .errors import ConfigurationError

__all__ = [
    "MAX_AGE_LIMIT",
    "CookieAttributes",
    "CookieOptions",
    "Priority",
    "SameSite",
    "SessionCookie",
    "check_attribute",
    "checked_expires",
    "checked_seconds",
    "cookie_values",
    "in_seconds",
    "is_number",
    "set_cookie_line",
    "setting_error",
]


def __dir__() -> list[str]:
    return __all__


SameSite: TypeAlias = Literal["lax", "strict", "none", "auto"] | bool | None

#: Seconds to which browsers cut the lifetime of a cookie.
MAX_AGE_LIMIT: Final = 400 * 86400

_NAME_UNCOMPILED = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_DOMAIN_UNCOMPILED = (
    r"\.?[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*"
)


def _advice(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name.lower(), SETTINGS, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"it has {', '.join(SETTINGS)}"
    return f"a session cookie has no setting `{name}`; {hint}"


@advising(lambda name: _advice(name))
@dataclass(frozen=True, slots=True)
class CookieOptions:
    """Hold and check the attributes of the session cookie.

    :ivar path: the cookie is sent, and the session exists, at this path and below it (5.1.4).
    :ivar domain: the cookie is sent to this host and its subdomains. Without it, only the host
        that set the cookie gets it back.
    :ivar max_age: the cookie's lifetime in seconds, or a timedelta. It is also the session's
        lifetime, unless ``idle_timeout`` is set. Set for one session
        (``session.cookie.max_age = ...``), it wins over ``idle_timeout``. Without ``max_age`` and
        ``expires`` the cookie ends with the browser.
    :ivar expires: a fixed end instead of ``max_age``: an aware datetime or POSIX seconds.
    :ivar http_only: scripts cannot read the cookie.
    :ivar secure: True, False, or ``"auto"``. ``"auto"`` is True for a request over https, and where
        the name's prefix, SameSite=None or Partitioned demand it.
    :ivar same_site: ``"lax"``, ``"strict"``, ``"none"``, True (strict), False or None (absent), or
        ``"auto"``, which is none over https and lax over http.
    :ivar priority: ``"low"``, ``"medium"`` or ``"high"``, a Chromium attribute.
    :ivar partitioned: one cookie jar for each top-level site (CHIPS).
    :raises ConfigurationError: a value or combination that browsers refuse.
    """

    path: str = "/"
    domain: str | None = None
    max_age: float | timedelta | None = None
    expires: float | datetime | None = None
    http_only: bool = True
    secure: bool | Literal["auto"] = "auto"
    same_site: SameSite = "lax"
    priority: Priority = None
    partitioned: bool = False

    def __post_init__(self) -> None:
        self.check_path()
        if self.domain is not None:
            check_attribute("domain", self.domain)
            if not re.fullmatch(_DOMAIN_UNCOMPILED, self.domain):
                raise setting_error("domain", self.domain, "a host name (in punycode) or None")
        self.check_lifetime()
        check_bool("http_only", self.http_only)
        check_bool("partitioned", self.partitioned)
        if self.secure != "auto":
            check_bool("secure", self.secure, '`True`, `False` or "auto"')
        object.__setattr__(self, "same_site", _normal_same_site(self.same_site))
        if self.priority not in (None, "low", "medium", "high"):
            raise setting_error("priority", self.priority, '"low", "medium", "high" or None')
        self.check_combinations()

    def check_path(self) -> None:
        """Check the path.

        A subclass for the cookies of another program may allow other paths.

        :raises ConfigurationError: the path does not start with ``/``, or no header can carry it.
        """
        if not isinstance(self.path, str) or not self.path.startswith("/"):
            raise setting_error("path", self.path, "a path that starts with `/`")
        check_attribute("path", self.path)

    def check_lifetime(self) -> None:
        """Check ``max_age`` and ``expires``.

        A subclass may allow other values.

        :raises ConfigurationError: a lifetime that browsers refuse or cut.
        """
        object.__setattr__(self, "max_age", checked_seconds("cookie `max_age`", self.max_age))
        if self.max_age is not None and self.expires is not None:
            raise ConfigurationError("cookie `max_age` and `expires` exclude each other")
        if isinstance(self.max_age, float | int) and self.max_age > MAX_AGE_LIMIT:
            raise setting_error("max_age", self.max_age, "at most 400 days (34560000 seconds)")
        object.__setattr__(self, "expires", checked_expires(self.expires))
        if self.expires is not None and posix(self.expires) < 0:
            raise setting_error("expires", self.expires, "an aware datetime, POSIX seconds or None")
        if self.expires is not None and posix(self.expires) - time.time() > MAX_AGE_LIMIT:
            raise setting_error("expires", self.expires, "at most 400 days from now")

    def check_combinations(self) -> None:
        """Check the combination of several attributes.

        A subclass may allow more combinations.

        :raises ConfigurationError: a combination that browsers refuse.
        """
        if self.secure is False and self.same_site == "none":
            raise ConfigurationError(
                'cookie `same_site="none"` needs `secure=True`: browsers refuse the cookie'
            )
        if self.secure is False and self.partitioned:
            raise ConfigurationError(
                "cookie `partitioned=True` needs `secure=True`: browsers refuse the cookie"
            )

    def check_name(self, name: str) -> None:
        """Check a cookie name together with these options.

        :raises ConfigurationError: the name is no token, or has a prefix that contradicts the
            attributes.
        """
        if not isinstance(name, str) or not re.fullmatch(_NAME_UNCOMPILED, name):
            raise ConfigurationError(
                f"`name` must be a cookie name (RFC 6265 token: letters, digits and "
                f"!#$%&'*+-.^_`|~), not {name!r}"
            )
        if len(name) > MAX_ATTRIBUTE_BYTES:
            raise ConfigurationError("`name` must have at most 1024 bytes")
        prefix = name.lower()
        if prefix.startswith(("__host-", "__secure-", "__http-")) and self.secure is False:
            raise ConfigurationError(f"a cookie named {name!r} needs `secure=True`")
        if prefix.startswith("__host-") and (self.domain is not None or self.path != "/"):
            raise ConfigurationError(f'a cookie named {name!r} needs `path="/"` and no `domain`')
        if prefix.startswith(("__http-", "__host-http-")) and not self.http_only:
            raise ConfigurationError(f"a cookie named {name!r} needs `http_only=True`")

    def resolve(self, name: str, secure: bool) -> CookieAttributes:
        """Return the attributes for a connection, with ``"auto"`` decided.

        :param name: the cookie's name. Its prefix may demand Secure.
        :param secure: whether the request came over https.
        """
        must = (
            name.lower().startswith(("__host-", "__secure-", "__http-"))
            or self.same_site == "none"
            or self.partitioned
        )
        is_secure = self.secure if isinstance(self.secure, bool) else must or secure
        same_site = self.same_site
        if same_site == "auto":
            same_site = "none" if is_secure and secure else "lax"
        return CookieAttributes(
            path=self.path,
            domain=self.domain,
            http_only=self.http_only,
            secure=is_secure,
            same_site=same_site or None,  # type: ignore[arg-type]  # normalised in __post_init__
            priority=self.priority,
            partitioned=self.partitioned,
        )


class SessionCookie:
    """Read and change the cookie settings of one session: ``session.cookie.max_age = 30 * 86400``.

    An attribute has the value that applies to this session. An assignment changes it for this
    session alone and is stored in its record. The attributes are those of :class:`CookieOptions`.

    :raises ConfigurationError: on assignment, for the same values as :class:`CookieOptions`. For
        a name that is no setting the error is an AttributeError as well.
    """

    __slots__ = ("_session",)

    def __init__(self, session: Any) -> None:
        object.__setattr__(self, "_session", session)

    def __getattr__(self, name: str) -> Any:
        if name not in SETTINGS:
            raise _NoSetting(name)
        return getattr(self._session.contents.cookie_options, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in SETTINGS:
            raise _NoSetting(name)
        changes = {name: value}
        if value is not None and name in _EXCLUSIVE:
            changes[_EXCLUSIVE[name]] = None
        options = replace(self._session.contents.cookie_options, **changes)
        changed = {changed: getattr(options, changed) for changed in changes}
        self._session.change_cookie(options, changed)

    def __delattr__(self, name: str) -> None:
        raise AttributeError(
            f"the cookie setting `{name}` cannot be deleted; assign None, where that is allowed"
        )

    def __repr__(self) -> str:
        return f"<SessionCookie {self._session.contents.cookie_options!r}>"


#: The names of all settings of a cookie.
SETTINGS: Final = tuple(option.name for option in fields(CookieOptions))


@shown_as_configuration_error
class _NoSetting(ConfigurationError, AttributeError):
    """The attribute is no setting, so this is a wrong configuration and a wrong attribute."""

    def __init__(self, name: str) -> None:
        super().__init__(f"a session cookie has no setting `{name}`; it has {', '.join(SETTINGS)}")


_EXCLUSIVE: Final = {"max_age": "expires", "expires": "max_age"}


def with_own(options: CookieOptions, own: Mapping[str, Any]) -> CookieOptions:
    """Return the configured settings with those of a session laid over them.

    :param own: the session's own settings, as stored.
    """
    if not own:
        return options
    known = {name: value for name, value in own.items() if name in SETTINGS}
    for name, other in _EXCLUSIVE.items():
        if known.get(name) is not None:
            known[other] = None
    # The stored settings may contradict today's options, for example because `secure` was turned
    # on since. Then the configured settings win, and the session keeps its lifetime.
    lifetime = {name: known[name] for name in _EXCLUSIVE if name in known}
    for settings in (known, lifetime):
        try:
            return replace(options, **settings)
        except ConfigurationError:
            continue
    return options


def _normal_same_site(value: object) -> object:
    if value is True:
        return "strict"
    if value is False or value is None:
        return None
    if isinstance(value, str) and value.lower() in ("lax", "strict", "none", "auto"):
        return value.lower()
    raise setting_error("same_site", value, '"lax", "strict", "none", "auto", True, False or None')
