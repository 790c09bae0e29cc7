"""Hold what a driver has for all its requests: the options, the store, and what runs operations.

The middlewares are drivers, and so is each integration of a framework.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, MutableMapping
from typing import Any, ClassVar

from .._records.operations import Operations, StoreCall
from .._stores.bridge import AsyncBridge, as_async, as_sync, runs_trio
from .._stores.registry import Registry
from .._stores.runners import AsyncRunner, SyncRunner
from .._stores.shielding import Run
from ..events import logger
from ..memory import MemoryStore
from ..old_sessions import OldSessions
from ..options import OptionFields, SessionOptions, make_options
from ..session import Session
from ..store import AsyncStore, Store
from .finding import own_key
from .middleware import check_not_inside
from .request_adapter import RequestAdapter
from .request_context import RequestContext
from .session_manager import SessionManager


def choose_store(
    options: SessionOptions, open_url: Callable[..., Store | AsyncStore], *, again: bool = False
) -> tuple[Store | AsyncStore, bool]:
    """Return the store of a driver, and whether the driver has to close it.

    :param again: the driver has closed a store before.
    """
    if options.store is None:
        if not again:
            logger.warning(
                "sessions are kept in the memory of this process alone and end with it; give a "
                "`store` for more than one process (`MemoryStore()` if that is what you want)"
            )
        return MemoryStore(clock=options.clock), True
    if isinstance(options.store, str):
        return open_url(options.store, clock=options.clock), True
    return options.store, False


def open_old_stores(options: SessionOptions) -> dict[OldSessions, Store | AsyncStore]:
    """Return the stores of old sessions, by their readers.

    Those behind URLs are opened here. Their sync API serves every event loop, in worker threads:
    each old session is read only once.
    """
    return {
        old: Registry().open(old.store, clock=options.clock)
        if isinstance(old.store, str)
        else old.store
        for old in options.old_sessions
        if old.store is not None
    }


class _Ping(StoreCall):
    """Call ``store.ping``."""

    __slots__ = ()

    def __init__(self) -> None:
        self.name, self.args = "ping", ()


def ping() -> Operations[None]:
    """Check that the store can be reached."""
    yield _Ping()


class Driver(ABC):
    """Open the store, and open it again after it was closed.

    Each test client of a suite shuts the application down. Some begin with a lifespan startup,
    and others with a request: so a store that was closed is opened again on demand.

    :param options: the options.
    :param kwargs: options that win over them.
    :param adapter: reads the driver's requests.
    :param eager: what ``load="auto"`` means to the driver.
    :raises ConfigurationError: an option that cannot work.
    :raises PluginError: ``store`` is a URL that no installed store opens.
    """

    #: Whether a session may be opened again in a request that has it open.
    _opens_again: ClassVar[bool] = False

    _store: Store | AsyncStore
    #: Whether the store was opened here.
    _owns_store: bool
    #: Whether any store was opened here, that of the sessions or one of old sessions.
    _has_to_close: bool

    def __init__(
        self,
        options: SessionOptions | None,
        kwargs: OptionFields,
        adapter: RequestAdapter,
        *,
        eager: bool,
    ) -> None:
        self.options: SessionOptions = make_options(options, kwargs)
        self._manager = SessionManager(self.options, adapter, eager=eager)
        self._own_key = own_key(self.options.name)
        self._opening = threading.Lock()
        self._open_store(again=False)
        self._closed = False

    @property
    def store(self) -> Store | AsyncStore:
        """The store, which :class:`~coatcheck.Sessions` takes. It is open, even after a close."""
        if self._closed:
            self._open_again()
        return self._store

    @abstractmethod
    def _open(self, *, again: bool) -> Store | AsyncStore:
        """Open the store and return it, and make the runner that works on it.

        :param again: it was open before.
        """

    def _open_store(self, *, again: bool) -> None:
        self._old_stores = open_old_stores(self.options)
        self._store = self._open(again=again)
        self._has_to_close = self._owns_store or bool(self._opened_old_stores())
        self._manager.notices.uses(self._store)

    def _opened_old_stores(self) -> list[Store | AsyncStore]:
        """Return the stores of old sessions that have to be closed."""
        return [store for old, store in self._old_stores.items() if isinstance(old.store, str)]

    def _open_again(self) -> None:
        with self._opening:
            if self._closed:
                self._open_store(again=True)
                self._closed = False  # last, for other threads

    def _put(
        self, context: RequestContext, request: MutableMapping[str, Any], key: str, session: Session
    ) -> None:
        """Put a session into its request, where the application finds it.

        :param key: of the place where the application looks for it.
        :raises ConfigurationError: another middleware of the same name serves the request, or a
            middleware calls itself.
        """
        own_key = self._own_key
        if key in request or own_key in request:
            check_not_inside(self)
            context.place.take(session, own_key, self._opens_again)
        else:
            request[own_key] = request[key] = session


class SyncDriver(Driver):
    """A driver of synchronous code."""

    def _open(self, *, again: bool) -> Store | AsyncStore:
        store, self._owns_store = choose_store(self.options, Registry().open, again=again)
        others: dict[object, SyncRunner] = {
            old: SyncRunner(each) for old, each in self._old_stores.items()
        }
        self._runner = SyncRunner(store, others)
        return store

    def close(self) -> None:
        """Close the store, if it was opened here. A later request opens it again."""
        if self._has_to_close:
            runner, owns_store, old = self._runner, self._owns_store, self._opened_old_stores()
            self._closed = True
            if owns_store:
                runner.close()
            for store in old:
                as_sync(store).close()


class AsyncDriver(Driver):
    """A driver of asynchronous code."""

    def _open(self, *, again: bool) -> Store | AsyncStore:
        store, self._owns_store = choose_store(self.options, Registry().open_async, again=again)
        runner = AsyncRunner(store, self._old_runners())
        self._run: Run = runner.run
        self._waits = runner.waits
        self._trio_runner: AsyncRunner | None = None
        self._trio_store: AsyncStore | None = None
        is_any_loops = not isinstance(self.options.store, str) or isinstance(store, AsyncBridge)
        #: Runs operations on each event loop; None where that depends on the loop.
        self._fixed_run = self._run if is_any_loops else None
        return store

    async def close(self) -> None:
        """Close the store, if it was opened here. A later request opens it again."""
        if self._has_to_close:
            store, trio_store, old = self._store, self._trio_store, self._opened_old_stores()
            owns_store, self._closed = self._owns_store, True
            if owns_store:
                closed = store.close()
                if closed is not None:
                    await closed
            if trio_store is not None:
                await trio_store.close()
            for each in old:
                await as_async(each).close()

    def _run_of_loop(self) -> Run:
        """Return what runs operations on the event loop of the caller."""
        if not runs_trio():
            return self._run
        if self._trio_runner is None:
            assert isinstance(self.options.store, str)
            self._trio_store = Registry().open_async(self.options.store, clock=self.options.clock)
            self._trio_runner = AsyncRunner(self._trio_store, self._old_runners())
        return self._trio_runner.run

    def _old_runners(self) -> dict[object, AsyncRunner]:
        return {old: AsyncRunner(store) for old, store in self._old_stores.items()}
