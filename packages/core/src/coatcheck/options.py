"""Hold the options of a session middleware, and check them when they are made."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date, timedelta
from typing import Any, Final, Literal, TypeAlias, TypedDict

from ._cookies.setting_checks import advising, check_plain, checked_seconds
from ._cookies.signing import check_secrets, url_safe
from ._records.merging import MergeRule
from ._records.session_writer import CONFLICT_SECONDS, Concurrency
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
        for name in ("resave", "rolling", "save_uninitialized", "hash_ids"):
            self._check(name, isinstance(getattr(self, name), bool), "True or False")
        trusts = self.trust_proxy is None or isinstance(self.trust_proxy, bool)
        trusts = trusts or (callable(self.trust_proxy) and not isinstance(self.trust_proxy, type))
        self._check("trust_proxy", trusts, "True, False or a callable of the request")
        is_bool = self.https is None or isinstance(self.https, bool)
        self._check("https", is_bool, "True or None")
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            choices = " or ".join(f'"{choice}"' for choice in allowed)
            self._check(name, isinstance(value, str) and value in allowed, choices)
        self._check_extension_points()
        self._check("conflict_timeout", self.conflict_timeout is not None, "seconds or a timedelta")
        for name in ("idle_timeout", "absolute_timeout", "touch_interval", "conflict_timeout"):
            zero = name == "touch_interval"
            object.__setattr__(
                self, name, checked_seconds(f"`{name}`", getattr(self, name), zero=zero)
            )
        if self.absolute_timeout is not None and not getattr(self.codec, "keeps_created_at", True):
            raise ConfigurationError(
                "`absolute_timeout` cannot work with this codec: its records do not say when a "
                "session began"
            )
        checked = check_secrets(self.secret, self.cookie_format.minimum_secret_bytes)
        object.__setattr__(self, "secrets", checked)

    def _check_extension_points(self) -> None:
        if not (self.store is None or isinstance(self.store, Store | AsyncStore | str)):
            raise ConfigurationError(
                "`store` must be a coatcheck.Store, a coatcheck.AsyncStore, a URL or None, "
                f"not {type(self.store).__name__}"
                + ("; for a folder it is `file:///folder`" * hasattr(self.store, "__fspath__"))
            )
        if isinstance(self.cookie, CookieOptions):
            self.cookie.check_name(self.name)
        else:
            takes_requests = callable(self.cookie) and not isinstance(self.cookie, type)
            self._check("cookie", takes_requests, "CookieOptions(...) or a callable of the request")
            CookieOptions().check_name(self.name)
        self._check_callables()
        self._check_rules()
        codec_methods = ("dumps", "pack", "loads")
        self._check("codec", _has(self.codec, codec_methods, "canonical"), "a Codec")
        self._check(
            "cookie_format",
            _has(self.cookie_format, ("bind",), "minimum_secret_bytes"),
            "a CookieFormat",
        )
        self._check_several("observers", callable, "callables of a SessionEvent")
        for observer in self.observers:
            check_plain("an observer", observer)
        self._check_several(
            "old_sessions",
            lambda each: isinstance(each, OldSessions),
            "a list of readers, such as StarletteSessions(...)",
        )

    def _check_several(self, name: str, is_right: Callable[[Any], bool], allowed: str) -> None:
        try:
            object.__setattr__(self, name, tuple(getattr(self, name)))
        except TypeError:
            self._check(name, False, allowed)
        self._check(name, all(map(is_right, getattr(self, name))), allowed)

    def _check_callables(self) -> None:
        for name in ("generate_id", "clock"):
            self._check(name, callable(getattr(self, name)), "a callable")
        for name in ("generate_id", "clock", "keeps_alive", "cookie", "trust_proxy", "owner"):
            check_plain(f"`{name}`", getattr(self, name))
        of_dates = getattr(self.clock, "__self__", None)
        if isinstance(of_dates, type) and issubclass(of_dates, date):
            raise ConfigurationError(
                "`clock` must return POSIX seconds, as time.time does, not a datetime"
            )
        for name in ("generate_id", "keeps_alive", "cookie", "trust_proxy"):
            self._check_arguments(f"`{name}`", getattr(self, name), "a request")
        self._check_arguments("`owner`", self.owner, "the data")
        self._check(
            "keeps_alive",
            self.keeps_alive is None or callable(self.keeps_alive),
            "a callable or None",
        )
        self._check(
            "owner",
            self.owner is None
            or callable(self.owner)
            or bool(isinstance(self.owner, str) and self.owner),
            "a key of the data, a callable or None",
        )

    def _check_rules(self) -> None:
        rules = self.merge if isinstance(self.merge, Mapping) else {"": None}
        right = all(isinstance(key, str) and callable(rule) for key, rule in rules.items())
        self._check("merge", right, "a mapping of keys to callables (base, mine, theirs)")
        for key, rule in rules.items():
            self._check_arguments(f"`merge`: the rule of {key!r}", rule, "base", "mine", "theirs")
            check_plain(f"`merge`: the rule of {key!r}", rule)
        if rules and self.concurrency != "merge":
            raise ConfigurationError('the rules of `merge` need `concurrency="merge"`')

    @staticmethod
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

    def _check(self, name: str, right: bool, allowed: str) -> None:
        if not right:
            raise ConfigurationError(f"`{name}` must be {allowed}, not {getattr(self, name)!r}")

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
    if not (options is None or isinstance(options, SessionOptions)):
        raise ConfigurationError(
            f"`options` must be SessionOptions or None, not {type(options).__name__}"
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


def _has(value: object, methods: tuple[str, ...], attribute: str) -> bool:
    if isinstance(value, type) or not hasattr(value, attribute):
        return False
    return all(callable(getattr(value, method, None)) for method in methods)


_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "unset": ("keep", "destroy"),
    "concurrency": ("merge", "error", "last-write-wins"),
    "load": ("auto", "eager", "lazy"),
    "on_store_error": ("raise", "anonymous"),
}
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
