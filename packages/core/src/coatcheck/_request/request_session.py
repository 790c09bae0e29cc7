"""Give an integration the steps of one request. :mod:`coatcheck.integration` shows them."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Final, Generic, Self, TypeAlias, TypeVar

from .._session.session_core import AsyncSessionCore, SessionCore, SyncSessionCore
from ..session import AsyncSession, SyncSession
from .request_context import RequestContext
from .request_steps import AsyncSteps, SyncSteps
from .response_headers import HeaderWriter
from .set_cookie import NOTHING, HeaderChanges

#: The headers of a response, as pairs of names and values.
Headers: TypeAlias = Iterable[tuple[str, str]]

S = TypeVar("S", bound=SyncSession)
A = TypeVar("A", bound=AsyncSession)
T = TypeVar("T")

_HEADERS: Final = HeaderWriter(str, str)


class SyncBody(Iterator[T]):
    """The body of a response, with the end of its session: see SyncRequestSession.body.

    :param parts: the body of the application.
    :param save: saves late changes, if the session is still open.
    :param fail: drops them.
    :param end: lets go of the session.
    """

    __slots__ = ("_end", "_fail", "_iterator", "_parts", "_save")

    def __init__(
        self,
        parts: Iterable[T],
        save: Callable[[], object],
        fail: Callable[[BaseException], object],
        end: Callable[[], object],
    ) -> None:
        self._parts = parts
        #: None until somebody asks for the first part.
        self._iterator: Iterator[T] | None = None
        self._save = save
        self._fail = fail
        self._end = end

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        try:
            if self._iterator is None:
                self._iterator = iter(self._parts)
            return next(self._iterator)
        except StopIteration:
            self._save()
            raise
        except BaseException as error:
            self._fail(error)
            raise

    def close(self) -> None:
        """Close the application's body, save late changes, and let go of the session."""
        try:
            close = getattr(self._parts, "close", None)
            if close is not None:
                close()
            self._save()
        finally:
            self._end()


class SyncRequestSession(Generic[S]):
    """The session of one request, on its way from the cookie that came to the one that goes.

    :ivar session: what the application uses.
    """

    __slots__ = ("_context", "_core", "_sent", "_steps", "session")

    def __init__(self, context: Any, core: Any, session: S) -> None:
        # A RequestContext and a SyncSessionCore, which are not public.
        self._context: RequestContext = context
        self._core: SyncSessionCore = core
        self._steps = SyncSteps(context, core)
        #: What the headers got from the last call of `response_headers`.
        self._sent = NOTHING
        self.session: S = session

    @property
    def is_open(self) -> bool:
        """Tell whether neither :meth:`end` nor :meth:`fail` was called."""
        return self._context.is_open

    @property
    def is_accessed(self) -> bool:
        """Tell whether the response may depend on the session."""
        return self._core.is_accessed

    @property
    def is_loaded(self) -> bool:
        """Tell whether the session was used or read, so that its data are known."""
        return self._core.is_ready

    @property
    def is_new_owners(self) -> bool:
        """Tell whether the option ``owner`` finds another owner in the data than in those stored.

        Then somebody has logged in, and the session should get a new id. It is False for a session
        that nobody owns now, or that has no record under its id. The session must be loaded.
        """
        return _is_new_owners(self._core)

    def response_headers(self, headers: Headers) -> list[tuple[str, str]] | None:
        """Save the session, and return the headers with which the response goes out.

        They have Set-Cookie, Vary and Cache-Control where they are due. Afterwards no other cookie
        can be sent any more. A second call, for a response that goes out instead of the first
        one, adds the same cookie.

        :param headers: those of the application. They are not changed.
        :returns: None if they stay as they are.
        :raises SerializationError: a value of the session cannot be stored.
        :raises ConflictError: parallel changes that could not be merged.
        :raises StoreError: the store failed. After an error the session is neither saved nor sent,
            and a second call, for an error page, raises nothing.
        """
        self._sent = _with_sent(self._steps.decide_headers(), self._sent)
        result = _HEADERS.applied(headers, self._sent, self._context)
        return None if self._sent is NOTHING else result

    def discard(self) -> None:
        """Drop the changes, but carry out a requested end of the session.

        :meth:`response_headers` still has to be called, and adds no cookie.
        """
        self._core.exclusively(self._context.abandon)

    def end_unchanged(self) -> None:
        """End the session, unless another request has changed what this one has loaded.

        It goes on where several session cookies came, because the end is that of all of them.
        :meth:`response_headers` or :meth:`save_late` still has to be called. Where the session was
        not ended, it saves the changes.
        """
        self._core.exclusively(self._context.ending.end_unchanged)

    def headers_are_sent(self) -> None:
        """Note that the headers went out without a cookie, as those of a WebSocket do."""
        self._context.sent_undecided()

    def save_late(self) -> None:
        """Save what changed since the headers went out; nothing if nothing has.

        :raises StoreError: the store failed, and the other errors of saving.
        """
        if self.is_open:
            self._steps.commit_late()

    def body(
        self, parts: Iterable[T], before_save: Callable[[], object] | None = None
    ) -> SyncBody[T]:
        """Return the body that goes out instead of one that the application still produces.

        It saves late changes before its end is known, and drops them if the application raises.
        Its ``close()``, which a WSGI server calls in any case, closes the parts, saves late changes
        if the visitor left before the end, and calls :meth:`end`.

        :param parts: the body. Nothing is read before the server asks for it.
        :param before_save: called before late changes are saved, at the end and at ``close()``.
        """

        def save() -> None:
            if self.is_open:
                self._context.unused_headers = None
                if before_save is not None:
                    before_save()
                self._steps.commit_late()

        return SyncBody(parts, save, self.fail, self.end)

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

    __slots__ = ("_context", "_core", "_sent", "_steps", "_waits", "session")

    def __init__(self, context: Any, core: Any, session: A, waits: bool) -> None:
        # A RequestContext and an AsyncSessionCore, which are not public.
        self._context: RequestContext = context
        self._core: AsyncSessionCore = core
        self._steps = AsyncSteps(context, core)
        #: What the headers got from the last call of `response_headers`.
        self._sent = NOTHING
        self._waits = waits
        self.session: A = session

    @property
    def is_open(self) -> bool:
        """Tell whether neither :meth:`end` nor :meth:`fail` was called."""
        return self._context.is_open

    @property
    def is_accessed(self) -> bool:
        """Tell whether the response may depend on the session."""
        return self._core.is_accessed

    @property
    def is_loaded(self) -> bool:
        """Tell whether the session was used, so that its data are known."""
        return self._core.is_ready

    @property
    def is_new_owners(self) -> bool:
        """Tell whether somebody has logged in: see SyncRequestSession."""
        return _is_new_owners(self._core)

    async def response_headers(self, headers: Headers) -> list[tuple[str, str]] | None:
        """Save the session and return the headers: see SyncRequestSession."""
        self._sent = _with_sent(await self._steps.decide_headers(), self._sent)
        result = _HEADERS.applied(headers, self._sent, self._context)
        return None if self._sent is NOTHING else result

    async def discard(self) -> None:
        """Drop the changes, but carry out a requested end of the session."""
        await self._core.exclusively(self._context.abandon)

    async def end_unchanged(self) -> None:
        """End the session, unless another request has changed it: see SyncRequestSession."""
        await self._core.exclusively(self._context.ending.end_unchanged)

    def headers_are_sent(self) -> None:
        """Note that the headers went out without a cookie, as those of a WebSocket do."""
        self._context.sent_undecided()

    async def save_late(self) -> None:
        """Save what changed since the headers went out; nothing if nothing has."""
        if self.is_open:
            await self._steps.commit_late()

    async def body(self, parts: AsyncIterable[T]) -> AsyncIterator[T]:
        """Yield the parts of a body, and save late changes before its end is known.

        The integration calls :meth:`fail` if the parts raise, and :meth:`save_late` if the visitor
        leaves.
        """
        async for part in parts:
            yield part
        if self.is_open:
            self._context.unused_headers = None
            await self._steps.commit_late()

    async def end(self) -> None:
        """Let go of the session, because the response is complete. A second call does nothing."""
        if self.is_open:
            await self._steps.end()

    async def fail(self, error: BaseException) -> None:
        """Drop the changes, because the application raised: see SyncRequestSession."""
        if self.is_open:
            await self._steps.give_up(error, self._waits)


def _is_new_owners(session: SessionCore) -> bool:
    settings, snapshot = session.contents.settings, session.identity.snapshot
    if settings.derive_owner is None or snapshot is None:
        return False
    owner = session.contents.current_owner()
    if owner is None or owner == session.contents.owner:
        return False
    # Codecs of other programs store no owner.
    stored = settings.codec.loads(snapshot.record.data, snapshot.key)
    return owner != settings.derive_owner(stored.data)


def _with_sent(changes: HeaderChanges, sent: HeaderChanges) -> HeaderChanges:
    """Return the changes with the cookies of headers that did not go out, unless they have some."""
    if (sent.set_cookie is None and not sent.removals) or changes.set_cookie is not None:
        return changes
    return HeaderChanges(sent.set_cookie, True, sent.removals)
