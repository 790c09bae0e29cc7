"""Finish work although the request was cancelled or its event loop ends.

docs/decisions/2026-11-30-error-pages.md has the reasons.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeAlias, TypeVar

from .._records.operations import Operations
from ..errors import LateWriteError
from ..events import logger
from .bridge import runs_trio

T = TypeVar("T")

#: Seconds that removing a session may take after the application failed or was cancelled.
ABANDON_SECONDS: Final = 5.0

#: Runs operations on the async API of a store.
Run: TypeAlias = Callable[[Operations[Any]], Awaitable[Any]]


async def to_the_end(run: Run, operations: Callable[[], Operations[None]]) -> None:
    """Run operations although the request was cancelled, for a limited time.

    :param operations: makes the operations. It is called again if the event loop ended meanwhile.
    """
    import anyio

    async def bounded() -> None:
        with anyio.move_on_after(ABANDON_SECONDS) as scope:
            await run(operations())
        if scope.cancelled_caught:
            logger.error("a session could not be ended within %s s", ABANDON_SECONDS)

    # `asyncio.run` cancels all tasks of its loop once and waits for them. The task that does the
    # work is among them, and is replaced.
    await uninterrupted(bounded, attempts=2)


async def uninterrupted(make: Callable[[], Coroutine[Any, Any, T]], attempts: int = 1) -> T:
    """Await a call to its end, and let a cancellation take effect afterwards.

    :param make: makes the call.
    :param attempts: how often to make it, if the call itself is cancelled.
    """
    import anyio

    with anyio.CancelScope(shield=True):
        return await (make() if runs_trio() else _undisturbed(make, attempts))
    raise AssertionError("a shielded scope is not cancelled")


async def _undisturbed(make: Callable[[], Coroutine[Any, Any, T]], attempts: int) -> T:
    """Await a call under asyncio, where a cancel scope does not protect from ``Task.cancel``."""
    import asyncio

    current = asyncio.current_task()
    assert current is not None, "it is awaited in a task"
    cancelled = 0
    while True:
        work, attempts = asyncio.ensure_future(make()), attempts - 1
        while not work.done():
            try:
                await asyncio.wait([work])
            except asyncio.CancelledError:
                cancelled += 1
        if not (work.cancelled() and attempts):
            break
    for _ in range(cancelled):
        # `asyncio.timeout` and task groups count cancellations, so each must count only once.
        current.uncancel()
    for _ in range(cancelled):
        current.cancel()
    return work.result()


class RequestLoop:
    """Hold the event loop of a request, for plain calls after the request, in any thread."""

    def __init__(self) -> None:
        self._trio: Any = None
        if runs_trio():
            import trio

            self._trio = trio.lowlevel.current_trio_token()
        else:
            import asyncio

            self._loop = asyncio.get_running_loop()

    def carry_out(self, run: Run, operations: Callable[[], Operations[None]]) -> None:
        """Run operations on the loop.

        In the loop's own thread they run in a task of their own. Other threads wait for them.

        :raises LateWriteError: the loop has ended.
        """
        if self._trio is None:
            self._with_asyncio(run, operations)
        else:
            self._with_trio(run, operations)

    def _with_asyncio(self, run: Run, operations: Callable[[], Operations[None]]) -> None:
        import asyncio

        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        if here:
            task = self._loop.create_task(_unattended(run, operations))
            _under_way.add(task)
            task.add_done_callback(_under_way.discard)
        elif self._loop.is_running():
            asyncio.run_coroutine_threadsafe(to_the_end(run, operations), self._loop).result()
        else:
            raise _too_late()

    def _with_trio(self, run: Run, operations: Callable[[], Operations[None]]) -> None:
        import trio

        if runs_trio():
            trio.lowlevel.spawn_system_task(_unattended, run, operations)
            return
        try:
            trio.from_thread.run(to_the_end, run, operations, trio_token=self._trio)
        except trio.RunFinishedError:
            raise _too_late() from None


async def _unattended(run: Run, operations: Callable[[], Operations[None]]) -> None:
    """Run operations that nobody waits for, and log their errors.

    Under trio, an exception would end all tasks.
    """
    try:
        await to_the_end(run, operations)
    except Exception as error:  # its text may hold anything
        logger.error("a session could not be ended: %s", type(error).__name__)


#: Tasks that no other object refers to.
_under_way: Final[set[Any]] = set()


def _too_late() -> LateWriteError:
    return LateWriteError("the event loop of the request has ended, so its session cannot be ended")
