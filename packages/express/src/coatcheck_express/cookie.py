"""The cookie's settings: express-session's option ``cookie``, and the member of its records.

express-session writes all settings of a session's cookie into the session's record. From then on it
reads them there, even if its options have changed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, TypedDict

from coatcheck.cookie import (
    CookieAttributes,
    CookieOptions,
    Priority,
    SameSite,
    check_attribute,
    checked_expires,
    in_seconds,
    is_number,
    setting_error,
)
from coatcheck.errors import ConfigurationError

#: The settings of a session, by the names of CookieOptions.
Settings = dict[str, Any]
#: The member ``cookie`` of a record.
Member = Mapping[str, Any]

#: The largest time that an ECMAScript Date holds, in seconds (ECMA-262, 21.4.1.1).
_END_OF_TIME: Final = 8.64e12


class ExpressCookie(TypedDict, total=False):
    """express-session's option ``cookie``, in snake_case.

    ``max_age_ms`` is milliseconds, ``expires`` an aware datetime. Settings that are left out have
    Express's defaults.
    """

    path: str
    domain: str | None
    max_age_ms: float | None
    expires: datetime | None
    http_only: bool
    secure: bool | Literal["auto"]
    same_site: SameSite
    priority: Priority
    partitioned: bool


@dataclass(frozen=True, slots=True)
class ExpressCookieOptions(CookieOptions):
    """Cookie attributes with Express's defaults, and without coatcheck's advice.

    Values that browsers refuse (SameSite=None without Secure) or shorten (lifetimes over 400 days)
    are accepted, because existing applications and sessions have them. A ``path`` of ``""`` leaves
    Path out. ``max_age`` may be zero or less, which ends the session at once.

    :raises ConfigurationError: a value of a wrong type, or one that no header can carry.
    """

    secure: bool | Literal["auto"] = False
    same_site: SameSite = None

    def check_path(self) -> None:
        """See :meth:`coatcheck.CookieOptions.check_path`. The empty path is allowed, too."""
        if self.path != "":
            check_attribute("path", self.path)

    def check_lifetime(self) -> None:
        """See :meth:`coatcheck.CookieOptions.check_lifetime`. Any time of Node's is allowed."""
        max_age = in_seconds(self.max_age) if isinstance(self.max_age, timedelta) else self.max_age
        if not (max_age is None or is_number(max_age, _END_OF_TIME)):
            raise setting_error("max_age", max_age, "seconds, a timedelta or None")
        object.__setattr__(self, "max_age", max_age)
        object.__setattr__(self, "expires", checked_expires(self.expires))

    def check_combinations(self) -> None:
        """Allow every combination: browsers decide."""

    def resolve(self, name: str, secure: bool) -> CookieAttributes:
        """See :meth:`coatcheck.CookieOptions.resolve`."""
        attributes = CookieOptions.resolve(self, name, secure)
        return attributes if self.path else replace(attributes, path=None)


def from_option(option: object) -> ExpressCookieOptions:
    """Return the settings that an :class:`ExpressCookie` asks for.

    :raises ConfigurationError: an unknown setting, or a value that cannot work.
    """
    if not isinstance(option, Mapping):
        raise ConfigurationError(
            '`cookie` must be a dictionary as {"max_age_ms": 3600000}, or a callable of the '
            f"request that returns one, not {option!r}"
        )
    given = dict(option)
    for name in given:
        if name not in ExpressCookie.__annotations__:
            raise ConfigurationError(
                f"`cookie` has no setting {name!r}; it has "
                f"{', '.join(ExpressCookie.__annotations__)}"
            )
    if "max_age_ms" in given:
        max_age_ms = given.pop("max_age_ms")
        if not (max_age_ms is None or is_number(max_age_ms, _END_OF_TIME * 1000)):
            raise setting_error("max_age_ms", max_age_ms, "milliseconds or None")
        # A Date has whole milliseconds.
        given["max_age"] = None if max_age_ms is None else math.floor(max_age_ms) / 1000
    for name, nothing in _NOTHING.items():
        if name in given and (given[name] is None or given[name] == ""):
            given[name] = nothing
    if isinstance(given.get("priority"), str):
        given["priority"] = given["priority"].lower()
    return ExpressCookieOptions(**given)


def member_of_option(option: Mapping[str, Any]) -> dict[str, Any]:
    """Return the exact member of a new session, for settings that nothing changes."""
    given = {name: option[ours] for name, ours in _NAMES.items() if ours in option}
    return {name: value for name, value in given.items() if value != "auto"}


def settings_of(member: Member) -> Settings:
    """Return the settings in a member, as express-session understands it.

    The lifetime is ``originalMaxAge``. ``expires`` is only the end of the lifetime at the last
    write. It is often past, because touching moves only the store's own field.
    """
    path, domain, priority = member.get("path", "/"), member.get("domain"), member.get("priority")
    settings: Settings = {
        "max_age": None,
        "expires": None,
        "path": path if isinstance(path, str) else "",
        "domain": domain if isinstance(domain, str) and domain else None,
        "http_only": bool(member.get("httpOnly", True)),
        "secure": bool(member.get("secure")),
        "same_site": _chosen(member.get("sameSite"), ("lax", "strict", "none")),
        "priority": _chosen(priority, ("low", "medium", "high")),
        "partitioned": bool(member.get("partitioned")),
    }
    if member.get("sameSite") is True:
        settings["same_site"] = "strict"
    lifetime = member.get("originalMaxAge")
    if is_number(lifetime, _END_OF_TIME * 1000):
        settings["max_age"] = lifetime / 1000
    elif lifetime:
        # It is not a number that could be added to the time, so the end does not move.
        settings["expires"] = _posix_of(member.get("expires"))
    return settings


def member_of(settings: Settings, known: Member) -> dict[str, Any]:
    """Return the member for settings, without the times that :func:`with_times` adds.

    :param known: the former member; its values stay as they are for settings that are the same.
    """
    before = settings_of(known)
    member: dict[str, Any] = {}
    for name, ours in _NAMES.items():
        value = settings[ours]
        if value == before[ours]:
            if name in known or name in _ALWAYS:
                member[name] = known.get(name, value)
        elif value is not None:
            member[name] = value
    if settings["max_age"] is not None:
        if settings["max_age"] == before["max_age"]:
            member["originalMaxAge"] = known["originalMaxAge"]
        else:
            member["originalMaxAge"] = _milliseconds(settings["max_age"])
    elif settings["expires"] is None:
        member["originalMaxAge"] = member["expires"] = None
    elif settings["expires"] == before["expires"]:
        member["originalMaxAge"] = known["originalMaxAge"]
        member["expires"] = known["expires"]
    else:
        member["expires"] = _iso_date(settings["expires"])
    return member


def with_times(member: Mapping[str, Any], expires_at: float, now: float) -> dict[str, Any]:
    """Return a member with the times that change with each write, in express-session's order.

    :param expires_at: when the record expires, in POSIX seconds.
    :param now: POSIX seconds.
    """
    times: dict[str, Any] = {}
    if "expires" not in member:
        times["expires"] = _iso_date(expires_at)
    elif "originalMaxAge" not in member:
        times["originalMaxAge"] = _milliseconds(expires_at - now)
    whole = {**member, **times}
    return {name: whole[name] for name in _ORDER if name in whole}


def _chosen(value: object, allowed: tuple[str, ...]) -> str | None:
    lower = value.lower() if isinstance(value, str) else None
    return lower if lower in allowed else None


def _milliseconds(seconds: float) -> int:
    """Return whole milliseconds, rounded down, but not because of floating point alone."""
    return math.floor(seconds * 1000 + 1e-3)


def on_the_calendar(timestamp: float) -> float:
    """Return a time that dates with four digits for the year can express."""
    return max(0.0, min(timestamp, _END_OF_9999))


def _iso_date(timestamp: float) -> str:
    """Return the text of ``Date.toISOString`` (ECMA-262, 21.4.4.36)."""
    milliseconds = _milliseconds(on_the_calendar(timestamp))
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC).replace(tzinfo=None)
    return f"{moment.isoformat()}.{milliseconds % 1000:03}Z"


def _posix_of(value: object) -> float | None:
    """Return the POSIX time of a date in JSON, or None if it is not a date."""
    if is_number(value, _END_OF_TIME * 1000):
        return value / 1000
    try:
        moment = datetime.fromisoformat(value)  # type: ignore[arg-type]  # it refuses other types
    except (TypeError, ValueError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


#: Settings whose None or empty text Express takes for not given, with what they mean then.
_NOTHING: Final = {
    "path": "", "domain": None, "http_only": False, "secure": False, "partitioned": False,
    "priority": None,
}  # fmt: skip
#: express-session's names of the settings that no write changes by itself.
_NAMES: Final = {
    "partitioned": "partitioned",
    "priority": "priority",
    "secure": "secure",
    "httpOnly": "http_only",
    "domain": "domain",
    "path": "path",
    "sameSite": "same_site",
}
#: Members that are always written.
_ALWAYS: Final = frozenset({"httpOnly", "path"})
_ORDER: Final = (
    "originalMaxAge", "partitioned", "priority", "expires", "secure", "httpOnly", "domain", "path",
    "sameSite",
)  # fmt: skip
#: The last second of the year 9999.
_END_OF_9999: Final = 253402300799.0
