"""Sessions for Sanic.

::

    import coatcheck.sanic

    app = Sanic("shop")
    coatcheck.sanic.setup(app, secret=os.environ["SESSION_SECRET"], store="redis://localhost")

    @app.get("/")
    async def count(request):
        session = request.ctx.session
        session["visits"] = session.get("visits", 0) + 1
        return json(session)

``session_of(request)`` is the session as well. This module needs Sanic 25.12 or later.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Final, TypeAlias, Unpack, cast

from sanic import HTTPResponse, Request, Sanic
from sanic.exceptions import SanicException
from sanic.response import BaseHTTPResponse

from .errors import ConfigurationError
from .integration import (
    AsyncIntegration,
    AsyncRequestSession,
    RequestAdapter,
    check_set_up_once,
    keep_sessions_in,
    require_version,
)
from .options import OptionFields, SessionOptions
from .options import Request as Mapped
from .session import AsyncSession

__all__ = ["SanicSessions", "setup"]


def __dir__() -> list[str]:
    return __all__


require_version("sanic", "25.12")

AnyApp: TypeAlias = Sanic[Any, Any]
AnyRequest: TypeAlias = Request[Any, Any]

#: Before all other middlewares, and after all others when the response goes back.
_OUTERMOST: Final = 1_000_000


def setup(
    app: AnyApp, options: SessionOptions | None = None, **kwargs: Unpack[OptionFields]
) -> SanicSessions:
    """Give each request of an application its session.

    :param options: the options; keyword arguments of the same names win over them. Functions among
        them get a dict that has Sanic's request: ``{"request": request}``.
    :returns: what has the ``store`` and the ``options`` that :class:`~coatcheck.Sessions` takes.
    :raises ConfigurationError: an option that cannot work, or ``app`` is no application of Sanic,
        or has sessions of the same cookie name.
    :raises PluginError: ``store`` is a URL that no installed store opens.
    """
    if not isinstance(app, Sanic):
        raise ConfigurationError(
            f"`app` must be a sanic.Sanic, not {type(app).__name__}; the middlewares of ASGI and "
            "WSGI are in coatcheck.asgi and coatcheck.wsgi"
        )
    sessions = SanicSessions(options, **kwargs)
    hooks = [each.func for each in app.request_middleware]
    check_set_up_once([getattr(hook, "__self__", None) for hook in hooks], sessions)
    app.register_middleware(sessions._begin, "request", priority=_OUTERMOST)
    app.register_middleware(sessions._before_headers, "response", priority=_OUTERMOST)
    app.add_signal(sessions._before_handler, "http.handler.before")
    app.add_signal(sessions._after_handler, "http.handler.after")
    app.add_signal(sessions._failed, "http.lifecycle.exception")
    app.register_listener(sessions._stopped, "after_server_stop")
    return sessions


class _Progress:
    """Note how far a request is with one of its sessions.

    :ivar is_handled: whether the handler runs.
    :ivar has_headers: whether the headers of the response are decided.
    """

    def __init__(self, opened: AsyncRequestSession[AsyncSession]) -> None:
        self.opened = opened
        self.is_handled = self.has_headers = False


class _RequestSessions:
    """Hold all sessions of a request.

    :ivar mapping: what they were opened in.
    :ivar by_sessions: each, by what :func:`setup` made.
    """

    def __init__(self, request: AnyRequest) -> None:
        self.mapping: dict[str, Any] = {"request": request}
        self.by_sessions: dict[SanicSessions, _Progress] = {}


def _sessions_of(request: AnyRequest) -> _RequestSessions | None:
    return getattr(request.ctx, "coatcheck", None)


def _mapping_of(request: AnyRequest) -> dict[str, Any] | None:
    sessions = _sessions_of(request)
    return None if sessions is None else sessions.mapping


keep_sessions_in(Request, _mapping_of)


class SanicSessions(AsyncIntegration[AsyncSession]):
    """The middlewares and signal handlers that :func:`setup` adds to an application.

    :param options: the options; keyword arguments of the same names win over them.
    """

    def __init__(
        self, options: SessionOptions | None = None, **kwargs: Unpack[OptionFields]
    ) -> None:
        super().__init__(_SanicAdapter(), options, **kwargs)

    async def _begin(self, request: AnyRequest) -> None:
        """Open the session of a request."""
        sessions = _sessions_of(request)
        if sessions is None:
            sessions = request.ctx.coatcheck = _RequestSessions(request)
        opened = await self.open(sessions.mapping)
        sessions.by_sessions[self] = _Progress(opened)
        request.ctx.session = opened.session

    async def _before_handler(self, request: AnyRequest) -> None:
        """Note that the handler begins. No cookie can be added to the handshake of a WebSocket."""
        progress = self._progress_of(request)
        if progress is not None:
            progress.is_handled = True
            if request.scheme in ("ws", "wss"):
                progress.has_headers = True
                progress.opened.headers_are_sent()

    async def _before_headers(
        self, request: AnyRequest, response: BaseHTTPResponse
    ) -> HTTPResponse | None:
        """Save the session, and give the response its cookie.

        Sanic would only log an error here, and send the response as if the session were saved.
        """
        progress = self._progress_of(request)
        if progress is None or progress.has_headers or not progress.opened.is_open:
            return None
        progress.has_headers = True
        try:
            headers = await progress.opened.response_headers(list(response.headers.items()))
        except Exception as error:
            await progress.opened.fail(error)
            page: Any = request.app.error_handler.response(request, error)
            return cast("HTTPResponse", await page if inspect.isawaitable(page) else page)
        if headers is not None:
            response.headers.clear()
            response.headers.extend(headers)
        if not progress.is_handled:
            await progress.opened.end()
        return None

    async def _after_handler(self, request: AnyRequest) -> None:
        """Save what a stream or a WebSocket has changed since its headers."""
        progress = self._progress_of(request)
        if progress is not None:
            progress.is_handled = False
            if progress.has_headers:
                await progress.opened.save_late()
                await progress.opened.end()

    async def _failed(self, request: AnyRequest, exception: BaseException) -> None:
        """Drop the changes where the handler raised, unless what it raised is a response."""
        progress = self._progress_of(request)
        if progress is None or not progress.opened.is_open:
            return
        progress.is_handled = False
        if progress.has_headers:
            await progress.opened.fail(exception)
        elif not isinstance(exception, SanicException):
            await progress.opened.discard()

    async def _stopped(self, app: AnyApp) -> None:
        """Close the store when the server stops, if it was opened here."""
        await self.close()

    def _progress_of(self, request: AnyRequest) -> _Progress | None:
        sessions = _sessions_of(request)
        return None if sessions is None else sessions.by_sessions.get(self)


class _SanicAdapter(RequestAdapter):
    """Read requests of Sanic."""

    def cookie_headers(self, request: Mapped) -> Sequence[str]:
        return _of(request).headers.getall("cookie", ())

    def path(self, request: Mapped) -> str:
        return _of(request).raw_url.decode("latin-1").partition("?")[0]

    def is_https(self, request: Mapped) -> bool:
        return _of(request).scheme in ("https", "wss")

    def method(self, request: Mapped) -> str:
        return _of(request).method

    def header(self, request: Mapped, name: str) -> str | None:
        values = _of(request).headers.getall(name, ())
        return ", ".join(values) if values else None


def _of(request: Mapped) -> AnyRequest:
    return cast("AnyRequest", request["request"])
