"""Take the steps of a request that all drivers take alike: headers, late changes, the end."""

from __future__ import annotations

from functools import partial

from .._session.session_core import AsyncSessionCore, SyncSessionCore
from .._stores.shielding import RequestLoop, to_the_end
from .request_context import RequestContext
from .set_cookie import HeaderChanges


class SyncSteps:
    """The steps of a request whose driver is synchronous.

    :param context: decides what the response means to the session.
    :param session: the session of the request.
    """

    __slots__ = ("_context", "_session")

    def __init__(self, context: RequestContext, session: SyncSessionCore) -> None:
        self._context = context
        self._session = session

    def decide_headers(self) -> HeaderChanges:
        """Save the session, and return what the response headers get."""
        changes = self._context.try_finish_without_store()
        if changes is None:
            changes = self._session.exclusively(self._context.commit_before_headers)
        return changes

    def commit_late(self, nested: bool = True) -> None:
        """Save what changed since the headers went out.

        :param nested: look also for changes inside the session's values.
        """
        if self._context.has_late_changes(nested):
            self._session.exclusively(self._context.commit_after_headers)

    def end(self) -> None:
        """Let go of the session when the response is complete."""
        context = self._context
        try:
            if context.must_abandon():
                self.abandon()
        finally:
            context.end()

    def give_up(self, error: BaseException) -> None:
        """Let go of the session when the application has raised."""
        try:
            if self._context.must_abandon():
                self.abandon()
        finally:
            self._context.end_with(error, self._end_outside)

    def abandon(self) -> None:
        """End what the request has left: see `must_abandon`."""
        self._session.run(self._context.abandon())

    def _end_outside(self) -> None:
        self._session.exclusively(lambda: self._context.ending.end_pending())


class AsyncSteps:
    """The steps of a request whose driver is asynchronous.

    :param context: decides what the response means to the session.
    :param session: the session of the request.
    """

    __slots__ = ("_context", "_session")

    def __init__(self, context: RequestContext, session: AsyncSessionCore) -> None:
        self._context = context
        self._session = session

    async def decide_headers(self) -> HeaderChanges:
        """Save the session, and return what the response headers get."""
        changes = self._context.try_finish_without_store()
        if changes is None:
            changes = await self._session.exclusively(self._context.commit_before_headers)
        return changes

    async def commit_late(self, nested: bool = True) -> None:
        """Save what changed since the headers went out.

        :param nested: look also for changes inside the session's values.
        """
        if self._context.has_late_changes(nested):
            await self._session.exclusively(self._context.commit_after_headers)

    async def end(self) -> None:
        """Let go of the session when the response is complete."""
        try:
            if self._context.must_abandon():
                await self.abandon()
        finally:
            self._context.end()

    async def give_up(self, error: BaseException, waits: bool) -> None:
        """Let go of the session when the application has raised.

        :param waits: whether calls of the store have to be awaited.
        """
        try:
            if self._context.must_abandon():
                await self.abandon()
        finally:
            loop = RequestLoop() if waits else None
            self._context.end_with(error, partial(self._end_outside, loop))

    async def abandon(self) -> None:
        """End what the request has left, also if it is cancelled: see `must_abandon`."""
        await to_the_end(self._session.run, self._context.abandon)

    def _end_outside(self, loop: RequestLoop | None) -> None:
        """Carry out ``destroy()``, which cannot be awaited, after the application raised.

        :param loop: that of the request: in a worker thread the operations are waited for, and on
            the loop they run beside the error page. None: the store does not block, so they are
            done at once.
        """
        run, abandon = self._session.run, self._context.abandon
        if loop is not None:
            loop.carry_out(run, abandon)
            return
        try:
            run(abandon()).send(None)
        except StopIteration:
            pass  # nothing was waited for
