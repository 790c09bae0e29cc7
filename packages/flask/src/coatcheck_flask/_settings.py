"""Read the settings of an application: Flask's, coatcheck's and those of Flask-Session."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from coatcheck import AsyncStore, CookieOptions, SessionOptions, Store
from coatcheck.errors import ConfigurationError, StoreError
from coatcheck.options import OptionFields

from . import _flask_session

#: The prefix of coatcheck's own settings: ``COATCHECK_STORE`` is the option ``store``.
PREFIX: Final = "COATCHECK_"
#: The setting that has the store looked for when the application starts.
CHECK: Final = "COATCHECK_CHECK_STORE"

#: Options that follow from settings of Flask, and these settings.
OF_FLASK: Final[Mapping[str, str]] = {
    "secret": "SECRET_KEY",
    "name": "SESSION_COOKIE_NAME",
    "cookie": "SESSION_COOKIE_DOMAIN, _PATH, _SECURE, _HTTPONLY, _SAMESITE and _PARTITIONED",
}
#: The settings behind the names that errors of the core have in backticks.
_SHOWN: Final[Mapping[str, str]] = {
    "secret": "SECRET_KEY",
    "name": "SESSION_COOKIE_NAME",
    "path": "SESSION_COOKIE_PATH",
    "domain": "SESSION_COOKIE_DOMAIN",
    "secure": "SESSION_COOKIE_SECURE",
    "http_only": "SESSION_COOKIE_HTTPONLY",
    "same_site": "SESSION_COOKIE_SAMESITE",
    "partitioned": "SESSION_COOKIE_PARTITIONED",
    "max_age": "PERMANENT_SESSION_LIFETIME",
    **{
        name: PREFIX + name.upper() for name in OptionFields.__annotations__ if name not in OF_FLASK
    },
}
#: The option `owner` for Flask-Login, which keeps the user's id there.
FLASK_LOGIN_KEY: Final = "_user_id"


class SettingsError(ConfigurationError, RuntimeError):
    """A setting of the application is missing or cannot work."""


class Application(Protocol):
    """Name what Flask and Quart applications have in common."""

    config: Any
    secret_key: Any
    permanent_session_lifetime: Any


class Interface(Protocol):
    """The methods of Flask's and Quart's session interfaces that read settings."""

    def get_cookie_name(self, app: Any) -> str: ...
    def get_cookie_domain(self, app: Any) -> str | None: ...
    def get_cookie_path(self, app: Any) -> str: ...
    def get_cookie_httponly(self, app: Any) -> bool: ...
    def get_cookie_secure(self, app: Any) -> bool: ...
    def get_cookie_samesite(self, app: Any) -> str | None: ...
    def get_cookie_partitioned(self, app: Any) -> bool: ...


class Current(NamedTuple):
    """The settings that Flask reads at each request, so that they may change at any time."""

    secret: Any
    fallbacks: tuple[Any, ...]
    name: str
    domain: str | None
    path: str
    http_only: bool
    secure: bool
    same_site: str | None
    partitioned: bool
    lifetime: Any
    permanent: bool


def current(app: Application, interface: Interface, permanent: bool) -> Current:
    """Return the present settings.

    :param permanent: whether sessions are permanent where ``SESSION_PERMANENT`` says nothing.
    """
    config = app.config
    return Current(
        app.secret_key,
        tuple(config.get("SECRET_KEY_FALLBACKS") or ()),
        interface.get_cookie_name(app),
        interface.get_cookie_domain(app),
        interface.get_cookie_path(app),
        interface.get_cookie_httponly(app),
        interface.get_cookie_secure(app),
        interface.get_cookie_samesite(app),
        interface.get_cookie_partitioned(app),
        app.permanent_session_lifetime,
        bool(config.get("SESSION_PERMANENT", permanent)),
    )


def options_of(settings: Current, fields: OptionFields) -> OptionFields:
    """Return the options that follow from the present settings, and from those that are fixed.

    :raises ConfigurationError: a setting cannot work.
    """
    domain, lifetime = settings.domain, settings.lifetime
    cookie = CookieOptions(
        path=settings.path,
        domain=domain.lstrip(".") if domain else None,
        max_age=lifetime,  # checked even where no session is permanent
        http_only=settings.http_only,
        secure=True if settings.secure else "auto",
        same_site=settings.same_site,  # type: ignore[arg-type]  # it is checked
        partitioned=settings.partitioned,
    )
    if not settings.permanent:
        cookie = CookieOptions(**{**_as_dict(cookie), "max_age": None})
    found: OptionFields = {
        "secret": (settings.secret, *settings.fallbacks),
        "name": settings.name,
        "cookie": cookie,
        "idle_timeout": lifetime,
        "owner": FLASK_LOGIN_KEY,
    }
    if settings.secure:
        found["https"] = True  # Flask sends the cookie then, whatever the server knows of TLS
    return {**found, **fields}


def _as_dict(cookie: CookieOptions) -> dict[str, Any]:
    return {name: getattr(cookie, name) for name in CookieOptions.__dataclass_fields__}


def fixed(
    config: Mapping[str, Any], options: SessionOptions | None, given: OptionFields
) -> OptionFields:
    """Return the options that are read once, when the extension is initialised.

    :param options: options that replace those that follow from Flask's settings.
    :param given: keyword arguments of the extension, which win over the configuration.
    :raises SettingsError: a setting is unknown, or cannot be understood.
    """
    fields: dict[str, Any] = {}
    for setting, value in config.items():
        if setting.startswith(PREFIX) and setting != CHECK:
            fields[setting.removeprefix(PREFIX).lower()] = value
    fields.update(given)
    for name in fields:
        if name in OF_FLASK:
            raise SettingsError(
                f"Flask has settings of its own for `{PREFIX}{name.upper()}`: set {OF_FLASK[name]}"
            )
    try:
        understood = _flask_session.options_of(config)
    except ConfigurationError as error:
        raise SettingsError(str(error)) from error
    if "store" in understood and "store" in fields:
        raise SettingsError(
            "`SESSION_TYPE` and `COATCHECK_STORE` both name a store: remove `SESSION_TYPE` and "
            "the settings of Flask-Session that belong to it"
        )
    if options is not None:
        shared = {name: getattr(options, name) for name in OptionFields.__annotations__}
        fields = {**shared, **fields}
    return OptionFields(**{**understood, **fields})  # type: ignore[typeddict-item]  # the core checks


class Made(Protocol):
    """An integration of the core."""

    options: SessionOptions

    @property
    def store(self) -> Store | AsyncStore: ...


M = TypeVar("M", bound=Made)


class Integrations(Generic[M]):
    """The integrations of one application, one for each combination of settings that it had.

    :param app: the application.
    :param interface: its session interface.
    :param make: makes an integration with some options.
    :param options: options that replace those that follow from Flask's settings, or None.
    :param given: keyword arguments of the extension.
    :raises SettingsError: a setting is missing or cannot work.
    """

    def __init__(
        self,
        app: Application,
        interface: Interface,
        make: Callable[[OptionFields], M],
        options: SessionOptions | None,
        given: OptionFields,
    ) -> None:
        self._app, self._interface, self._make = app, interface, make
        self._fields = fixed(app.config, options, given)
        #: Whether to look for the store when the application starts.
        self.checks_store: bool = bool(app.config.get(CHECK))
        self._permanent = _flask_session.is_used(app.config)
        self._made: dict[Current, M] = {}
        self._first: M | None = None
        self._first = self.first

    @property
    def first(self) -> M:
        """The integration that has opened the store, and closes it."""
        if self._first is None:
            self._first = self._make_first()
        return self._first

    @property
    def present(self) -> M:
        """The integration with the present settings; the first one where there is no secret."""
        found = self.current()
        return self.first if found is None else found[0]

    def forget(self) -> None:
        """Begin again with the next request, because the store is closed."""
        self._first = None
        self._made.clear()

    def current(self) -> tuple[M, Current] | None:
        """Return the integration with the present settings; None where there is no secret."""
        settings = current(self._app, self._interface, self._permanent)
        if self._first is None and self._has_secret(settings):
            self._first = self._make_first()
        found = self._made.get(settings)
        if found is None:
            if not self._has_secret(settings):
                return None
            found = self._add(settings, {**self._fields, "store": self.first.store})
        return found, settings

    def _make_first(self) -> M:
        settings = current(self._app, self._interface, self._permanent)
        if not self._has_secret(settings):
            raise SettingsError(
                '`SECRET_KEY` is not set: set `app.config["SECRET_KEY"]` before `Coatcheck(app)` '
                "or `init_app(app)`; `python -m coatcheck secret` prints a good one"
            )
        return self._add(settings, self._fields)

    def _has_secret(self, settings: Current) -> bool:
        return bool(settings.secret) or "secret" in self._fields

    def _add(self, settings: Current, fields: OptionFields) -> M:
        try:
            made = self._make(options_of(settings, fields))
        except ConfigurationError as error:
            raise SettingsError(in_flask_names(str(error))) from error
        if len(self._made) > 31:  # settings that follow from the request
            self._made.clear()
        self._made[settings] = made
        return made


def unreachable(error: StoreError) -> SettingsError:
    """Return the error for a store that is down when the application starts."""
    return SettingsError(
        f"the store cannot be reached ({type(error).__name__}: {error}): start it, correct "
        f"`COATCHECK_STORE`, or start without it by `{CHECK} = False`"
    )


def in_flask_names(text: str) -> str:
    """Return the text of an error with the names of settings instead of those of options."""
    return re.sub(r"`(\w+)`", lambda match: f"`{_SHOWN.get(match[1], match[1])}`", text)
