"""Sessions for ASGI applications: Starlette, FastAPI, Falcon and plain ones.

::

    app = SessionMiddleware(app, secret=os.environ["SESSION_SECRET"], store="redis://localhost")

The session is ``scope["session"]``, so Starlette's ``request.session`` works as it is;
:func:`coatcheck.session_of` finds it, too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextvars import Token
from functools import partial
from typing import Any, Final, TypeAlias, Unpack

from ._request.driver import AsyncDriver
from ._request.finding import SCOPE_KEY
from ._request.middleware import around, check_application, wsgi_names
from ._request.request_adapter import ASGIAdapter
from ._request.request_context import RequestContext
from ._request.request_steps import AsyncSteps
from ._request.response_headers import HeaderWriter
from ._request.set_cookie import NOTHING
from ._session.session_core import AsyncSessionCore
from .options import OptionFields, Request, SessionOptions
from .session import AsyncSession

__all__ = ["SessionMiddleware"]


def __dir__() -> list[str]:
    return __all__


Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]

_HEADERS: Final = HeaderWriter(str.encode, partial(str, encoding="latin-1"))
_HEADER_POINTS: Final = frozenset(
    {"http.response.start", "websocket.accept", "websocket.http.response.start"}
)
_BODIES: Final = frozenset(
    {"http.response.body", "http.response.zerocopysend", "websocket.http.response.body"}
)
_ENDS: Final = frozenset({"http.response.pathsend", "websocket.close"})


class SessionMiddleware(AsyncDriver):
    """Give each request of an ASGI application its session.

    :param app: the application.
    :param options: the options; keyword arguments of the same names win over them.
    :raises ConfigurationError: an option that cannot work.
    :raises PluginError: ``store`` is a URL that no installed store opens.
    """

    def __init__(
        self,
        app: ASGIApp,
        options: SessionOptions | None = None,
        **kwargs: Unpack[OptionFields],
    ) -> None:
        self.app = app
        check_application(app, "asgi")
        super().__init__(options, kwargs, _ScopeAdapter(), eager=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        kind = scope["type"]
        if self._closed:
            self._open_again()
        if kind not in ("http", "websocket"):
            await self.app(scope, receive, self._closing(send) if self._has_to_close else send)
            return
        run = self._fixed_run or self._run_of_loop()
        context = RequestContext(self._manager, scope, SCOPE_KEY)
        session = context.session = AsyncSessionCore(context, run)
        shown = AsyncSession(session)
        self._put(context, scope, SCOPE_KEY, shown)
        connection = _Connection(context, session, receive, send)
        told: Token[Any] | None = None
        try:
            if context.begin():
                await run(context.load())
            if wsgi_names and self.options.name in wsgi_names:
                told = around.set(
                    {**around.get(), self.options.name: (shown, partial(_is_bridged, context))}
                )
            receives = receive if kind == "http" else connection.receive
            await self.app(scope, receives, connection.send)
            if context.has_late_changes():
                await session.exclusively(context.commit_after_headers)
        except BaseException as error:
            await connection.give_up(error, self._waits)
            raise
        finally:
            if told is not None:
                around.reset(told)
        try:
            if context.must_abandon():
                await connection.abandon()
        finally:
            context.end()

    def _closing(self, send: Send) -> Send:
        async def send_and_close(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                await self.close()
            await send(message)

        return send_and_close


class _Connection(AsyncSteps):
    """Pass the messages of one connection on, between the application and the server.

    The steps that nearly always have nothing to wait for are written out, without a coroutine of
    their own: docs/decisions/2026-11-30-hot-path.md has the reason.

    :param context: decides what the messages mean to the session.
    """

    __slots__ = ("_receive", "_send", "_streams")

    def __init__(
        self, context: RequestContext, session: AsyncSessionCore, receive: Receive, send: Send
    ) -> None:
        self._context = context
        self._session = session
        self._receive = receive
        self._send = send
        #: Whether the body comes in parts. In a body of one part, which nearly always follows the
        #: headers at once, changes inside values are left to the check when the application
        #: ends.
        self._streams = False

    async def send(self, message: Message) -> None:
        kind = message["type"]
        context = self._context
        if not context.is_open:
            pass  # whatever it is, the session has no part in it
        elif kind in _HEADER_POINTS:
            changes = context.try_finish_without_store()
            if changes is None:
                changes = await self._session.exclusively(context.commit_before_headers)
            if changes is not NOTHING:
                headers = _HEADERS.changed(message.get("headers") or (), changes, context.manager)
                message = {**message, "headers": headers}
            # Where no cookie of ours came, a later use is no secret: nearly all such requests.
            if (
                not changes.vary
                and not self._session.has_no_cookie
                and kind == "http.response.start"
            ):
                message = self._note_unused(message)
        elif kind in _BODIES:
            if message.get("more_body", False):
                self._streams = True
            else:
                context.unused_headers = None
                if context.has_late_changes(self._streams):
                    await self._session.exclusively(context.commit_after_headers)
        elif kind in _ENDS:
            await self._end()
        await self._send(message)

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "websocket.disconnect" and self._context.is_open:
            await self._end()
        return message

    async def _end(self) -> None:
        self._context.sent_undecided()
        await self.commit_late()

    def _note_unused(self, message: Message) -> Message:
        headers = message.get("headers") or ()
        if type(headers) not in (list, tuple):  # it may be good for one reading
            headers = [*headers]
            message = {**message, "headers": headers}
        self._context.unused_headers = headers
        return message


def _is_bridged(context: RequestContext, environ: Request) -> bool:
    """Tell whether a WSGI request is an ASGI request that a bridge passed on.

    Another one is a request that the application itself makes of a WSGI application.
    """
    scope = context.request
    if not context.is_open:
        return False  # it is over
    cookies = [*context.manager.adapter.cookie_headers(scope)]
    path, root = scope["path"], scope.get("root_path", "")
    given = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return (
        environ.get("REQUEST_METHOD") == scope.get("method")
        and given.encode("latin-1").decode("utf-8", "replace") in (path, root + path)
        and environ.get("QUERY_STRING", "") == scope.get("query_string", b"").decode("latin-1")
        and environ.get("HTTP_COOKIE", "") in ("; ".join(cookies), ",".join(cookies))
    )


class _ScopeAdapter(ASGIAdapter):
    """Read ASGI scopes, and headers as ASGI's messages have them."""

    def may_be_shared(self, headers: Iterable[tuple[Any, Any]], now: float) -> bool:
        return _HEADERS.may_be_shared(headers, now)
