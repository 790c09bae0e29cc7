"""Keep the state of a session between the request and the store."""

from __future__ import annotations

from _thread import RLock  # `threading.RLock` is a function that looks for this one
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from .._records.operations import Operations
from .._records.records import Snapshot
from ..codec import SessionState
from ..cookie import CookieOptions, SessionCookie
from ..errors import SessionGone, SessionUnavailable
from .contents import Contents, check_keys
from .identity import UNKNOWN, Detached, Identity, New, Stored
from .pending_write import PendingWrite
from .phase import CLOSED, OPEN, RAISED, Phase, check_headers, check_not_closed, check_write
from .unloaded import PLACEHOLDER

if TYPE_CHECKING:
    import anyio

    from .session_backend import Backend


T = TypeVar("T")

#: Never changed in place.
_NO_SETTINGS: Final[Mapping[str, Any]] = {}


class SessionCore:
    """The state of a session between the request and the store.

    :param backend: the request.
    :param run: runs operations on the store.
    :ivar is_ready: whether the data can be used: the session is loaded, and did not fail.
    :ivar is_loaded: whether it is known what the session is: stored, new, or failed.
    :ivar is_accessed: whether the response may depend on it.
    :ivar is_busy: whether a task or a thread is loading or saving it.
    :ivar has_no_cookie: whether it is known that no good cookie came.
    :ivar failure: why there is no session; None where there is one.
    :ivar keeps_alive: what the application said of this request with ``touch()``; None if nothing.
    :ivar sent_cookie: the session's own cookie settings as the browser has them.
    :ivar cookie: what the application sees of the cookie settings; None until it asks.
    :ivar data: the session itself, until the request is over. Then an empty dict that nobody else
        has.
    :ivar contents: there once the session is loaded.
    :ivar pending: the write that is under way; None where there is none.
    """

    __slots__ = (
        "backend",
        "contents",
        "cookie",
        "data",
        "failure",
        "has_no_cookie",
        "identity",
        "is_accessed",
        "is_busy",
        "is_loaded",
        "is_ready",
        "keeps_alive",
        "pending",
        "phase",
        "run",
        "sent_cookie",
        "states",
    )

    data: dict[str, Any]
    contents: Contents
    #: Held while the state of a loaded session changes, because threads share it, and never while
    #: the store is called.
    states: RLock

    def __init__(self, backend: Backend, run: Callable[[Operations[Any]], Any]) -> None:
        self.backend = backend
        self.run = run
        self.is_ready = self.is_loaded = self.is_accessed = self.is_busy = False
        self.has_no_cookie = False
        self.failure: Exception | None = None
        self.identity: Identity = UNKNOWN
        self.phase: Phase = OPEN
        self.keeps_alive: bool | None = None
        self.sent_cookie = _NO_SETTINGS
        self.cookie: SessionCookie | None = None
        self.pending: PendingWrite | None = None

    def regenerate(self, keep_data: bool) -> None:
        """Get a new id: see :meth:`Session.regenerate`."""
        self.use()
        check_headers(self.phase, "`regenerate()` needs")
        if self.identity.is_gone and keep_data:
            raise gone()
        with self.states:
            self.identity = self.identity.regenerate(keep_data, self._supersede())
        if not keep_data:
            self.contents.forget()

    def destroy(self) -> None:
        """End the session: see :meth:`Session.destroy`."""
        if not self.is_ready:
            self.prepare(reads=False)
        self.check_open()
        with self.states:
            self.identity = self.identity.destroy(self._supersede())
        self.contents.forget()
        if self.phase is RAISED:
            self.backend.end_outside()

    def _supersede(self) -> bool:
        """Tell the write that is under way that the session leaves its id, if there is one."""
        if self.pending is None:
            return False
        self.pending.is_superseded = True
        return True

    # For the request

    def advance(self, phase: Phase) -> None:
        """Note that the request has come so far. It never goes back."""
        if phase > self.phase:
            self.phase = phase

    def prepare(self, reads: bool = True) -> None:
        """Make the data available, or say why they are not.

        :param reads: the response may depend on them from here on.
        """
        if reads and self.phase is not OPEN:
            self.backend.check_late_use()
        self.is_accessed = True
        if not self.is_loaded:
            self.ensure_loaded()
        if self.failure is not None:
            raise self.failure.with_traceback(None)
        self.is_ready = True

    def current_id(self) -> str:
        """Return the id, and make one if there is none yet."""
        identity = self.identity
        if identity.id is None:
            check_not_closed(self.phase)
        return self.id_of(identity)

    def id_of(self, identity: Identity) -> str:
        """Return the id of a state of the session, and make one if there is none yet."""
        if identity.id is None:
            made = self.backend.new_id()
            with self.states:
                if identity.id is None:  # no other thread was faster
                    identity.id = made
        return identity.id

    def ensure_loaded(self) -> None:
        """Load the session, unless that was done or has failed."""
        if not (self.is_loaded or self.failure):
            if self.phase is not OPEN and not self.has_no_cookie:
                check_not_closed(self.phase)
            self._load_at_first_use()

    @abstractmethod
    def _load_at_first_use(self) -> None:
        """Load the session, or begin a new one where none was presented."""

    def fail(self, failure: Exception) -> None:
        """Note why there is no session; it is raised at the first use."""
        self.failure = failure
        self.is_loaded = True
        self.hold_off()

    def use(self) -> None:
        """Check that the data can be read."""
        if not self.is_ready:
            self.prepare()

    def before_write(self) -> None:
        """Check that a change of the data can be saved."""
        if not self.is_ready:
            self.prepare()
        if self.phase is not OPEN:
            check_write(self.phase, self.identity.cookie_was_sent)

    def check_open(self) -> None:
        """Check that the data can be read and the request is not over."""
        self.use()
        check_not_closed(self.phase)

    def change_cookie(self, options: CookieOptions, changed: dict[str, Any]) -> None:
        """Change cookie settings of this session.

        :param options: all settings, with the changes.
        :param changed: the changes, as they are stored.
        """
        self.before_write()
        check_headers(self.phase, "cookie settings need")
        options.check_name(self.contents.settings.name)
        self.contents.change_cookie(changed)

    def start(self, detached: bool = False) -> None:
        """Begin as a new, empty session.

        :param detached: it could not be loaded, and is never saved.
        """
        self.states = RLock()
        self.contents = Contents(self.data, self.backend.policy.settings)
        self.identity = Detached() if detached else New()
        self.is_loaded = True

    def hold_off(self) -> None:
        """See to it that code in C, which reads without asking, finds no empty dict."""
        dict.update(self.data, PLACEHOLDER)

    def fill(self, session_id: str, snapshot: Snapshot, state: SessionState) -> None:
        """Continue a stored session."""
        self.states = RLock()
        self.contents = Contents(self.data, self.backend.policy.settings, state)
        self.identity = Stored(session_id, snapshot, cookie_was_sent=True)
        self.sent_cookie = state.cookie
        # Last, because a thread that finds it loaded goes on without a lock.
        self.is_loaded = True

    def refill(self, snapshot: Snapshot, state: SessionState) -> None:
        """Show what was read again, without changes."""
        self.identity.reread(snapshot)
        self.contents.refill(state)

    def reset(self) -> None:
        """Show a session that is not stored without changes: there is nothing to read again."""
        self.contents.forget()
        self.identity.reset()

    def replace_data(self, contents: Mapping[str, Any]) -> None:
        """Take over what the application put in the session's place."""
        if contents is not self.data:
            data = dict(contents)
            check_keys(data)
            self.before_write()
            self.contents.replace(data)

    def has_contents(self) -> bool:
        """Tell whether a session that is not stored has something to store."""
        return self.identity.must_store or not self.contents.is_empty()

    def is_modified(self) -> bool:
        """Tell whether there is something to save."""
        identity, contents = self.identity, self.contents
        if identity.snapshot is None:
            return self.has_contents()
        if identity.attempts is None and not contents.may_differ():
            return False
        if identity.attempts is not None and identity.attempts.unknown:
            return True
        return contents.encoded() != contents.settings.content(identity.snapshot)

    def record_deleted(self) -> None:
        """Note that the session was ended elsewhere; changes are dropped."""
        with self.states:
            self.pending = None
            self.identity = self.identity.vanished()
        self.contents.is_written = self.contents.cookie_changed = False

    def touched(self, before: Snapshot, after: Snapshot) -> bool:
        """Note that the expiry moved. False: the session was ended or got another id meanwhile."""
        with self.states:
            if self.identity.snapshot is not before:
                return False
            self.identity.touched(after)
            return True

    def all_ended(self) -> None:
        """Note that everything has ended that had to."""
        if self.identity is UNKNOWN:
            return  # nothing was
        with self.states:
            self.identity = self.identity.ended()


class SyncSessionCore(SessionCore):
    """A session of the WSGI middleware, which loads itself."""

    __slots__ = ("_lock",)

    def __init__(self, backend: Backend, run: Callable[[Operations[Any]], Any]) -> None:
        SessionCore.__init__(self, backend, run)  # faster than `super()` before Python 3.12
        # Reentrant: what is done under it may be the first use of the session.
        self._lock = RLock()

    def _load_at_first_use(self) -> None:
        with self._lock:
            if self.is_loaded:
                return
            if not (self.has_no_cookie or self.backend.presents_session()):
                check_not_closed(self.phase)  # where it is over, there was no cookie left to see
                self.has_no_cookie = True
            if self.has_no_cookie:
                self.start()
            else:
                self._run_alone(self.backend.load)

    def exclusively(self, operations: Callable[[], Operations[T]]) -> T:
        """Run operations while no other thread loads or saves the session."""
        with self._lock:
            return self._run_alone(operations)

    def _run_alone(self, operations: Callable[[], Operations[T]]) -> T:
        """Do the same, for a caller that holds the lock."""
        if self.is_busy:
            return self.run(operations())  # type: ignore[no-any-return]  # any runner
        # Before it looks whether the request is over, as the request, in another thread, is noted
        # to be over before it looks whether the session is busy.
        self.is_busy = True
        try:
            if self.phase is not OPEN:
                check_not_closed(self.phase)
            return self.run(operations())  # type: ignore[no-any-return]  # any runner
        finally:
            self.is_busy = False
            if self.phase is CLOSED:
                self.backend.let_go()


class AsyncSessionCore(SessionCore):
    """A session of the ASGI middleware, which awaits."""

    __slots__ = ("_idle",)

    def __init__(self, backend: Backend, run: Callable[[Operations[Any]], Any]) -> None:
        SessionCore.__init__(self, backend, run)  # faster than `super()` before Python 3.12
        #: Tells those who wait when the session is not busy any more; None where nobody waits.
        self._idle: anyio.Event | None = None

    def _load_at_first_use(self) -> None:
        if self.has_no_cookie:
            self.start()
            return
        raise SessionUnavailable('with `load="lazy"`, `await session.load()` comes first')

    async def exclusively(self, operations: Callable[[], Operations[T]]) -> T:
        """Run operations while no other task loads or saves the session."""
        # An anyio.Lock would yield to the event loop each time; nearly always nobody waits.
        while self.is_busy:
            import anyio

            self._idle = self._idle or anyio.Event()
            await self._idle.wait()
        if self.phase is not OPEN:
            check_not_closed(self.phase)
        self.is_busy = True
        try:
            return await self.run(operations())  # type: ignore[no-any-return]  # any runner
        finally:
            self.is_busy = False
            if self.phase is CLOSED:
                self.backend.let_go()
            if self._idle is not None:
                self._idle.set()
                self._idle = None


def gone() -> SessionGone:
    """Return the error for a session that another request ended."""
    return SessionGone("the session was ended by another request, or has expired")
