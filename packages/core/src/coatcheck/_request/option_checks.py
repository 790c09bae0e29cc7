"""Check the options of a session middleware, and return errors that say what is allowed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from .._cookies.setting_checks import check_plain, checked_seconds
from ..cookie import CookieOptions
from ..errors import ConfigurationError
from ..old_sessions import OldSessions
from ..store import AsyncStore, Store

if TYPE_CHECKING:
    from ..options import SessionOptions

_BOOLS: Final = ("resave", "rolling", "save_uninitialized", "hash_ids")
_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "unset": ("keep", "destroy"),
    "concurrency": ("merge", "error", "last-write-wins"),
    "load": ("auto", "eager", "lazy"),
    "on_store_error": ("raise", "anonymous"),
}
#: The options that have several values, what tells whether a value is right, and what is allowed.
SEVERAL: Final[tuple[tuple[str, Callable[[object], bool], str], ...]] = (
    ("observers", callable, "callables of a SessionEvent"),
    (
        "old_sessions",
        lambda each: isinstance(each, OldSessions),
        "a list of readers, such as StarletteSessions(...)",
    ),
)


def check_choices(options: SessionOptions) -> None:
    """Check the options that take one of a few values.

    :raises ConfigurationError: one of them has another value.
    """
    for name in _BOOLS:
        _check(options, name, isinstance(getattr(options, name), bool), "True or False")
    trust = options.trust_proxy
    trusts = trust is None or isinstance(trust, bool) or _takes_requests(trust)
    _check(options, "trust_proxy", trusts, "True, False or a callable of the request")
    _check(
        options, "https", options.https is None or isinstance(options.https, bool), "True or None"
    )
    for name, allowed in _CHOICES.items():
        value = getattr(options, name)
        choices = " or ".join(f'"{choice}"' for choice in allowed)
        _check(options, name, isinstance(value, str) and value in allowed, choices)


def check_extension_points(options: SessionOptions) -> None:
    """Check what an application gives to the middleware: objects and functions.

    :raises ConfigurationError: one of them cannot do what it is for.
    """
    store: object = options.store
    if not (store is None or isinstance(store, Store | AsyncStore | str)):
        given = type(store).__name__
        if isinstance(store, type):
            given = f"the class {store.__name__}: write `{store.__name__}(...)`"
        elif hasattr(store, "__fspath__"):
            given += "; for a folder it is `file:///folder`"
        raise ConfigurationError(
            f"`store` must be a coatcheck.Store, a coatcheck.AsyncStore, a URL or None, not {given}"
        )
    if isinstance(options.cookie, CookieOptions):
        options.cookie.check_name(options.name)
    else:
        allowed = "CookieOptions(...) or a callable of the request"
        _check(options, "cookie", _takes_requests(options.cookie), allowed)
        CookieOptions().check_name(options.name)
    _check_callables(options)
    _check_rules(options)
    codec_methods = ("dumps", "pack", "loads")
    _check(options, "codec", _has(options.codec, codec_methods, "canonical"), "a Codec")
    is_format = _has(options.cookie_format, ("bind",), "minimum_secret_bytes")
    _check(options, "cookie_format", is_format, "a CookieFormat")


def checked_tuple(
    options: SessionOptions, name: str, is_right: Callable[[object], bool], allowed: str
) -> tuple[Any, ...]:
    """Check an option that has several values, and return them.

    :raises ConfigurationError: the option or one of its values is of another kind.
    """
    try:
        values = tuple(getattr(options, name))
    except TypeError:
        raise _refusal(name, getattr(options, name), allowed) from None
    if not all(map(is_right, values)):
        raise _refusal(name, values, allowed)
    if name == "observers":
        for observer in values:
            check_plain("an observer", observer)
    return values


def checked_duration(options: SessionOptions, name: str) -> float | None:
    """Check an option that is a duration, and return it in seconds.

    :raises ConfigurationError: it is none.
    """
    value = getattr(options, name)
    if name == "conflict_timeout":
        _check(options, name, value is not None, "seconds or a timedelta")
    return checked_seconds(f"`{name}`", value, zero=name == "touch_interval")


def check_age_is_known(options: SessionOptions) -> None:
    """Check that records say how old a session is, if that matters.

    :raises ConfigurationError: they do not.
    """
    if options.absolute_timeout is not None and not getattr(
        options.codec, "keeps_created_at", True
    ):
        raise ConfigurationError(
            "`absolute_timeout` cannot work with this codec: its records do not say when a "
            "session began"
        )


def _check_callables(options: SessionOptions) -> None:
    for name in ("generate_id", "clock"):
        _check(options, name, callable(getattr(options, name)), "a callable")
    for name in ("generate_id", "clock", "keeps_alive", "cookie", "trust_proxy", "owner"):
        check_plain(f"`{name}`", getattr(options, name))
    of_dates = getattr(options.clock, "__self__", None)
    if isinstance(of_dates, type) and issubclass(of_dates, date):
        raise ConfigurationError(
            "`clock` must return POSIX seconds, as time.time does, not a datetime"
        )
    for name in ("generate_id", "keeps_alive", "cookie", "trust_proxy"):
        _check_arguments(f"`{name}`", getattr(options, name), "a request")
    _check_arguments("`owner`", options.owner, "the data")
    keeps_alive, owner = options.keeps_alive, options.owner
    _check(
        options, "keeps_alive", keeps_alive is None or callable(keeps_alive), "a callable or None"
    )
    is_owner = owner is None or callable(owner) or bool(isinstance(owner, str) and owner)
    _check(options, "owner", is_owner, "a key of the data, a callable or None")


def _check_rules(options: SessionOptions) -> None:
    rules = options.merge if isinstance(options.merge, Mapping) else {"": None}
    right = all(isinstance(key, str) and callable(rule) for key, rule in rules.items())
    _check(options, "merge", right, "a mapping of keys to callables (base, mine, theirs)")
    for key, rule in rules.items():
        _check_arguments(f"`merge`: the rule of {key!r}", rule, "base", "mine", "theirs")
        check_plain(f"`merge`: the rule of {key!r}", rule)
    if rules and options.concurrency != "merge":
        raise ConfigurationError('the rules of `merge` need `concurrency="merge"`')


def _check_arguments(option: str, function: object, *arguments: str) -> None:
    """Check that a callable takes the arguments that it will be called with.

    Other checks refuse objects that are not callable.
    """
    try:
        signature = inspect.signature(function)  # type: ignore[arg-type]  # see the except
    except (TypeError, ValueError):  # not callable, or of C
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        raise ConfigurationError(
            f"{option} must take {', '.join(arguments)}; it is called with "
            f"{len(arguments)} positional argument{'s' if len(arguments) > 1 else ''}"
        ) from None


def _takes_requests(value: object) -> bool:
    """Tell whether an option is a function of the request, and no class."""
    return callable(value) and not isinstance(value, type)


def _has(value: object, methods: tuple[str, ...], attribute: str) -> bool:
    if isinstance(value, type) or not hasattr(value, attribute):
        return False
    return all(callable(getattr(value, method, None)) for method in methods)


def _check(options: SessionOptions, name: str, right: bool, allowed: str) -> None:
    if not right:
        raise _refusal(name, getattr(options, name), allowed)


def _refusal(name: str, value: object, allowed: str) -> ConfigurationError:
    return ConfigurationError(f"`{name}` must be {allowed}, not {value!r}")
