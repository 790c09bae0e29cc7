"""Take one request's session through the request, from the cookie that came to the one that goes.

A driver

1. makes a :class:`RequestContext` and runs :meth:`~RequestContext.load` where
   :meth:`~RequestContext.begin` says so;
2. when the response headers are there, asks :meth:`~RequestContext.try_finish_without_store`, runs
   :meth:`~RequestContext.commit_before_headers` where that is None, and adds to the headers what
   it got;
3. runs :meth:`~RequestContext.commit_after_headers` before the last piece of the body and again at
   the end, where :meth:`~RequestContext.has_late_changes`;
4. runs :meth:`~RequestContext.abandon` instead where the application failed or was cancelled, and
   :meth:`~RequestContext.must_abandon`;
5. calls :meth:`~RequestContext.end` in any case, or :meth:`~RequestContext.end_with` where the
   application raised: an error page outside the middleware can then still read and destroy the
   session.

docs/decisions/2026-11-30-hot-path.md says why readers and public pages take no generator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .._records.operations import Operations
from .._records.records import Snapshot
from .._session.phase import CLOSED, FAILED, HEADERS_SENT, OPEN, RAISED
from .._session.session_core import SessionCore
from ..codec import SessionState
from ..errors import SessionUnavailable, StoreError
from ..events import logger
from ..options import Request
from . import loading
from .ending import Ending
from .keep_alive import KeepAlive
from .policy import Policy
from .replacement import Place
from .saving import Saving
from .session_manager import SessionManager
from .set_cookie import NOTHING, HeaderChanges, SetCookie, header_changes


class RequestContext:
    """One request and its session.

    :param manager: what all requests of the middleware share.
    :param request: the ASGI scope or the WSGI environ.
    :param place_key: under which key the request has the session. Applications may put something
        else there.
    :ivar session: its driver sets it. It is there until the request is over.
    :ivar policy: the settings of this request; there from :meth:`begin` on.
    :ivar cookie: that of this request; there from :meth:`begin` on.
    :ivar end_outside: carries out `destroy()`; there once the application raised.
    :ivar is_open: False once the request is over.
    :ivar unused_headers: headers that went out before anybody used the session, as long as the
        body goes on; None where there are none.
    """

    __slots__ = (
        "_disabled",
        "_ending",
        "_keep_alive",
        "_place",
        "_place_key",
        "_saving",
        "cookie",
        "end_outside",
        "is_open",
        "manager",
        "policy",
        "request",
        "session",
        "unused_headers",
    )

    session: SessionCore
    policy: Policy
    cookie: SetCookie
    end_outside: Callable[[], None]

    def __init__(self, manager: SessionManager, request: Request, place_key: str) -> None:
        self.manager = manager
        self.request = request
        self.is_open = True
        self._place_key = place_key
        #: Whether the session is neither saved nor sent any more.
        self._disabled = False
        # Most requests need none of these parts: None until then.
        self._keep_alive: KeepAlive | None = None
        self._saving: Saving | None = None
        self._ending: Ending | None = None
        self._place: Place | None = None
        self.unused_headers: Sequence[tuple[Any, Any]] | None = None

    # The parts

    @property
    def keep_alive(self) -> KeepAlive:
        """The part that moves the expiry of the session's record."""
        if self._keep_alive is None:
            self._keep_alive = KeepAlive(self)
        return self._keep_alive

    @property
    def saving(self) -> Saving:
        """The part that saves the session."""
        if self._saving is None:
            self._saving = Saving(self)
        return self._saving

    @property
    def ending(self) -> Ending:
        """The part that ends records."""
        if self._ending is None:
            self._ending = Ending(self)
        return self._ending

    @property
    def place(self) -> Place:
        """The place where the application finds the session."""
        if self._place is None:
            self._place = Place(self.request, self._place_key, self.manager)
        return self._place

    # What the session asks for

    def new_id(self) -> str:
        """Make an id."""
        return self.manager.new_id(self.request)

    def expiry(self, state: SessionState) -> float:
        """Return when a session expires that is used now, in POSIX seconds."""
        return self.policy.expires_at(self.cookie.recorded_settings(state.cookie), state.created_at)

    def check_late_use(self) -> None:
        """Refuse the session to a body that caches may serve to other visitors.

        Its headers went out before the session was used, and do not say that it depends on it.
        """
        headers, manager = self.unused_headers, self.manager
        if (
            headers is not None
            and self.cookie.tokens()
            and manager.adapter.may_be_shared(headers, manager.options.clock())
        ):
            raise SessionUnavailable(
                "the response headers are sent, and let caches share the response: read the "
                "session before the response starts, or send `Cache-Control: private`"
            )

    def presents_session(self) -> bool:
        """Tell whether the request has a cookie that a session may be found with."""
        takeover = self.manager.takeover
        return True if self.cookie.tokens() else bool(takeover and takeover.came(self.request))

    def load(self) -> Operations[None]:
        """Look up the presented ids until one is known; otherwise begin a new session."""
        return loading.load(self)

    def reload(self) -> Operations[None]:
        """Show what is stored."""
        return loading.reload(self)

    # What the driver asks for: the beginning

    def begin(self) -> bool:
        """Find out where the request's session is. Returns whether to run :meth:`load` at once."""
        session, manager = self.session, self.manager
        policy = self.policy = manager.fixed_policy or loading.policy_of(self)
        self.cookie = SetCookie(manager, self.request, policy)
        if not (manager.everywhere or self.cookie.in_path()):
            session.failure = SessionUnavailable(
                "the request's path is outside the session cookie's path "
                f"({policy.cookie.path}): there is no session here"
            )
            session.hold_off()
            return False
        if not manager.eager:
            session.hold_off()
            return False
        session.has_no_cookie = not self.presents_session()
        return not session.has_no_cookie

    # The response headers

    def try_finish_without_store(self) -> HeaderChanges | None:
        """Return what to add to the response headers, where that takes no store; or None."""
        session, options = self.session, self.manager.options
        is_ours = self.request.get(self._place_key) is session.data
        if not is_ours or session.is_busy or self._disabled:
            return None
        identity = session.identity
        snapshot = identity.snapshot
        if snapshot is None:
            # Nobody used it, and there is nothing that would have to be moved or stored.
            if session.is_accessed or (options.save_uninitialized and session.failure is None):
                return None
            session.phase = HEADERS_SENT
            return NOTHING
        wrote = self._saving is not None and self._saving.writes > 0
        if (
            (options.resave and not wrote)
            or identity.attempts is not None
            or session.contents.may_differ()
            or not (wrote or self._stays(snapshot))
        ):
            return None
        session.phase = HEADERS_SENT
        if session.keeps_alive:
            session.keeps_alive = None  # the touch that was asked for moves nothing
        return header_changes(self.cookie.line(session), session.is_accessed)

    def _stays(self, snapshot: Snapshot) -> bool:
        """Tell whether the expiry of an unwritten session stays where it is."""
        session, cookie = self.session, self.cookie
        is_quiet = (
            self._keep_alive is None
            and session.keeps_alive is None
            and not (cookie.is_outdated or self.manager.options.rolling)
            and self.policy.was_touched_lately(session.contents.cookie, snapshot.record.expires_at)
        )
        return is_quiet or self.keep_alive.due_expiry(snapshot) is None

    def expiry_of_write(self, loaded: Snapshot, changed: bool) -> tuple[Snapshot, bool, bool]:
        """Decide what a write does to the expiry: see :meth:`KeepAlive.of_write`."""
        session, rule = self.session, self.manager.options.keeps_alive
        nobody_said = self._keep_alive is None and session.keeps_alive is None and rule is None
        if changed and nobody_said and session.phase is OPEN:
            return loaded, True, True  # nearly always
        return self.keep_alive.of_write(loaded, changed)

    def commit_before_headers(self) -> Operations[HeaderChanges]:
        """Decide and do what the session needs before the first byte."""
        session = self.session
        if self._disabled:
            return header_changes(None, session.is_accessed)
        current = self.request.get(self._place_key)
        try:
            if current is session.data or not self.place.has_replacement(current):
                is_there = self._is_there()
            else:
                is_there = yield from self._apply_replacement(current)
            if is_there:
                saving = self.saving
                yield from saving.commit(final=True)
                if not saving.writes:
                    yield from self.keep_alive.with_response()
                set_cookie = self.cookie.line(session)
            else:
                yield from self.ending.end_pending()
                set_cookie = self.cookie.removal_line(session)
            changes = header_changes(set_cookie, session.is_accessed)
            if self._ending is not None:
                changes = yield from self._ending.finish_takeover(changes)
        except BaseException:
            self._disabled = True
            session.advance(FAILED)
            raise
        session.advance(HEADERS_SENT)
        if session.keeps_alive:
            session.keeps_alive = None  # the touch that was asked for is done
        if self.manager.emit.is_verbose():
            identity, writes = session.identity, 0 if self._saving is None else self._saving.writes
            self.manager.emit.decided(
                f"wrote={writes > 0} gone={identity.is_gone} degraded={identity.is_detached} "
                f"ended={identity.ends_presented} cookie={set_cookie is not None}",
                None if identity.snapshot is None else identity.snapshot.key,
            )
        return changes

    def sent_undecided(self) -> None:
        """Note that the response went out without a decision about the session."""
        self.session.advance(HEADERS_SENT)
        self.unused_headers = None

    def _is_there(self) -> bool:
        """Tell whether there is a session to be brought in line with the store."""
        session = self.session
        if self.manager.options.save_uninitialized and session.failure is None:
            session.use()
        return session.is_loaded and session.failure is None

    def _apply_replacement(self, current: object) -> Operations[bool]:
        """Act on what the application put in the session's place. False: leave it alone."""
        session = self.session
        if self.place.means_no_save(current):
            self._disabled = True
            return False
        if not (session.is_loaded or session.has_no_cookie or session.failure):
            yield from self.load()
        self.place.replace(session, current)
        return True

    # After the headers

    def has_late_changes(self, nested: bool = True) -> bool:
        """Tell whether :meth:`commit_after_headers` has anything to do.

        :param nested: count changes inside the session's values, which take time to find.
        """
        session = self.session
        if self._disabled or session.phase is OPEN:
            return False
        current = self.request.get(self._place_key)
        if current is not session.data and self.place.is_news(current, session):
            return True
        if not session.is_loaded:
            return False
        identity = session.identity
        if identity.snapshot is None:
            return identity.ends_presented
        may_differ = identity.attempts is not None or session.contents.may_differ(nested)
        return may_differ or bool(session.keeps_alive)

    def commit_after_headers(self) -> Operations[None]:
        """Save what changed since the headers went out."""
        current = self.request.get(self._place_key)
        session = self.session
        if current is not session.data and self.place.is_news(current, session):
            yield from self._apply_replacement(current)
        yield from self.saving.commit_late()

    # The end

    def must_abandon(self) -> bool:
        """Tell whether the session may still have a record that has to end."""
        session, identity = self.session, self.session.identity
        is_safe = identity.cookie_was_sent and not identity.orphans  # nearly always
        if session.is_loaded and not is_safe and identity.keys_to_end(self.manager.key_of):
            return True
        return identity.ends_presented and bool(self.manager.takeover or self.cookie.tokens())

    def abandon(self) -> Operations[None]:
        """Drop the changes, but carry out a requested end of the session."""
        self._disabled = True
        try:
            yield from self.ending.end_pending()
        except StoreError as error:
            self.manager.emit("store_error", None, error)
            logger.error(
                "the store failed after a request had failed, so a session that had to end may "
                "live until it expires: %s",
                type(error).__name__,
            )

    def end(self) -> None:
        """Note that the request is over, and let go of the session and the request.

        A task or thread that is still loading or saving the session finishes that, and then
        lets go of them itself.
        """
        self.is_open = False
        self.unused_headers = None
        session = self.session
        if self._place is not None:
            self._place.give_back(session.data)
        session.phase = CLOSED
        session.cookie = None
        if not session.is_busy:
            self.let_go()

    def end_with(self, error: BaseException, end_outside: Callable[[], None]) -> None:
        """Note that the application raised.

        An error page outside the middleware can still read and destroy the session. Both it and the
        request are left to the garbage collector.

        :param end_outside: carries out a `destroy()` that comes then.
        """
        if not isinstance(error, Exception):
            self.end()
            return
        if self._place is not None:
            self._place.give_back(self.session.data)
        self.is_open, self.unused_headers = False, None
        self.end_outside = end_outside
        self.session.advance(RAISED)

    def let_go(self) -> None:
        """Let go of the session and the request, once nothing is done with them any more.

        Both lead to the session, and it leads here: such circles would leave every request to
        the garbage collector.
        """
        try:
            session = self.session
            del self.session
        except AttributeError:
            return  # another thread was faster
        # A dict of its own: what anybody might still put there reaches no other session.
        session.data = {}
        if session.is_loaded and session.failure is None:
            session.contents.data = session.data
        self.request = {}
        self._place = self._saving = self._keep_alive = self._ending = None
        try:
            self.cookie.let_go()
        except AttributeError:
            pass  # the callable `cookie` raised
