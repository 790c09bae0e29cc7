"""Build sessions into a framework whose own hooks open and save them.

For authors of framework integrations: applications use an integration or a middleware. An
integration keeps one :class:`SyncIntegration`, or :class:`AsyncIntegration`, for each application,
and for each request

1. calls :meth:`~SyncIntegration.open` before the application uses the session;
2. gives the response headers to :meth:`~SyncRequestSession.response_headers` before they are sent,
   and sends what it gets back;
3. calls :meth:`~SyncRequestSession.save_late` before the last piece of a body that the application
   still produces, or sends :meth:`~SyncRequestSession.body` instead of it;
4. calls :meth:`~SyncRequestSession.end` when the response is complete, or
   :meth:`~SyncRequestSession.fail` instead where the application raised and no response goes out.
   A synchronous :meth:`~SyncRequestSession.body` does this, too.

::

    sessions = SyncIntegration(WSGIAdapter(), secret=SECRET, store=STORE)

    def handle(environ):
        opened = sessions.open(environ)
        try:
            response = call_the_application(environ, opened.session)
            headers = opened.response_headers(response.headers)
        except BaseException as error:
            opened.fail(error)
            raise
        if headers is not None:
            response.headers = headers
        opened.end()
        return response

The asynchronous classes have the same methods; those that may call the store are awaited.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping, Sequence
from typing import Any, Generic, TypeVar, Unpack, cast

from ._request.driver import AsyncDriver, SyncDriver, ping
from ._request.finding import keep_sessions_in
from ._request.framework_versions import require_version
from ._request.request_adapter import (
    ASGIAdapter,
    RequestAdapter,
    WSGIAdapter,
    is_complete_body,
)
from ._request.request_context import RequestContext
from ._request.request_session import AsyncRequestSession, Headers, SyncBody, SyncRequestSession
from ._session.data_end import watch_end
from ._session.session_core import AsyncSessionCore, SyncSessionCore
from ._session.session_dict import core_of
from .cookie import CookieOptions
from .errors import ConfigurationError
from .options import OptionFields, SessionOptions
from .session import AsyncSession, Session, SyncSession

__all__ = [
    "ASGIAdapter",
    "AsyncIntegration",
    "AsyncRequestSession",
    "Headers",
    "RequestAdapter",
    "SyncBody",
    "SyncIntegration",
    "SyncRequestSession",
    "WSGIAdapter",
    "check_set_up_once",
    "configured_cookie",
    "current_time",
    "end_unchanged",
    "is_complete_body",
    "keep_sessions_in",
    "require_version",
    "run_command_line",
    "watch_end",
]


def __dir__() -> list[str]:
    return __all__


S = TypeVar("S", bound=SyncSession)
A = TypeVar("A", bound=AsyncSession)


class SyncIntegration(SyncDriver, Generic[S]):
    """Open the sessions of an application's requests, in synchronous code.

    :param adapter: reads the requests.
    :param options: the options; keyword arguments of the same names win over them.
    :param session_class: the class of the sessions: SyncSession, or a subclass without an
        ``__init__`` of its own.
    :param place: the key under which a request has its session.
    :param eager: whether ``load="auto"`` loads a session when it is opened, and not at its first
        use.
    :param everywhere: whether requests outside the cookie's path have a session, too, which may
        send a cookie. A framework that does so mostly serves a part of a site's paths.
    :ivar options: the options.
    :ivar store: the store, which :class:`~coatcheck.Sessions` takes.
    :raises ConfigurationError: an option that cannot work.
    :raises PluginError: ``store`` is a URL that no installed store opens.
    """

    _opens_again = True

    def __init__(
        self,
        adapter: RequestAdapter,
        options: SessionOptions | None = None,
        *,
        session_class: type[S] = SyncSession,  # type: ignore[assignment]  # where nobody asks for another
        place: str = "coatcheck.session",
        eager: bool = False,
        everywhere: bool = False,
        **kwargs: Unpack[OptionFields],
    ) -> None:
        super().__init__(options, kwargs, adapter, eager=eager)
        self._manager.everywhere |= everywhere
        self._session_class = session_class
        self._place = place

    def open(
        self, request: MutableMapping[str, Any], *, extends_at_load: bool = True
    ) -> SyncRequestSession[S]:
        """Open the session of a request, and put it into the request.

        A request without a good cookie costs no call of the store.

        :param request: any mapping that the adapter can read. Functions among the options get it.
        :param extends_at_load: whether loading a session that expires soon moves its expiry.
            Otherwise that is decided with the response.
        :raises ConfigurationError: a middleware or another integration of the same cookie name
            serves the request, or a function among the options returned what it must not.
        """
        if self._closed:
            self._open_again()
        context = RequestContext(self._manager, request, self._place)
        core = context.session = SyncSessionCore(context, self._runner.run)
        session = self._session_class(core)
        self._put(context, request, self._place, session)
        loads = context.begin()
        if not extends_at_load:
            context.keep_alive.extends_at_load = False
        if loads:
            core.run(context.load())
        return SyncRequestSession(context, core, session)

    def ping(self) -> None:
        """Check that the store can be reached, as an application may do when it starts.

        :raises StoreError: it cannot be reached.
        """
        if self._closed:
            self._open_again()
        self._runner.run(ping())


class AsyncIntegration(AsyncDriver, Generic[A]):
    """Open the sessions of an application's requests, in asynchronous code.

    The parameters are those of :class:`SyncIntegration`; ``session_class`` is AsyncSession, or a
    subclass without an ``__init__`` of its own.
    """

    _opens_again = True

    def __init__(
        self,
        adapter: RequestAdapter,
        options: SessionOptions | None = None,
        *,
        session_class: type[A] = AsyncSession,  # type: ignore[assignment]  # where nobody asks for another
        place: str = "session",
        eager: bool = True,
        everywhere: bool = False,
        **kwargs: Unpack[OptionFields],
    ) -> None:
        super().__init__(options, kwargs, adapter, eager=eager)
        self._manager.everywhere |= everywhere
        self._session_class = session_class
        self._place = place

    async def open(
        self, request: MutableMapping[str, Any], *, extends_at_load: bool = True
    ) -> AsyncRequestSession[A]:
        """Open the session of a request: see :meth:`SyncIntegration.open`."""
        if self._closed:
            self._open_again()
        run = self._fixed_run or self._run_of_loop()
        context = RequestContext(self._manager, request, self._place)
        core = context.session = AsyncSessionCore(context, run)
        session = self._session_class(core)
        self._put(context, request, self._place, session)
        loads = context.begin()
        if not extends_at_load:
            context.keep_alive.extends_at_load = False
        if loads:
            await run(context.load())
        return AsyncRequestSession(context, core, session, self._waits)

    async def ping(self) -> None:
        """Check that the store can be reached: see :meth:`SyncIntegration.ping`."""
        if self._closed:
            self._open_again()
        run = self._fixed_run or self._run_of_loop()
        await run(ping())


def current_time(session: Session) -> float:
    """Return the POSIX time in seconds, by the clock that the session lives by.

    :param session: the session of a request.
    """
    return core_of(session).contents.settings.clock()


def configured_cookie(session: Session) -> CookieOptions:
    """Return the cookie settings that the options have for the request of a session.

    The session's own settings, ``session.cookie``, win over them.

    :param session: the session of a request.
    """
    return core_of(session).contents.settings.cookie


async def end_unchanged(session: AsyncSession) -> None:
    """End a session that was emptied: see :meth:`SyncRequestSession.end_unchanged`.

    :param session: the session of a request, for code that has nothing else of it.
    """
    core = cast("AsyncSessionCore", core_of(session))
    context = cast("RequestContext", core.backend)
    await core.exclusively(context.ending.end_unchanged)


def check_set_up_once(present: Iterable[object], added: SyncDriver | AsyncDriver) -> None:
    """Check that an application has no integration of the same cookie name yet.

    :param present: what the application has; anything else than an integration does not matter.
    :param added: the integration that is about to be added.
    :raises ConfigurationError: it has one. Each request would find out otherwise.
    """
    name = added.options.name
    if any(isinstance(each, type(added)) and each.options.name == name for each in present):
        raise ConfigurationError(
            f"the application has sessions of the name {name!r} already: set them up once, or give "
            "the second ones another `name`"
        )


def run_command_line(arguments: Sequence[str], program: str) -> int:
    """Run a command of ``python -m coatcheck`` as a command of the framework's command line.

    :param arguments: the arguments after the program's name.
    :param program: its name in help texts, such as ``flask coatcheck``.
    :returns: the exit status.
    """
    from ._command_line.commands import main

    return main(arguments, program)
