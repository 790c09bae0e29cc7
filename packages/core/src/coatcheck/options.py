"""Hold the options of a session middleware, and check them when they are made."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from typing import Any, Final, Literal, TypeAlias, TypedDict

from ._cookies.setting_checks import advising
from ._cookies.signing import check_secrets, url_safe
from ._records.merging import MergeRule
from ._records.session_writer import CONFLICT_SECONDS, Concurrency
from ._request.option_checks import (
    SEVERAL,
    check_age_is_known,
    check_choices,
    check_extension_points,
    checked_duration,
    checked_tuple,
)
from .codec import Codec, JSONCodec
from .cookie import CookieOptions
from .cookie_format import CookieFormat, NativeCookieFormat
from .errors import ConfigurationError
from .events import Observer
from .old_sessions import OldSessions
from .store import AsyncStore, Store, is_text

__all__ = [
    "CommonFields",
    "Duration",
    "Load",
    "OptionFields",
    "Request",
    "Secret",
    "SessionOptions",
    "random_id",
]


def __dir__() -> list[str]:
    return __all__


#: The argument of callables in options: the ASGI scope or the WSGI environ.
Request: TypeAlias = Mapping[str, Any]

Secret: TypeAlias = str | bytes | Sequence[str | bytes]
Duration: TypeAlias = float | timedelta
Load: TypeAlias = Literal["auto", "eager", "lazy"]

DEFAULT_LIFETIME: Final = 86400.0


def random_id(_request: Request) -> str:
    """Return 192 random bits in 32 characters."""
    return url_safe(os.urandom(24))


class CommonFields(TypedDict, total=False):
    """Type the fields of :class:`SessionOptions` that cookies and records do not depend on."""

    https: bool | None
    touch_interval: Duration | None
    keeps_alive: Callable[[Request], bool] | None
    concurrency: Concurrency
    conflict_timeout: Duration
    merge: Mapping[str, MergeRule]
    owner: str | Callable[[Mapping[str, Any]], str | None] | None
    load: Load
    on_store_error: Literal["raise", "anonymous"]
    clock: Callable[[], float]
    observers: Iterable[Observer]


class OptionFields(CommonFields, total=False):
    """Type the keyword arguments of the middlewares: the fields of :class:`SessionOptions`."""

    secret: Secret
    store: Store | AsyncStore | str | None
    name: str
    cookie: CookieOptions | Callable[[Request], CookieOptions]
    generate_id: Callable[[Request], str]
    trust_proxy: bool | Callable[[Request], bool] | None
    resave: bool
    rolling: bool
    save_uninitialized: bool
    unset: Literal["keep", "destroy"]
    idle_timeout: Duration | None
    absolute_timeout: Duration | None
    hash_ids: bool
    codec: Codec
    cookie_format: CookieFormat
    old_sessions: Iterable[OldSessions]


@advising(lambda name: f"there is no option `{name}`{_hint(name)}")
@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """Configure how sessions behave. Durations are seconds or timedeltas.

    :ivar secret: signs the cookie. If there are several, the first one signs and all verify. A
        cookie that verified with a later one is signed again with the first. To replace a secret,
        add the new one as the last in all processes, then move it to the front in all. Remove the
        old one when the longest lifetime of a session has passed.
    :ivar store: a store, a URL, or None for a memory store of this middleware's own.
    :ivar name: the cookie's name.
    :ivar cookie: the cookie's attributes, or a callable of the request that returns them.
    :ivar generate_id: makes an id for a request: 16 to 128 characters of ``A-Za-z0-9_-``. It is a
        plain function, because an id needs no waiting.
    :ivar trust_proxy: how to find out whether the client's connection is secure. With True, the
        first entry of X-Forwarded-Proto tells it, or without that header the first of Forwarded
        (RFC 7239). A callable gets the request and tells it. Otherwise the scheme of the server
        tells it.
    :ivar https: True if the client's connection is always secure, because TLS ends before this
        server. Headers are ignored then.
    :ivar resave: store a session at each request, modified or not.
    :ivar rolling: send the cookie with each response.
    :ivar save_uninitialized: store new sessions without data.
    :ivar unset: whether to ``"keep"`` or ``"destroy"`` a session that the application replaces by
        None.
    :ivar idle_timeout: a session without requests for that long ends, by the server's clock.
        A session's own ``session.cookie.max_age`` or ``expires`` wins over it. Default: the
        ``max_age`` or ``expires`` of ``cookie``, or a day.
    :ivar absolute_timeout: a session of that age ends, even if it is used and even if
        ``session.cookie`` says otherwise.
    :ivar touch_interval: the expiry of an unmodified session is moved at most this often, and with
        it that of a cookie with a ``max_age``. 0 moves them with each request. Default: a minute,
        or a tenth of the lifetime if that is less. If less than half of the lifetime is left when a
        session is loaded, the expiry is moved at once, so that a long request keeps its session.
    :ivar keeps_alive: a function of the request, which is the ASGI scope or the WSGI environ. It
        returns True if the request keeps the session alive, and False for pages that poll.
    :ivar concurrency: ``"merge"`` parallel changes key by key, raise an ``"error"``, or
        ``"last-write-wins"``.
    :ivar conflict_timeout: a change raises :class:`~coatcheck.errors.ConflictError` if other
        requests were faster for that long.
    :ivar merge: by key, a function (base, mine, theirs) that returns the value of a key which
        two requests have changed at the same time; :mod:`coatcheck.merge_rules` has some.
    :ivar hash_ids: give the store only the SHA-256 of ids, so a leaked database cannot be used to
        log in.
    :ivar codec: turns sessions into bytes.
    :ivar cookie_format: how the id is written in the cookie.
    :ivar old_sessions: readers of the sessions of other libraries, which go on as sessions of ours.
    :ivar owner: how the owner of a session is found: a key of the data, or a callable of the data.
        None if the application sets ``session.owner`` itself.
    :ivar load: when to read the store. ``"eager"`` reads it before the application runs.
        ``"lazy"`` reads it at the first use, so a session that is not used costs nothing.
        ``"auto"`` is eager under ASGI and lazy under WSGI.
    :ivar on_store_error: whether a failed load will ``"raise"`` at the first use, or the request
        goes on ``"anonymous"`` with an empty session that is never saved.
    :ivar clock: returns POSIX seconds.
    :ivar observers: are called with each :class:`~coatcheck.events.SessionEvent`.
    :raises ConfigurationError: an option has a value that cannot work. The message names the
        option, the value and what is allowed, but never a secret or a URL.
    """

    secret: Secret = field(repr=False)
    store: Store | AsyncStore | str | None = field(default=None, repr=False)
    name: str = "sid"
    cookie: CookieOptions | Callable[[Request], CookieOptions] = CookieOptions()
    generate_id: Callable[[Request], str] = random_id
    trust_proxy: bool | Callable[[Request], bool] | None = False
    https: bool | None = None
    resave: bool = False
    rolling: bool = False
    save_uninitialized: bool = False
    unset: Literal["keep", "destroy"] = "keep"
    idle_timeout: Duration | None = None
    absolute_timeout: Duration | None = None
    touch_interval: Duration | None = None
    keeps_alive: Callable[[Request], bool] | None = None
    concurrency: Concurrency = "merge"
    conflict_timeout: Duration = CONFLICT_SECONDS
    merge: Mapping[str, MergeRule] = field(default_factory=dict, hash=False)
    hash_ids: bool = True
    codec: Codec = JSONCodec()
    cookie_format: CookieFormat = NativeCookieFormat()
    old_sessions: Iterable[OldSessions] = ()
    owner: str | Callable[[Mapping[str, Any]], str | None] | None = None
    load: Load = "auto"
    on_store_error: Literal["raise", "anonymous"] = "raise"
    clock: Callable[[], float] = time.time
    observers: Iterable[Observer] = ()
    #: The secrets as bytes, the signing one first.
    secrets: tuple[bytes, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_choices(self)
        check_extension_points(self)
        for name, is_right, allowed in SEVERAL:
            object.__setattr__(self, name, checked_tuple(self, name, is_right, allowed))
        for name in ("idle_timeout", "absolute_timeout", "touch_interval", "conflict_timeout"):
            object.__setattr__(self, name, checked_duration(self, name))
        check_age_is_known(self)
        checked = check_secrets(self.secret, self.cookie_format.minimum_secret_bytes)
        object.__setattr__(self, "secrets", checked)

    def derived_owner(self, data: Mapping[str, Any]) -> str | None:
        """Return the owner that follows from a session's data, by the option ``owner``.

        :raises ConfigurationError: the option gives something else than a name.
        """
        rule = self.owner
        if rule is None:
            return None
        owner: object = data.get(rule) if isinstance(rule, str) else rule(data)
        if owner is None or owner == "":
            return None
        if isinstance(owner, str):
            if not is_text(owner):
                raise ConfigurationError("`owner` gave a string with lone surrogates")
            return owner
        if isinstance(owner, int) and not isinstance(owner, bool):
            return str(owner)
        raise ConfigurationError(
            f"`owner` must give a string, an integer or None, not {type(owner).__name__}"
        )


def make_options(options: SessionOptions | None, fields_given: OptionFields) -> SessionOptions:
    """Return the options of a middleware: given options, with keyword arguments laid over them.

    :raises ConfigurationError: an option is unknown or impossible, or there is no secret.
    """
    given: object = options
    if not (given is None or isinstance(given, SessionOptions)):
        raise ConfigurationError(
            f"`options` must be SessionOptions or None, not {type(given).__name__}"
            + ("; options are given by name: `secret=...`" * isinstance(given, str | bytes))
        )
    for name in fields_given:
        if name not in _NAMES:
            raise ConfigurationError(f"there is no option `{name}`{_hint(name)}")
    if options is not None:
        return replace(options, **fields_given)
    if "secret" not in fields_given:
        raise ConfigurationError(
            "`secret` is required; `python -m coatcheck secret` prints a good one"
        )
    return SessionOptions(**fields_given)


def _hint(name: str) -> str:
    """Return what to write instead of an option that does not exist."""
    plain = name.replace("_", "").lower()
    if plain in _COOKIE_SETTINGS:
        setting = _COOKIE_SETTINGS[plain]
        return f"; it is a setting of the cookie: `cookie=CookieOptions({setting}=...)`"
    if plain in _FOREIGN:
        return f"; here it is `{_FOREIGN[plain]}`"
    import difflib

    near = difflib.get_close_matches(name.lower(), _NAMES, n=1)
    return f"; did you mean `{near[0]}`?" if near else f"; there are {', '.join(_NAMES)}"


_COOKIE_SETTINGS: Final = {
    option.name.replace("_", ""): option.name for option in fields(CookieOptions)
}
#: Names that other libraries use, without underscores, and our options for them.
_FOREIGN: Final = {
    **dict.fromkeys(("sessioncookie", "sessioncookiename", "cookiename", "key"), "name=..."),
    **dict.fromkeys(("secretkey", "sessionsecret", "signingkey"), "secret=..."),
    **dict.fromkeys(
        ("httpsonly", "cookiehttpsonly", "sessioncookiesecure", "cookiesecure"),
        "cookie=CookieOptions(secure=True)",
    ),
    **{
        f"{prefix}{plain}": f"cookie=CookieOptions({setting}=...)"
        for plain, setting in _COOKIE_SETTINGS.items()
        for prefix in ("cookie", "sessioncookie")
        if plain != "secure"
    },
    **dict.fromkeys(("lifetime", "ttl", "sessionlifetime"), "idle_timeout=..."),
    **dict.fromkeys(("backend", "sessionstore", "storage"), "store=..."),
    "genid": "generate_id=...",
    "proxy": "trust_proxy=...",
}
_NAMES: Final = tuple(option.name for option in fields(SessionOptions) if option.init)
