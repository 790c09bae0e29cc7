"""Cookies: the options of ours, reading the Cookie header, when a path matches.

Section numbers are those of RFC 6265; the prefixes, SameSite and the limits are from its
successor draft, Partitioned from CHIPS.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, Final, Literal, TypeAlias, TypeGuard, TypeVar

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

T = TypeVar("T")

SameSite: TypeAlias = Literal["lax", "strict", "none", "auto"] | bool | None
Priority: TypeAlias = Literal["low", "medium", "high"] | None

#: What a path segment may hold as it is, besides letters and digits (RFC 3986, 3.3).
PATH_SAFE: Final = "/!$&'()*+,;=:@"
#: How many cookies of our name one request may present.
MAX_CANDIDATES: Final = 5
_MAX_COOKIE_BYTES: Final = 4096
_MAX_ATTRIBUTE_BYTES: Final = 1024
#: Seconds to which browsers cut the lifetime of a cookie.
MAX_AGE_LIMIT: Final = 400 * 86400

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_ATTRIBUTE_VALUE = re.compile(r"[\x20-\x3a\x3c-\x7e]+")
_DOMAIN = re.compile(
    r"\.?[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*"
)


def advising(advice: Callable[[str], str]) -> Callable[[type[T]], type[T]]:
    """Make a dataclass say what was meant by a field that it does not have.

    :param advice: returns the message for the name of such a field.
    """

    def decorate(kind: type[T]) -> type[T]:
        init = kind.__init__
        names = {option.name for option in fields(kind) if option.init}  # type: ignore[arg-type]  # a dataclass

        @wraps(init)
        def checked(self: Any, *args: Any, **given: Any) -> None:
            try:
                init(self, *args, **given)
            except TypeError:
                for name in given:
                    if name not in names:
                        raise _UnknownOption(advice(name)) from None
                raise

        kind.__init__ = checked  # type: ignore[method-assign]  # the same for callers
        return kind

    return decorate


class _UnknownOption(ConfigurationError, TypeError):
    """A keyword argument that is no option, so a wrong call as well."""


def _advice(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name.lower(), SETTINGS, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"it has {', '.join(SETTINGS)}"
    return f"a session cookie has no setting `{name}`; {hint}"


@advising(lambda name: _advice(name))
@dataclass(frozen=True, slots=True)
class CookieOptions:
    """The attributes of the session cookie.

    :ivar path: the cookie is sent, and the session exists, at this path and below it (5.1.4).
    :ivar domain: without it only the host that set the cookie gets it back.
    :ivar max_age: seconds, or a timedelta; also the session's lifetime, unless ``idle_timeout``
        is set. Set for one session (``session.cookie.max_age = ...``), it wins over
        ``idle_timeout``. Without it (and ``expires``) the cookie ends with the browser.
    :ivar expires: a fixed end instead of ``max_age``: an aware datetime or POSIX seconds.
    :ivar http_only: scripts cannot read the cookie.
    :ivar secure: True, False, or ``"auto"``: as the request came, and True where the name's
        prefix, SameSite=None or Partitioned demand it.
    :ivar same_site: ``"lax"``, ``"strict"``, ``"none"``, True (strict), False or None (absent), or
        ``"auto"``: none over https, lax over http.
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
            if not _DOMAIN.fullmatch(self.domain):
                raise setting_error("domain", self.domain, "a host name (in punycode) or None")
        self.check_lifetime()
        _check_bool("http_only", self.http_only)
        _check_bool("partitioned", self.partitioned)
        if self.secure != "auto":
            _check_bool("secure", self.secure, '`True`, `False` or "auto"')
        object.__setattr__(self, "same_site", _normal_same_site(self.same_site))
        if self.priority not in (None, "low", "medium", "high"):
            raise setting_error("priority", self.priority, '"low", "medium", "high" or None')
        self.check_combinations()

    def check_path(self) -> None:
        """Check the path. A subclass for the cookies of another program may allow others.

        :raises ConfigurationError: the path does not start with ``/``, or no header can carry it.
        """
        if not isinstance(self.path, str) or not self.path.startswith("/"):
            raise setting_error("path", self.path, "a path that starts with `/`")
        check_attribute("path", self.path)

    def check_lifetime(self) -> None:
        """Check ``max_age`` and ``expires``. A subclass may allow others.

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
        """Check what depends on several attributes. A subclass may allow more.

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

        :raises ConfigurationError: no token, or a prefix that the attributes contradict.
        """
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise ConfigurationError(
                f"`name` must be a cookie name (RFC 6265 token: letters, digits and "
                f"!#$%&'*+-.^_`|~), not {name!r}"
            )
        if len(name) > _MAX_ATTRIBUTE_BYTES:
            raise ConfigurationError("`name` must have at most 1024 bytes")
        prefix = name.lower()
        if prefix.startswith(("__host-", "__secure-", "__http-")) and self.secure is False:
            raise ConfigurationError(f"a cookie named {name!r} needs `secure=True`")
        if prefix.startswith("__host-") and (self.domain is not None or self.path != "/"):
            raise ConfigurationError(f'a cookie named {name!r} needs `path="/"` and no `domain`')
        if prefix.startswith(("__http-", "__host-http-")) and not self.http_only:
            raise ConfigurationError(f"a cookie named {name!r} needs `http_only=True`")

    def resolve(self, name: str, secure: bool) -> CookieAttributes:
        """Settle ``"auto"`` for a connection.

        :param name: the cookie's name, whose prefix may demand Secure.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieAttributes:
    """What a Set-Cookie line says after the value, with nothing left to decide.

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
        """What a Set-Cookie line says after the value, each attribute behind a ``; ``."""
        if self._tail is None:
            # Most lines differ in nothing but the value.
            object.__setattr__(self, "_tail", _tail(self))
        return self._tail or ""


class SessionCookie:
    """The cookie settings of one session: ``session.cookie.max_age = 30 * 86400``.

    Reading an attribute gives what applies to this session; assigning one sets it for this
    session alone, in its record, from then on. The attributes are those of
    :class:`CookieOptions`.

    :raises ConfigurationError: on assignment, as at construction of :class:`CookieOptions`;
        for a name that is no setting it is an AttributeError as well.
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


class _NoSetting(ConfigurationError, AttributeError):
    """An attribute that is no setting, so a wrong configuration and a wrong attribute."""

    def __init__(self, name: str) -> None:
        super().__init__(f"a session cookie has no setting `{name}`; it has {', '.join(SETTINGS)}")


_EXCLUSIVE: Final = {"max_age": "expires", "expires": "max_age"}


def with_own(options: CookieOptions, own: Mapping[str, Any]) -> CookieOptions:
    """Lay a session's stored settings over the configured ones."""
    if not own:
        return options
    known = {name: value for name, value in own.items() if name in SETTINGS}
    for name, other in _EXCLUSIVE.items():
        if known.get(name) is not None:
            known[other] = None
    # Settings stored under other options may contradict today's, for example since `secure` was
    # tightened: then the configured ones win, and the session keeps its lifetime.
    lifetime = {name: known[name] for name in _EXCLUSIVE if name in known}
    for settings in (known, lifetime):
        try:
            return replace(options, **settings)
        except ConfigurationError:
            continue
    return options


def in_seconds(value: float | timedelta | None) -> float | None:
    """Return a checked duration in seconds."""
    return value.total_seconds() if isinstance(value, timedelta) else value


def checked_seconds(option: str, value: object, *, zero: bool = False) -> float | None:
    """Return a duration in seconds.

    :raises ConfigurationError: not a positive finite number or timedelta; names the option.
    """
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if number is None:
        return None
    if not is_number(number, 1e12) or number < 0 or (number == 0 and not zero):
        limit = "zero or more" if zero else "more than zero"
        if is_number(number, float("inf")) and number > 0:
            limit = "less than 1e12"  # 30,000 years
        raise ConfigurationError(f"{option} must be seconds or a timedelta, {limit}, not {value!r}")
    return number


def checked_expires(value: object) -> float | None:
    """Return a fixed end in POSIX seconds.

    :raises ConfigurationError: not an aware datetime or a number of seconds.
    """
    if value is None:
        return None
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise setting_error("expires", value, "an aware datetime or POSIX seconds")
        return value.timestamp()
    if is_number(value, 1e12):
        return value
    raise setting_error("expires", value, "an aware datetime, POSIX seconds or None")


def posix(value: float | datetime) -> float:
    """Return POSIX seconds."""
    return value.timestamp() if isinstance(value, datetime) else value


def cookie_values(headers: Iterable[str], name: str) -> Iterator[str]:
    """Yield the values of all cookies of a name, in the order sent (4.2.2), quotes removed."""
    for header in headers:
        if name in header:
            for pair in header.split(";"):
                found, separator, value = pair.partition("=")
                if separator and found.strip(" \t") == name:
                    value = value.strip(" \t")
                    yield value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def path_matches(request_path: str, cookie_path: str) -> bool:
    """Tell whether a cookie of that path belongs to the request (5.1.4)."""
    if request_path == cookie_path or cookie_path == "/":
        return True
    return request_path.startswith(cookie_path) and (
        cookie_path.endswith("/") or request_path[len(cookie_path)] == "/"
    )


def set_cookie_line(name: str, value: str, attributes: CookieAttributes) -> str:
    """Return the value of a Set-Cookie header (4.1).

    :raises ConfigurationError: name and value exceed 4096 bytes.
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
    """Return POSIX seconds as an RFC 1123 date in GMT, the fraction cut off."""
    from email.utils import formatdate  # 10 ms that most processes can do without

    return formatdate(int(timestamp), usegmt=True)


def _normal_same_site(value: object) -> object:
    if value is True:
        return "strict"
    if value is False or value is None:
        return None
    if isinstance(value, str) and value.lower() in ("lax", "strict", "none", "auto"):
        return value.lower()
    raise setting_error("same_site", value, '"lax", "strict", "none", "auto", True, False or None')


def _check_bool(option: str, value: object, allowed: str = "`True` or `False`") -> None:
    if not isinstance(value, bool):
        raise setting_error(option, value, allowed)


def check_attribute(option: str, value: object) -> None:
    """Check text that is to stand in a Set-Cookie header.

    :raises ConfigurationError: it holds what no attribute may hold, or too much.
    """
    if not isinstance(value, str) or not _ATTRIBUTE_VALUE.fullmatch(value):
        raise setting_error(option, value, "printable ASCII without `;`")
    if len(value) > _MAX_ATTRIBUTE_BYTES:
        raise ConfigurationError(f"cookie `{option}` must have at most 1024 bytes")


def is_number(value: object, limit: float) -> TypeGuard[float]:
    """Tell whether a value is a number between ``-limit`` and ``limit``."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < limit


def setting_error(option: str, value: object, allowed: str) -> ConfigurationError:
    """Return the error that says what a setting may be."""
    return ConfigurationError(f"cookie `{option}` must be {allowed}, not {value!r}")
