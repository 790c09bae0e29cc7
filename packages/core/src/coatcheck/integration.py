"""Build sessions into a framework whose own hooks open and save them.

For authors of framework integrations: applications use an integration or a middleware. An
integration keeps one :class:`SyncIntegration`, or :class:`AsyncIntegration`, for each application,
and for each request

1. calls :meth:`~SyncIntegration.open` before the application uses the session;
2. gives the response headers to :meth:`~SyncRequestSession.response_headers` before they are sent,
   and sends what it gets back;
3. calls :meth:`~SyncRequestSession.save_late` before the last piece of a body that the application
   still produces, or iterates over :meth:`~SyncRequestSession.body` instead of it;
4. calls :meth:`~SyncRequestSession.end` when the response is complete, or
   :meth:`~SyncRequestSession.fail` instead where the application raised and no response goes out.

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

from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Iterable,
    Iterator,
    MutableMapping,
    Sequence,
)
from typing import Any, Final, Generic, TypeAlias, TypeVar, Unpack

from ._request.driver import AsyncDriver, SyncDriver, ping
from ._request.finding import keep_sessions_in
from ._request.request_adapter import ASGIAdapter, RequestAdapter, WSGIAdapter
from ._request.request_context import RequestContext
from ._request.request_steps import AsyncSteps, SyncSteps
from ._request.response_headers import HeaderWriter
from ._request.set_cookie import NOTHING, HeaderChanges
from ._session.session_core import AsyncSessionCore, SyncSessionCore
from ._session.session_dict import core_of
from ._stores.bridge import runs_trio
from .options import OptionFields, SessionOptions
from .session import AsyncSession, Session, SyncSession

__all__ = [
    "ASGIAdapter",
    "AsyncIntegration",
    "AsyncRequestSession",
    "Headers",
    "RequestAdapter",
    "SyncIntegration",
    "SyncRequestSession",
    "WSGIAdapter",
    "keep_sessions_in",
    "run_command_line",
]


def __dir__() -> list[str]:
    return __all__


#: The headers of a response, as pairs of names and values.
Headers: TypeAlias = Iterable[tuple[str, str]]

S = TypeVar("S", bound=SyncSession)
A = TypeVar("A", bound=AsyncSession)
T = TypeVar("T")

_HEADERS: Final = HeaderWriter(str, str)


class SyncIntegration(SyncDriver, Generic[S]):
    """Open the sessions of an application's requests, in synchronous code.

    :param adapter: reads the requests.
    :param options: the options; keyword arguments of the same names win over them.
    :param session_class: the class of the sessions: SyncSession, or a subclass without an
        ``__init__`` of its own.
    :param place: the key under which a request has its session.
    :param eager: whether ``load="auto"`` loads a session when it is opened, and not at its first
        use.
    :ivar options: the options.
    :ivar store: the store, which :class:`~coatcheck.Sessions` takes.
    :raises ConfigurationError: an option that cannot work.
    :raises PluginError: ``store`` is a URL that no installed store opens.
    """

    def __init__(
        self,
        adapter: RequestAdapter,
        options: SessionOptions | None = None,
        *,
        session_class: type[S] = SyncSession,  # type: ignore[assignment]  # where nobody asks for another
        place: str = "coatcheck.session",
        eager: bool = False,
        **kwargs: Unpack[OptionFields],
    ) -> None:
        super().__init__(options, kwargs, adapter, eager=eager)
        self._session_class = session_class
        self._place = place

    def open(self, request: MutableMapping[str, Any]) -> SyncRequestSession[S]:
        """Open the session of a request, and put it into the request.

        A request without a good cookie costs no call of the store.

        :param request: any mapping that the adapter can read. Functions among the options get it.
        :raises ConfigurationError: a middleware or another integration of the same cookie name
            serves the request, or a function among the options returned what it must not.
        """
        if self._closed:
            self._open_again()
        context = RequestContext(self._manager, request, self._place)
        core = context.session = SyncSessionCore(context, self._runner.run)
        session = self._session_class(core)
        _put(context, request, self._place, self._own_key, session)
        if context.begin():
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

    def __init__(
        self,
        adapter: RequestAdapter,
        options: SessionOptions | None = None,
        *,
        session_class: type[A] = AsyncSession,  # type: ignore[assignment]  # where nobody asks for another
        place: str = "session",
        eager: bool = True,
        **kwargs: Unpack[OptionFields],
    ) -> None:
        super().__init__(options, kwargs, adapter, eager=eager)
        self._session_class = session_class
        self._place = place

    async def open(self, request: MutableMapping[str, Any]) -> AsyncRequestSession[A]:
        """Open the session of a request: see :meth:`SyncIntegration.open`."""
        if self._closed:
            self._open_again()
        run = self._run_on_trio() if self._asyncio_only and runs_trio() else self._run
        context = RequestContext(self._manager, request, self._place)
        core = context.session = AsyncSessionCore(context, run)
        session = self._session_class(core)
        _put(context, request, self._place, self._own_key, session)
        if context.begin():
            await run(context.load())
        return AsyncRequestSession(context, core, session, self._waits)

    async def ping(self) -> None:
        """Check that the store can be reached: see :meth:`SyncIntegration.ping`."""
        if self._closed:
            self._open_again()
        run = self._run_on_trio() if self._asyncio_only and runs_trio() else self._run
        await run(ping())


def run_command_line(arguments: Sequence[str], program: str) -> int:
    """Run a command of ``python -m coatcheck`` as a command of the framework's command line.

    :param arguments: the arguments after the program's name.
    :param program: its name in help texts, such as ``flask coatcheck``.
    :returns: the exit status.
    """
    from ._command_line.commands import main

    return main(arguments, program)


def _put(
    context: RequestContext,
    request: MutableMapping[str, Any],
    place: str,
    own_key: str,
    session: Session,
) -> None:
    """Put a session where the application finds it.

    A framework may open the session of a request several times, as for each event of a WebSocket
    that shares one environ. Then the newest one is found, and the others can be saved, too.
    """
    present: Session | None = request.get(own_key)
    if present is not None and core_of(present).backend.manager is context.manager:
        request[own_key] = request[place] = session
    elif present is not None or place in request:
        context.place.take(session, own_key)
    else:
        request[own_key] = request[place] = session


class SyncRequestSession(Generic[S]):
    """The session of one request, on its way from the cookie that came to the one that goes.

    :ivar session: what the application uses.
    """

    __slots__ = ("_context", "_core", "_steps", "session")

    def __init__(self, context: Any, core: Any, session: S) -> None:
        # A RequestContext and a SyncSessionCore, which are not public.
        self._context: RequestContext = context
        self._core: SyncSessionCore = core
        self._steps = SyncSteps(context, core)
        self.session: S = session

    @property
    def is_open(self) -> bool:
        """Whether neither :meth:`end` nor :meth:`fail` was called."""
        return self._context.is_open

    @property
    def is_accessed(self) -> bool:
        """Whether the response may depend on the session."""
        return self._core.is_accessed

    @property
    def is_loaded(self) -> bool:
        """Whether the session was used or read, so that its data are known."""
        return self._core.is_ready

    def response_headers(self, headers: Headers) -> list[tuple[str, str]] | None:
        """Save the session, and return the headers with which the response goes out.

        They have Set-Cookie, Vary and Cache-Control where they are due. Afterwards no cookie can be
        sent any more.

        :param headers: those of the application. They are not changed.
        :returns: None if they stay as they are.
        :raises SerializationError: a value of the session cannot be stored.
        :raises ConflictError: parallel changes that could not be merged.
        :raises StoreError: the store failed. After an error the session is neither saved nor sent,
            and a second call, for an error page, raises nothing.
        """
        context = self._context
        changes = context.try_finish_without_store()
        if changes is None:
            changes = self._core.exclusively(context.commit_before_headers)
        return _changed(context, headers, changes)

    def discard(self) -> None:
        """Drop the changes, but carry out a requested end of the session.

        :meth:`response_headers` still has to be called, and adds no cookie.
        """
        self._core.exclusively(self._context.abandon)

    def headers_are_sent(self) -> None:
        """Note that the headers went out without a cookie, as those of a WebSocket do."""
        self._context.sent_undecided()

    def save_late(self) -> None:
        """Save what changed since the headers went out; nothing if nothing has.

        :raises StoreError: the store failed, and the other errors of saving.
        """
        if self.is_open:
            self._steps.commit_late()

    def body(self, parts: Iterable[T]) -> Iterator[T]:
        """Yield the parts of a body, and save late changes before its end is known."""
        yield from parts
        if self.is_open:
            self._context.unused_headers = None
            self._steps.commit_late()

    def end(self) -> None:
        """Let go of the session, because the response is complete. A second call does nothing."""
        if self.is_open:
            self._steps.end()

    def fail(self, error: BaseException) -> None:
        """Drop the changes, because the application raised and no response of its own goes out.

        A requested end of the session is carried out. An error page can read the session
        and call ``destroy()``.
        """
        if self.is_open:
            self._steps.give_up(error)


class AsyncRequestSession(Generic[A]):
    """The session of one request: see :class:`SyncRequestSession`.

    :ivar session: what the application uses.
    """

    __slots__ = ("_context", "_core", "_steps", "_waits", "session")

    def __init__(self, context: Any, core: Any, session: A, waits: bool) -> None:
        # A RequestContext and an AsyncSessionCore, which are not public.
        self._context: RequestContext = context
        self._core: AsyncSessionCore = core
        self._steps = AsyncSteps(context, core)
        self._waits = waits
        self.session: A = session

    @property
    def is_open(self) -> bool:
        """Whether neither :meth:`end` nor :meth:`fail` was called."""
        return self._context.is_open

    @property
    def is_accessed(self) -> bool:
        """Whether the response may depend on the session."""
        return self._core.is_accessed

    @property
    def is_loaded(self) -> bool:
        """Whether the session was used, so that its data are known."""
        return self._core.is_ready

    async def response_headers(self, headers: Headers) -> list[tuple[str, str]] | None:
        """Save the session and return the headers: see SyncRequestSession."""
        context = self._context
        changes = context.try_finish_without_store()
        if changes is None:
            changes = await self._core.exclusively(context.commit_before_headers)
        return _changed(context, headers, changes)

    async def discard(self) -> None:
        """Drop the changes, but carry out a requested end of the session."""
        await self._core.exclusively(self._context.abandon)

    def headers_are_sent(self) -> None:
        """Note that the headers went out without a cookie, as those of a WebSocket do."""
        self._context.sent_undecided()

    async def save_late(self) -> None:
        """Save what changed since the headers went out; nothing if nothing has."""
        if self.is_open:
            await self._steps.commit_late()

    async def body(self, parts: AsyncIterable[T]) -> AsyncIterator[T]:
        """Yield the parts of a body, and save late changes before its end is known."""
        async for part in parts:
            yield part
        if self.is_open:
            self._context.unused_headers = None
            await self._steps.commit_late()

    async def end(self) -> None:
        """Let go of the session, because the response is complete. A second call does nothing."""
        if self.is_open:
            try:
                if self._context.must_abandon():
                    await self._steps.abandon()
            finally:
                self._context.end()

    async def fail(self, error: BaseException) -> None:
        """Drop the changes, because the application raised: see SyncRequestSession."""
        if self.is_open:
            await self._steps.give_up(error, self._waits)


def _changed(
    context: RequestContext, headers: Headers, changes: HeaderChanges
) -> list[tuple[str, str]] | None:
    result = None if changes is NOTHING else _HEADERS.changed(headers, changes, context.manager)
    if not changes.vary:
        context.unused_headers = list(headers) if result is None else result
    return result
