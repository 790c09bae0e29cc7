"""Sessions for aiohttp.web.

::

    import coatcheck.aiohttp
    from coatcheck import session_of

    async def count(request):
        session = session_of(request)
        session["visits"] = session.get("visits", 0) + 1
        return web.json_response(session)

    app = web.Application()
    coatcheck.aiohttp.setup(app, secret=os.environ["SESSION_SECRET"], store="redis://localhost")

``request[SESSION]`` is the session as well. This module needs aiohttp 3.14.5 or later; for code
that is written for aiohttp-session there is :mod:`coatcheck.aiohttp_session`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Unpack, cast

from aiohttp import web

from .errors import ConfigurationError
from .integration import (
    AsyncIntegration,
    AsyncRequestSession,
    RequestAdapter,
    check_set_up_once,
    keep_sessions_in,
    require_version,
)
from .options import OptionFields, Request, SessionOptions
from .session import AsyncSession

__all__ = ["SESSION", "SessionMiddleware", "setup"]


def __dir__() -> list[str]:
    return __all__


require_version("aiohttp", "3.14.5")

#: The key of a request under which its session is: ``request[SESSION]``.
SESSION: Final = web.RequestKey("coatcheck.session", AsyncSession)
#: The mapping that its sessions are opened in, also those of applications inside others.
_MAPPING: Final = web.RequestKey("coatcheck.mapping", dict)
#: By middleware, sessions on their way to the headers: those whose headers are not decided.
_OPENED: Final = web.RequestKey("coatcheck.opened", dict)
keep_sessions_in(web.BaseRequest, lambda request: request.get(_MAPPING))


def setup(
    app: web.Application, options: SessionOptions | None = None, **kwargs: Unpack[OptionFields]
) -> SessionMiddleware:
    """Give each request of an application its session.

    The middleware becomes the outermost, so all others have the session, too. It also saves the
    session of a response that a handler sends in pieces, before its headers go out.

    :param options: the options; keyword arguments of the same names win over them. Functions among
        them get a dict that has aiohttp's request: ``{"request": request}``.
    :returns: the middleware, with the ``store`` and the ``options`` that
        :class:`~coatcheck.Sessions` takes.
    :raises ConfigurationError: an option that cannot work, or ``app`` is no application of aiohttp,
        has started, or has a middleware of the same cookie name.
    :raises PluginError: ``store`` is a URL that no installed store opens.
    """
    if not isinstance(app, web.Application):
        raise ConfigurationError(
            f"`app` must be an aiohttp.web.Application, not {type(app).__name__}; the middlewares "
            "of ASGI and WSGI are in coatcheck.asgi and coatcheck.wsgi"
        )
    if app.frozen:
        raise ConfigurationError(
            "the application has started: call `coatcheck.aiohttp.setup(app, ...)` where it is made"
        )
    middleware = SessionMiddleware(options, **kwargs)
    check_set_up_once(app.middlewares, middleware)
    app.middlewares.insert(0, middleware)
    app.on_response_prepare.append(middleware._before_headers)
    middleware._is_set_up = True

    async def close(_: web.Application) -> None:
        await middleware.close()

    app.on_cleanup.append(close)
    return middleware


class SessionMiddleware(AsyncIntegration[AsyncSession]):
    """The middleware that :func:`setup` adds to an application.

    :param options: the options; keyword arguments of the same names win over them.
    """

    __middleware_version__ = 1  # so that aiohttp calls it with the request and the handler

    def __init__(
        self, options: SessionOptions | None = None, **kwargs: Unpack[OptionFields]
    ) -> None:
        super().__init__(_AiohttpAdapter(), options, **kwargs)
        self._is_set_up = False

    async def __call__(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Serve one request."""
        if not self._is_set_up:
            raise ConfigurationError(
                "a middleware alone cannot save the session of a streaming response: call "
                "`coatcheck.aiohttp.setup(app, ...)`, which adds the middleware, too"
            )
        mapping: dict[str, Any] = request.setdefault(_MAPPING, {"request": request})
        opened = await self.open(mapping)
        request.setdefault(_OPENED, {})[self] = opened
        outer = request.get(SESSION)
        request[SESSION] = opened.session
        answer: BaseException | None = None
        try:
            try:
                response = await handler(request)
            except web.HTTPException as raised:  # a response that is raised
                answer, response = raised, raised
            if isinstance(response, web.StreamResponse) and not response.prepared:
                await self._before_headers(request, response)
            await opened.save_late()
        except BaseException as error:
            await opened.fail(error)
            raise
        finally:
            if outer is not None:
                request[SESSION] = outer
        await opened.end()
        if answer is not None:
            raise answer
        return response

    async def _before_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        """Save the session, and give the response its cookie, once."""
        opened: AsyncRequestSession[AsyncSession] | None
        opened = request.get(_OPENED, {}).pop(self, None)
        if opened is not None and opened.is_open:
            headers = await opened.response_headers(list(response.headers.items()))
            if headers is not None:
                response.headers.clear()
                response.headers.extend(headers)


class _AiohttpAdapter(RequestAdapter):
    """Read requests of aiohttp."""

    def cookie_headers(self, request: Request) -> Sequence[str]:
        return _of(request).headers.getall("Cookie", ())

    def path(self, request: Request) -> str:
        return _of(request).rel_url.raw_path

    def is_https(self, request: Request) -> bool:
        return _of(request).secure

    def method(self, request: Request) -> str:
        return _of(request).method

    def header(self, request: Request, name: str) -> str | None:
        values = _of(request).headers.getall(name, ())
        return ", ".join(values) if values else None


def _of(request: Request) -> web.Request:
    return cast("web.Request", request["request"])
