"""Sessions for Litestar, as a plugin or as the configuration of a session middleware.

::

    from coatcheck.litestar import SessionConfig

    sessions = SessionConfig(secret=os.environ["SESSION_SECRET"], store="redis://localhost")

    @get("/")
    async def count(request: Request) -> int:
        request.session["visits"] = request.session.get("visits", 0) + 1
        return request.session["visits"]

    app = Litestar([count], plugins=[sessions])

Litestar makes one middleware for each route. All those of a configuration share its store. This
module needs Litestar 2.25 or later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias, Unpack

from litestar import plugins  # has no InitPlugin in releases that are refused below
from litestar.datastructures import MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.middleware.base import DefineMiddleware
from litestar.middleware.session.base import BaseBackendConfig, BaseSessionBackend
from litestar.middleware.session.base import SessionMiddleware as LitestarMiddleware
from litestar.types import Empty

from .asgi import SessionMiddleware
from .integration import require_version
from .options import OptionFields, SessionOptions
from .sessions import Sessions
from .store import AsyncStore, Store

if TYPE_CHECKING:
    from litestar.config.app import AppConfig
    from litestar.connection import ASGIConnection
    from litestar.types import Message, Receive, Scope, Scopes, Send

    Connection: TypeAlias = ASGIConnection[Any, Any, Any, Any]

__all__ = ["SessionBackend", "SessionConfig"]


def __dir__() -> list[str]:
    return __all__


require_version("litestar", "2.25")

#: Where a request has what is inside the middleware of its route.
_INSIDE: Final = "coatcheck.inside"


class SessionConfig(BaseBackendConfig["SessionBackend"], plugins.InitPlugin):
    """Configure the sessions of an application.

    As a plugin, ``plugins=[config]``, it also closes the store with the application. It can be
    given in parts as well, as Litestar's own configurations: ``middleware=[config.middleware]``,
    ``SessionAuth(session_backend_config=config, ...)``, ``TestClient(app, session_config=config)``.

    :param options: the options; keyword arguments of the same names win over them.
    :param exclude: a pattern or patterns of paths that have no session.
    :param exclude_opt_key: a route has no session where its ``opt`` has this key.
    :param scopes: the kinds of connections that have a session.
    :ivar key: the cookie's name.
    :raises ConfigurationError: an option that cannot work.
    :raises PluginError: ``store`` is a URL that no installed store opens.
    """

    def __init__(
        self,
        options: SessionOptions | None = None,
        *,
        exclude: str | list[str] | None = None,
        exclude_opt_key: str = "skip_session",
        scopes: Scopes | None = None,
        **kwargs: Unpack[OptionFields],
    ) -> None:
        self._backend_class = SessionBackend
        self._shared = SessionMiddleware(_go_inside, options, **kwargs)
        self.key: str = self.options.name
        self.exclude: str | list[str] | None = exclude
        self.exclude_opt_key: str = exclude_opt_key
        self.scopes: Scopes = scopes or {ScopeType.HTTP, ScopeType.WEBSOCKET}

    @property
    def options(self) -> SessionOptions:
        """The options."""
        return self._shared.options

    @property
    def store(self) -> Store | AsyncStore:
        """The store, which :class:`~coatcheck.Sessions` takes."""
        return self._shared.store

    @property
    def middleware(self) -> DefineMiddleware:
        """The middleware, for a list of middlewares."""
        return DefineMiddleware(_RouteSessions, backend=SessionBackend(self))

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the middleware, as the outermost, and close the store with the application."""
        app_config.middleware.insert(0, self.middleware)
        app_config.on_shutdown.append(self.close)
        return app_config

    async def _serve(self, inside: Any, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request.

        :param inside: the application inside the middleware of its route.
        """
        scope[_INSIDE] = inside  # type: ignore[typeddict-unknown-key]  # our own
        await self._shared(scope, receive, send)  # type: ignore[arg-type]  # Litestar's own types

    async def close(self) -> None:
        """Close the store, if it was opened here. A later request opens it again."""
        await self._shared.close()


async def _go_inside(scope: Any, receive: Any, send: Any) -> None:
    await scope.pop(_INSIDE)(scope, receive, send)


class _RouteSessions(LitestarMiddleware["SessionBackend"]):
    """The middleware of one route."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        await self.backend.config._serve(self.app, scope, receive, send)


class SessionBackend(BaseSessionBackend[SessionConfig]):
    """Set and read the session of a test client: ``TestClient(app, session_config=config)``."""

    def get_session_id(self, connection: Connection) -> str | None:
        """Return None: ids are nobody's business but the middleware's."""
        return None

    async def load_from_connection(self, connection: Connection) -> dict[str, Any]:
        """Return a copy of the session's data, which is empty where there is no session."""
        entry = await self._sessions().afind(self._cookies(connection))
        return {} if entry is None else entry.data

    async def store_in_message(
        self, scope_session: Any, message: Message, connection: Connection
    ) -> None:
        """Replace the data of the session; begin one where there is none, and end it if empty."""
        sessions = self._sessions()
        entry = await sessions.afind(self._cookies(connection))
        if scope_session is Empty or not scope_session:
            if entry is not None:
                await sessions.arevoke(entry.ref)
            return
        data: Mapping[str, Any] = scope_session

        def replace(present: dict[str, Any]) -> None:
            present.clear()
            present.update(data)

        if entry is None or await sessions.aupdate(entry.ref, replace) is None:
            is_https = connection.scope["scheme"] == "https"
            made = await sessions.acreate(data, https=is_https)
            MutableScopeHeaders.from_message(message).add("Set-Cookie", made.set_cookie)

    def _sessions(self) -> Sessions:
        return Sessions(self.config.store, self.config.options)

    def _cookies(self, connection: Connection) -> str:
        value = connection.cookies.get(self.config.key)
        return "" if value is None else f"{self.config.key}={value}"
