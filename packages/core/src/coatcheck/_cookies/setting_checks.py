"""Check single settings, and return errors that say what is allowed."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, Final, TypeGuard, TypeVar

from ..errors import ConfigurationError

T = TypeVar("T")
E = TypeVar("E", bound=type[ConfigurationError])

#: A smaller number of POSIX seconds, which is before 1983, is meant as a duration.
_DURATIONS: Final = 4e8

#: How many bytes the name or an attribute of a cookie may have.
MAX_ATTRIBUTE_BYTES: Final = 1024

_ATTRIBUTE_VALUE_UNCOMPILED = r"[\x20-\x3a\x3c-\x7e]+"


def shown_as_configuration_error(kind: E) -> E:
    """Let tracebacks show a private error by the name that users can import and catch."""
    kind.__name__ = kind.__qualname__ = ConfigurationError.__name__
    kind.__module__ = ConfigurationError.__module__
    return kind


def advising(advice: Callable[[str], str]) -> Callable[[type[T]], type[T]]:
    """Make a dataclass explain a keyword argument that is no field of its.

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


@shown_as_configuration_error
class _UnknownOption(ConfigurationError, TypeError):
    """The keyword argument is no option, so this is a wrong call as well."""


def in_seconds(value: float | timedelta | None) -> float | None:
    """Return a duration in seconds. It was checked before."""
    return value.total_seconds() if isinstance(value, timedelta) else value


def checked_seconds(option: str, value: object, *, zero: bool = False) -> float | None:
    """Check a duration, and return it in seconds.

    :param option: the name of the option, for the error.
    :param zero: whether zero is allowed.
    :raises ConfigurationError: it is no positive finite number or timedelta.
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
    """Check a fixed end, and return it in POSIX seconds.

    :raises ConfigurationError: it is no aware datetime or number of seconds.
    """
    if value is None:
        return None
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise setting_error("expires", value, "an aware datetime or POSIX seconds")
        return value.timestamp()
    if is_number(value, 1e12):
        if 0 < value < _DURATIONS:
            raise ConfigurationError(
                f"`expires` is a moment in POSIX seconds, and {value!r} is in "
                f"{datetime.fromtimestamp(value, UTC).year}; for a duration use `max_age`"
            )
        return value
    raise setting_error("expires", value, "an aware datetime, POSIX seconds or None")


def posix(value: float | datetime) -> float:
    """Return a time in POSIX seconds. It was checked before."""
    return value.timestamp() if isinstance(value, datetime) else value


def check_plain(what: str, function: object) -> None:
    """Raise ConfigurationError for a function that has to be awaited: nobody would await it."""
    # A call of an instance runs a method of its class.
    call = getattr(function, "__call__", None)  # noqa: B004
    if any(map(inspect.iscoroutinefunction, (function, call))):
        raise ConfigurationError(
            f"{what} must be a plain function, not `async def`: coatcheck does not await it"
        )


def check_bool(option: str, value: object, allowed: str = "`True` or `False`") -> None:
    """Check a boolean.

    :param allowed: the allowed values, for the error.
    :raises ConfigurationError: it is none.
    """
    if not isinstance(value, bool):
        raise setting_error(option, value, allowed)


def check_attribute(option: str, value: object) -> None:
    """Check the text of an attribute in a Set-Cookie header.

    :raises ConfigurationError: it has a character that no attribute may have, or too many.
    """
    if not isinstance(value, str) or not re.fullmatch(_ATTRIBUTE_VALUE_UNCOMPILED, value):
        raise setting_error(option, value, "printable ASCII without `;`")
    if len(value) > MAX_ATTRIBUTE_BYTES:
        raise ConfigurationError(f"cookie `{option}` must have at most 1024 bytes")


def is_number(value: object, limit: float) -> TypeGuard[float]:
    """Tell whether a value is a number between ``-limit`` and ``limit``."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < limit


def setting_error(option: str, value: object, allowed: str) -> ConfigurationError:
    """Return the error that names a setting, its value and the allowed values."""
    return ConfigurationError(f"cookie `{option}` must be {allowed}, not {value!r}")
