"""What is behind a session: where it is between the request and the store."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, TypeVar

from .codec import SessionState
from .contents import Contents, Settings, check_keys
from .cookie import CookieOptions, SessionCookie
from .errors import SessionGone, SessionUnavailable
from .group_commit import ChangeFunction
from .identity import UNKNOWN, Identity, New, Stored
from .layout import lay_out
from .operations import Operations
from .phase import CLOSED, OPEN, RAISED, Phase, check_headers, check_not_closed, check_write
from .records import Snapshot

if TYPE_CHECKING:
    import anyio

T = TypeVar("T")


class Backend(Protocol):
    """What a session needs from the request that it belongs to."""

    def is_of(self, engine: object) -> bool: ...
    def leave_place(self, request: object, leaves: bool) -> None: ...
    def load(self) -> Operations[None]: ...
    def save(self) -> Operations[None]: ...
    def reload(self) -> Operations[None]: ...
    def change(self, function: ChangeFunction) -> Operations[Any]: ...
    def check_late_use(self) -> None: ...
    def new_id(self) -> str: ...
    def expiry(self, state: SessionState) -> float: ...
    def content(self, snapshot: Snapshot) -> bytes: ...
    def rebase(self, sent: PendingWrite, mine: SessionState, stored: Snapshot) -> SessionState: ...
    def end_outside(self) -> None: ...
    @property
    def settings(self) -> Settings: ...
    def let_go(self) -> None: ...


class PendingWrite:
    """The session as a write that is under way stores it; the application may go on meanwhile.

    :ivar state: what the session showed when the write began. Its values may change.
    :ivar encoded: the encoded state. It does not change.
    :ivar cookie_changed: whether the session's cookie settings are changed.
    :ivar identity: the session's state when the write began.
    :ivar id: the new id under which they are, or None.
    :ivar is_superseded: whether the session was ended or got another id meanwhile.
    """

    __slots__ = ("cookie_changed", "encoded", "id", "identity", "is_superseded", "state")

    def __init__(self, contents: Contents, identity: Identity) -> None:
        self.identity = identity
        self.state, self.encoded, self.cookie_changed = contents.draft()
        self.id = identity.id if identity.snapshot is None else None
        self.is_superseded = False


class SessionCore:
    """What is behind a session: where it stands between the request and the store."""

    # Class attributes are the state of a session of which nothing is known yet: most requests
    # end in that state, and pay for nothing else.
    is_ready = False
    has_no_cookie = False
    failure: Exception | None = None
    is_accessed = False
    is_loaded = False
    identity: Identity = UNKNOWN
    extends: bool | None = None
    is_busy = False
    phase: Phase = OPEN
    #: The session's own cookie settings as the browser has them.
    sent_cookie: Mapping[str, Any] = {}  # never changed in place
    cookie: SessionCookie | None = None
    #: The session itself, until the request is over. Then an empty dict that nobody else has.
    data: dict[str, Any]
    #: There once the session is loaded.
    contents: Contents
    pending: PendingWrite | None = None

    #: Held while the state changes, because threads share a session, and never while the store
    #: is called.
    _states: threading.RLock

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._states = threading.RLock()

    def regenerate(self, keep_data: bool) -> None:
        self.use()
        check_headers(self.phase, "`regenerate()` needs")
        if self.identity.is_gone and keep_data:
            raise gone()
        with self._states:
            self.identity = self.identity.regenerate(keep_data, self._supersede())
        if not keep_data:
            self.contents.forget()

    def destroy(self) -> None:
        if not self.is_ready:
            self.prepare(reads=False)
        self.check_open()
        with self._states:
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

    # For the engine

    @property
    def is_over(self) -> bool:
        """Whether its middleware has served the request, or failed to."""
        return self.phase >= RAISED

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
        self.ensure_loaded()
        if self.failure is not None:
            raise self.failure.with_traceback(None)
        self.is_ready = True

    def current_id(self) -> str:
        if self.identity.id is None:
            check_not_closed(self.phase)
            self.identity.id = self.backend.new_id()
        return self.identity.id

    def ensure_loaded(self) -> None:
        if not (self.is_loaded or self.failure):
            if not self.has_no_cookie:
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
        if not self.is_ready:
            self.prepare()

    def share_all(self, data: dict[str, Any]) -> None:
        """Note what all values look like before the application, or code in C, can change one.

        :param data: the session, which is not known here any more once the request is over.
        """
        self.use()
        self.contents.share_all(data)

    def before_write(self) -> None:
        if not self.is_ready:
            self.prepare()
        if self.phase is not OPEN:
            check_write(self.phase, self.identity.is_announced)

    def check_open(self) -> None:
        self.use()
        check_not_closed(self.phase)

    def change_cookie(self, options: CookieOptions, changed: dict[str, Any]) -> None:
        self.before_write()
        check_headers(self.phase, "cookie settings need")
        options.check_name(self.contents.settings.name)
        self.contents.change_cookie(changed)

    def start(self) -> None:
        """Begin as a new, empty session."""
        self.contents = Contents(self.data, self.backend.settings)
        self.identity = New()
        self.is_loaded = True

    def hold_off(self) -> None:
        """See to it that code in C, which reads without asking, finds no empty dict."""
        dict.update(self.data, _NOT_LOADED)

    def fill(self, session_id: str, snapshot: Snapshot, state: SessionState) -> None:
        """Continue a stored session."""
        self.contents = Contents(self.data, self.backend.settings, state)
        self.identity = Stored(session_id, snapshot, is_announced=True)
        self.sent_cookie = state.cookie
        # Last, for other threads: who finds it loaded goes on without a lock.
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
        """Whether a session that is not stored is worth it."""
        return self.identity.must_store or not self.contents.is_empty()

    def change_to_write(self) -> PendingWrite | None:
        """Return what is to be written if the session differs from what is stored."""
        identity = self.identity
        assert identity.snapshot is not None, "it is stored"
        if identity.attempts is None and not self.contents.may_differ():
            return None
        write = self.begin_write()
        if identity.attempts is not None and identity.attempts.unknown:
            # What is stored may be an earlier attempt of ours, not what was loaded.
            return write
        is_same = write.encoded == self.backend.content(identity.snapshot)
        return None if is_same else write

    def begin_write(self) -> PendingWrite:
        """Encode the session as it is now. What changes from here on is another change."""
        return PendingWrite(self.contents, self.identity)

    def set_pending(self, pending: PendingWrite) -> None:
        """Note that a write is under way. Another thread may have ended the session before."""
        with self._states:
            self.pending = pending
            pending.is_superseded = self.identity is not pending.identity

    def write_failed(self, pending: PendingWrite) -> None:
        """Note that a write failed, or that nobody knows what became of it."""
        with self._states:
            self.pending = None
            if not pending.is_superseded:
                self.contents.take_back(pending.cookie_changed)
            elif pending.id is not None:
                self.identity.add_orphan(pending.id)

    def write_succeeded(
        self, pending: PendingWrite, snapshot: Snapshot, state: SessionState
    ) -> None:
        """Note what is stored now, and show it together with what was changed meanwhile."""
        with self._states:
            self.pending = None
            if pending.is_superseded:
                self.identity = self.identity.superseded_by(snapshot)
                if not self.identity.keeps_data:
                    return
            else:
                self.identity = self.identity.stored_as(snapshot)
        if state is not pending.state:
            self.contents.show_stored(
                state, lambda mine: self.backend.rebase(pending, mine, snapshot)
            )

    def record_deleted(self, pending: PendingWrite | None = None) -> None:
        """Note that the session was ended elsewhere; changes are dropped."""
        with self._states:
            self.pending = None
            if pending is not None and pending.is_superseded and not self.identity.keeps_data:
                return  # the old one is ended all the same: it may go on under another id
            self.identity = self.identity.vanished()
        self.contents.is_written = self.contents.cookie_changed = False

    def touched(self, before: Snapshot, after: Snapshot) -> bool:
        """Note that the expiry moved. False: the session was ended or got another id meanwhile."""
        with self._states:
            if self.identity.snapshot is not before:
                return False
            self.identity.touched(after)
            return True

    def all_ended(self) -> None:
        """Note that all has ended which was to end."""
        with self._states:
            self.identity = self.identity.ended()


class SyncSessionCore(SessionCore):
    """A session of the WSGI middleware, which loads itself."""

    def __init__(self, backend: Backend, run: Callable[[Operations[Any]], Any]) -> None:
        self.backend = backend
        self.run = run
        self._states = threading.RLock()
        # Reentrant: what is done under it may be the first use of the session.
        self._lock = threading.RLock()

    def _load_at_first_use(self) -> None:
        with self._lock:
            if not self.is_loaded:
                if self.has_no_cookie:
                    self.start()
                else:
                    self.exclusively(self.backend.load)

    def exclusively(self, operations: Callable[[], Operations[T]]) -> T:
        with self._lock:
            if self.is_busy:
                return self.run(operations())  # type: ignore[no-any-return]  # any runner
            # Before it looks whether the request is over, as the request, in another thread, is
            # noted to be over before it looks whether the session is busy.
            self.is_busy = True
            try:
                check_not_closed(self.phase)
                return self.run(operations())  # type: ignore[no-any-return]  # any runner
            finally:
                self.is_busy = False
                if self.phase is CLOSED:
                    self.backend.let_go()


class AsyncSessionCore(SessionCore):
    """A session of the ASGI middleware, which awaits."""

    _idle: anyio.Event | None = None

    def __init__(self, backend: Backend, run: Callable[[Operations[Any]], Any]) -> None:
        self.backend = backend
        self.run = run
        self._states = threading.RLock()

    def _load_at_first_use(self) -> None:
        if self.has_no_cookie:
            self.start()
            return
        raise SessionUnavailable('with `load="lazy"`, `await session.load()` comes first')

    async def exclusively(self, operations: Callable[[], Operations[T]]) -> T:
        # An anyio.Lock would yield to the event loop each time; nearly always nobody waits.
        while self.is_busy:
            import anyio

            self._idle = self._idle or anyio.Event()
            await self._idle.wait()
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


#: The attributes that nearly each session which is used sets.
_ATTRIBUTES: Final = """
    backend run has_no_cookie is_ready is_loaded is_accessed phase cookie
    data contents is_busy sent_cookie
    pending identity _states
"""

lay_out(SyncSessionCore, _ATTRIBUTES + "_lock")
lay_out(AsyncSessionCore, _ATTRIBUTES + "_idle")


class SessionNotLoaded:
    """Stands in a session that is not loaded: encoders name its type in their errors."""

    __slots__ = ()

    def __repr__(self) -> NoReturn:
        raise SessionUnavailable("the session is not loaded: `session.load()` comes first")

    __str__ = __repr__


_UNLOADED: Final = SessionNotLoaded()
#: No encoder knows the value's type. If it is told how to encode that (`default=`), it still
#: refuses the second key, which has no UTF-8.
_NOT_LOADED: Final = {"a session that is not loaded": _UNLOADED, "\ud800": _UNLOADED}


def gone() -> SessionGone:
    return SessionGone("the session was ended by another request, or has expired")
