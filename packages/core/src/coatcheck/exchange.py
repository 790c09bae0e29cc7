"""One request's session, from the cookie that came to the cookie that goes.

The decisions of a request stand here, in the order in which a request meets them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from . import deployment
from .codec import SessionState
from .contents import Settings
from .cookie import CookieOptions
from .errors import (
    ConfigurationError,
    LateWriteError,
    SessionUnavailable,
    StoreError,
)
from .events import logger, short_ref
from .group_commit import Change, ChangeFunction, check_function
from .identity import Detached, Stored
from .lifecycle import KeyTaken
from .operations import Get, Operations
from .phase import CLOSED, FAILED, HEADERS_SENT, OPEN, RAISED, outside
from .policy import Policy
from .records import Snapshot
from .replacement import Place, is_cleared
from .request_cookie import RequestCookie
from .session import Session
from .session_core import PendingWrite, SessionCore, gone
from .store import Record

_ID_ATTEMPTS: Final = 3
#: Seconds by which a store may round an expiry.
_ROUNDING: Final = 1.0


class HeaderChanges(NamedTuple):
    """What the session adds to the response headers.

    :ivar set_cookie: the value of a Set-Cookie header, or None.
    :ivar vary: whether the response depends on the cookie.
    """

    set_cookie: str | None
    vary: bool


NOTHING: Final = HeaderChanges(None, False)
_READ: Final = HeaderChanges(None, True)


#: The attributes that nearly each exchange with a session sets.
ATTRIBUTES: Final = """
    _engine _request session policy is_open presented _tokens _https _resolved _resign _writes
    _renew _unused_headers
"""


class Exchange(RequestCookie):
    """One request and its session."""

    session: SessionCore
    #: Under which key the request has the session; applications may put something else there.
    place: str
    #: False once the request is over.
    is_open = True
    _taken_ids = 0
    _inert = False
    #: How many writes have stored something.
    _writes = 0
    _renew = False
    _resign = False
    _place: Place | None = None
    #: Where else in the store the session may be, which ends with it.
    _other_key: str | None = None
    #: Headers that went out before anybody used the session, as long as the body goes on.
    _unused_headers: Sequence[tuple[Any, Any]] | None = None
    #: When the session would have expired, had its expiry not been moved at loading.
    _before_arrival: float | None = None

    # What the session asks for

    def new_id(self) -> str:
        """Make an id."""
        options = self._engine.options
        return self._checked_id(options.generate_id(self._request))

    @property
    def settings(self) -> Settings:
        """What the session needs to know of its middleware."""
        return self.policy.settings

    def expiry(self, state: SessionState) -> float:
        """Return when a session expires that is used now, in POSIX seconds."""
        return self.policy.expires_at(self._recorded_settings(state.cookie), state.created_at)

    def content(self, snapshot: Snapshot) -> bytes:
        """Return the encoded state of what is stored."""
        return self.policy.lifecycle.content(snapshot)

    def rebase(self, sent: PendingWrite, mine: SessionState, stored: Snapshot) -> SessionState:
        """Return what is stored together with what changed since a write began."""
        return self.policy.lifecycle.rebase(sent.state, sent.encoded, mine, stored)

    def check_late_use(self) -> None:
        """Refuse the session to a body that caches may serve to other visitors.

        Its headers went out before the session was used, and do not say that it depends on it.
        """
        headers, engine = self._unused_headers, self._engine
        if (
            headers is not None
            and self.tokens()
            and engine.dialect.may_be_shared(headers, engine.options.clock())
        ):
            raise SessionUnavailable(
                "the response headers are sent, and let caches share the response: read the "
                "session before the response starts, or send `Cache-Control: private`"
            )

    def load(self) -> Operations[None]:
        """Look up the presented ids until one is known; otherwise begin a new session."""
        session = self.session
        if session.is_loaded:
            return  # by another task, while this one waited
        for token in self.tokens():
            try:
                key = self._engine.key_of(token.id)
                found = yield from self.policy.lifecycle.load(
                    key,
                    token.other_key if token.lookup_other_key else None,
                    token.migrate,
                    token.accepts,
                )
            except StoreError as error:
                self._load_failed(error)
                return
            except ConfigurationError as error:
                session.fail(error)
                return
            if found is not None:
                if token.other_key is not None:
                    # A move that was cut short leaves the session in two places.
                    is_there = found[0].key == token.other_key
                    self._other_key = key if is_there else token.other_key
                session.fill(token.id, *found)
                self._resign = not token.current
                snapshot, state = found
                if self.policy.little_is_left(
                    state.cookie, state.created_at, snapshot.record.expires_at
                ):
                    yield from self._touch_at_arrival(snapshot)
                return
        session.start()

    def save(self) -> Operations[None]:
        """Do what the application asked for now."""
        session = self.session
        self._check_savable()
        writes = self._writes
        session.identity.store_even_empty()
        yield from self._commit()
        yield from self._touch_if_asked(writes)
        if session.identity.is_gone:
            raise gone()

    def _check_savable(self) -> None:
        session, identity = self.session, self.session.identity
        if identity.is_gone:
            raise gone()
        if identity.ends_presented:
            return
        if identity.is_detached:
            raise SessionUnavailable("a degraded session is never saved")
        if session.phase is RAISED:
            raise outside()
        if session.phase is not OPEN and not identity.is_announced:
            raise LateWriteError("the response headers are sent: a new session cannot be saved")

    def change(self, function: ChangeFunction) -> Operations[Any]:
        """Apply a function to what is stored, and return what it returned."""
        check_function(function)
        session, lifecycle = self.session, self.policy.lifecycle
        self._check_savable()
        if session.identity.continues:
            # Others may still write under the old id: the new one first.
            yield from self._commit()
            self._check_savable()
        if session.identity.snapshot is None:
            # Nobody else knows it yet. It is stored with the response.
            state, value = lifecycle.applied(session.contents.state(), function)
            session.replace_data(state.data)
            return value
        before, writes = session.identity.snapshot, self._writes
        change = yield from self._update(session.begin_write(), function=function)
        if session.identity.is_gone:
            raise gone()
        try:
            yield from self._touch_if_asked(writes)
        except StoreError as error:
            self._touch_failed(before, error)  # the change itself is stored
        return change.value

    def reload(self) -> Operations[None]:
        """Show what is stored."""
        session = self.session
        if session.identity.is_gone:
            raise gone()
        before = session.identity.latest
        if before is None:
            session.reset()
            return
        found = yield from self.policy.lifecycle.load(before.key)
        if session.identity.latest is not before:
            return  # ended meanwhile, or given another id
        if found is None:
            session.record_deleted()
            raise gone()
        session.refill(*found)

    # What the driver asks for

    def begin(self, session: SessionCore) -> bool:
        """Give the request its session. Returns whether :meth:`load` is to be run at once."""
        self.session = session
        engine = self._engine
        self.policy = engine.fixed_policy or self._policy_for(session)
        if not (engine.everywhere or self.in_path()):
            session.failure = SessionUnavailable(
                "the request's path is outside the session cookie's path "
                f"({self.policy.cookie.path}): there is no session here"
            )
            session.hold_off()
            return False
        if not engine.eager:
            session.hold_off()
            return False
        if self.tokens():
            return True
        session.has_no_cookie = True
        return False

    def _policy_for(self, session: SessionCore) -> Policy:
        session.failure = SessionUnavailable("the callable `cookie` cannot use the session")
        try:
            policy = self._policy_of_request()
        except BaseException:
            session.failure = SessionUnavailable(
                "the callable `cookie` raised: there is no session here"
            )
            raise
        session.failure = None
        return policy

    def answer(self) -> HeaderChanges | None:
        """Return what to add to the response headers, where that takes no store; or None."""
        session, options = self.session, self._engine.options
        is_ours = self._request.get(self.place) is session.data
        if not is_ours or session.is_busy or self._inert:
            return None
        snapshot = session.identity.snapshot
        if snapshot is None:
            # Nobody used it, and there is nothing that would have to be moved or stored.
            if session.is_accessed or (options.save_uninitialized and session.failure is None):
                return None
            session.phase = HEADERS_SENT
            return NOTHING
        resaves = options.resave and not self._writes
        if (
            resaves
            or session.identity.attempts is not None
            or session.contents.may_differ()
            or self._touch_expiry(snapshot) is not None
        ):
            return None
        session.phase = HEADERS_SENT
        if session.extends:
            session.extends = None  # the touch that was asked for moves nothing
        set_cookie = self._cookie_line()
        if set_cookie is None:
            return _READ if session.is_accessed else NOTHING
        return HeaderChanges(set_cookie, True)

    def respond(self) -> Operations[HeaderChanges]:
        """Decide and do what the session needs before the first byte."""
        session = self.session
        if self._inert:
            return _READ if session.is_accessed else NOTHING
        current = self._request.get(self.place)
        try:
            if current is session.data or not self._its_place().is_order(current):
                is_there = self._is_there()
            else:
                is_there = yield from self._notice_replacement(current)
            if is_there:
                yield from self._commit(final=True)
                if not self._writes:
                    yield from self._touch()
                set_cookie = self._cookie_line()
            else:
                yield from self.end_pending()
                set_cookie = self._removal()
        except BaseException:
            self._inert = True
            session.advance(FAILED)
            raise
        session.advance(HEADERS_SENT)
        if session.extends:
            session.extends = None  # the touch that was asked for is done
        if self._engine.announce.is_verbose():
            self._announce_decision(set_cookie)
        return HeaderChanges(set_cookie, session.is_accessed or set_cookie is not None)

    def seal(self) -> None:
        """Note that the headers went out without a decision being needed."""
        self.session.advance(HEADERS_SENT)

    def sent_unused(self, headers: Sequence[tuple[Any, Any]]) -> None:
        """Note headers that went out before the session was used."""
        self._unused_headers = headers

    def has_late_changes(self, nested: bool = True) -> bool:
        """Tell whether :meth:`finish` has anything to do.

        :param nested: count changes inside of the session's values, which take time to find.
        """
        session = self.session
        if self._inert or session.phase is OPEN:
            return False
        current = self._request.get(self.place)
        if current is not session.data and self._its_place().is_news(current, session):
            return True
        if not session.is_loaded:
            return False
        identity = session.identity
        if identity.snapshot is None:
            return identity.ends_presented
        may_differ = identity.attempts is not None or session.contents.may_differ(nested)
        return may_differ or bool(session.extends)

    def finish(self) -> Operations[None]:
        """Save what changed since the headers went out."""
        current = self._request.get(self.place)
        session = self.session
        if current is not session.data and self._its_place().is_news(current, session):
            yield from self._notice_replacement(current)
        if session.identity.ends_presented:
            yield from self.end_pending()
        elif session.identity.snapshot is not None:
            before, writes = session.identity.snapshot, self._writes
            change = session.change_to_write()
            if change is not None:
                yield from self._update(change)
                self._warn_if_dropped(before)
            try:
                yield from self._touch_if_asked(writes)
            except StoreError as error:
                self._touch_failed(before, error)

    def end(self) -> None:
        """Note that the request is over, and let go of the session and the request.

        A task or thread that is still loading or saving the session finishes that, and then
        lets go of them itself.
        """
        self.is_open = False
        self._unused_headers = None
        if self._place is not None:
            self._place.give_back(self.session.data)
        session = self.session
        session.phase = CLOSED
        session.cookie = None
        if not session.is_busy:
            self.let_go()

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
        self._request = {}
        self._place = None

    def end_with(self, error: BaseException) -> None:
        """Note that the application raised.

        Whoever answers the client outside of the middleware can still read and destroy the
        session; both it and the request are left to the garbage collector.
        """
        if not isinstance(error, Exception):
            self.end()
            return
        if self._place is not None:
            self._place.give_back(self.session.data)
        self.is_open = False
        self._unused_headers = None
        self.session.advance(RAISED)

    def must_abandon(self) -> bool:
        """Tell whether the session still has a record that was to be ended."""
        session = self.session
        if not session.is_loaded:
            return False
        identity = session.identity
        if type(identity) is Stored and identity.is_announced and not identity.orphans:
            return False  # nearly always
        if identity.old is None and not (identity.ends_presented or identity.is_detached):
            unannounced = identity.snapshot is not None or identity.attempts is not None
            if not identity.orphans and (identity.is_announced or not unannounced):
                return False
        return bool(self._pending_keys()) or (identity.ends_presented and bool(self.tokens()))

    def abandon(self) -> Operations[None]:
        """Drop the changes, but carry out a requested end of the session."""
        self._inert = True
        try:
            yield from self.end_pending()
        except StoreError as error:
            self._engine.announce("store_error", None, error)
            logger.error(
                "what a failed request had ended or stored could not be removed: %s",
                type(error).__name__,
            )

    def _load_failed(self, error: StoreError) -> None:
        session = self.session
        self._engine.announce("store_error", None, error)
        if self._engine.options.on_store_error == "raise":
            session.fail(error)
            return
        self._engine.announce("degraded", None, error)
        session.start()
        session.identity = Detached()

    def _announce_decision(self, set_cookie: str | None) -> None:
        session = self.session
        identity = session.identity
        self._engine.announce.decided(
            f"wrote={self._writes > 0} gone={identity.is_gone} degraded={identity.is_detached} "
            f"ended={identity.ends_presented} cookie={set_cookie is not None}",
            None if identity.snapshot is None else identity.snapshot.key,
        )

    def _is_there(self) -> bool:
        """Tell whether there is a session to be brought in line with the store."""
        session = self.session
        if self._engine.options.save_uninitialized and session.failure is None:
            session.use()
        return session.is_loaded and session.failure is None

    def take_place(self, session: Session, own_key: str) -> None:
        """Put the session where the application finds it: see :meth:`Place.take`."""
        self._its_place().take(session, own_key)

    def is_of(self, engine: object) -> bool:
        """Tell whether the middleware of an engine made this exchange."""
        return self._engine is engine

    def leave_place(self, request: object, leaves: bool) -> None:
        """Leave what is put into the session's place to a session inside, or no more.

        :param request: whose place it is. A copy of ours has a place of its own.
        """
        if request is self._request:
            self._its_place().is_ours = not leaves

    def _its_place(self) -> Place:
        """Return the session's place, which nearly no request needs."""
        if self._place is None:
            self._place = Place(self._request, self.place, self._engine)
        return self._place

    def _notice_replacement(self, current: object) -> Operations[bool]:
        """Act on what the application put in the session's place. False: leave it alone."""
        session = self.session
        options = self._engine.options
        if current is None and options.unset == "keep":
            # Neither saved nor touched, whatever it holds.
            self._inert = True
            return False
        if not (session.is_loaded or session.has_no_cookie or session.failure):
            yield from self.load()
        session.use()
        if isinstance(current, Mapping):
            session.replace_data(current)
        elif is_cleared(current):
            session.destroy()
        else:
            raise TypeError(
                f"the session was replaced by a {type(current).__name__}; it takes a dict"
            )
        self._its_place().replaced_by = current
        return True

    def _commit(self, final: bool = False) -> Operations[None]:
        """Bring the store in line with the session, which may change meanwhile.

        :param final: at the end of the request, where nothing is stored without need.
        """
        session, options = self.session, self._engine.options
        done = False
        while not (done or session.identity.is_gone):
            changed = session.identity.snapshot or session.identity.old
            if session.identity.snapshot is not None:
                change = session.change_to_write()
                if change is not None:
                    yield from self._update(change)
                elif final and options.resave and not self._writes:
                    changed, change = None, session.begin_write()
                    yield from self._update(change, changed=False)
                else:
                    return
                done = not change.is_superseded
            elif not session.identity.is_detached and (
                session.has_contents() or (final and self._wants_empty())
            ):
                done = yield from self._store_new()
            else:
                yield from self.end_pending()
                return
            if final and changed is not None:
                self._warn_if_dropped(changed)
            if not (done or final):
                self._check_savable()  # the request may have failed meanwhile

    def _wants_empty(self) -> bool:
        return self._engine.options.save_uninitialized and not self.session.identity.ends_presented

    def _store_new(self) -> Operations[bool]:
        """Store a new or regenerated session. False: the application changed what is to be done."""
        session = self.session
        if not self.can_be_sent(self._session_cookie):
            yield from self._leave_unstored()
            return True
        if session.identity.id is None:
            session.identity.id = self.new_id()
        key = self._engine.key_of(session.identity.id)
        if not session.identity.continues:
            session.contents.cookie = self._recorded_settings(session.contents.cookie)
        pending = session.begin_write()
        session.set_pending(pending)
        try:
            stored = yield from self._store_under(key, pending)
        except KeyTaken:
            pending.id = session.identity.id = None  # what is stored there is another session
            session.write_failed(pending)
            self._taken_ids += 1
            if self._taken_ids < _ID_ATTEMPTS:
                return False
            raise ConfigurationError(
                f"`generate_id` returned ids of other sessions {_ID_ATTEMPTS} times in a row"
            ) from None
        except BaseException:
            session.write_failed(pending)
            raise
        return self._note(pending, stored)

    def _store_under(
        self, key: str, pending: PendingWrite
    ) -> Operations[tuple[Snapshot, SessionState] | None]:
        """Store a new or regenerated session under its key, and end what it takes the place of."""
        session, lifecycle = self.session, self.policy.lifecycle
        attempts, old = pending.identity.begin_write(), pending.identity.old
        state = pending.state
        stored: tuple[Snapshot, SessionState] | None
        if old is None:
            stored = yield from lifecycle.create(key, state, attempts, pending.encoded)
            same_site = self.withheld_by(self._session_cookie)
            if same_site is not None:
                self._engine.notices.give(deployment.CROSS_SITE, same_site)
        else:
            keep = pending.identity.keeps_data
            stored = yield from lifecycle.rotate(old, key, state, keep, attempts, pending.encoded)
            if stored is not None:
                yield from self._end_elsewhere()
        if session.identity.ends_presented:
            yield from self._end_presented(() if old is None else (old.key,))
        return stored

    def _leave_unstored(self) -> Operations[None]:
        """Say that the session's cookie cannot be sent, so nobody could come back to it."""
        self._engine.announce("insecure")
        self._engine.notices.give(deployment.INSECURE)
        yield from self.end_pending()
        identity = self.session.identity
        self.session.identity = Detached(identity.orphans, identity.ends_presented, identity.id)

    def _recorded_settings(self, own: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the cookie settings that a new session's record holds.

        :param own: those of the session alone.
        """
        if not self._engine.whole_cookie:
            return own
        return {**self.policy.recorded_settings(self._attributes(self.policy.cookie)), **own}

    def _update(
        self,
        pending: PendingWrite,
        *,
        changed: bool = True,
        function: ChangeFunction | None = None,
    ) -> Operations[Change]:
        """Store a session over what was loaded, and return the change that was written.

        :param changed: whether there is a change, with which a cookie that has a lifetime goes.
        :param function: is applied to what is stored.
        """
        session, lifecycle = self.session, self.policy.lifecycle
        # Another thread may have changed the session's state since the write was drawn up.
        loaded = pending.identity.snapshot
        assert loaded is not None, "it was stored"
        snapshot = loaded
        attempts = pending.identity.begin_write()
        changed_cookie, cookie = pending.cookie_changed, self._session_cookie
        extends, renew = self._extends(), changed
        if self._before_arrival is not None and not extends:
            record = replace(snapshot.record, expires_at=self._before_arrival)
            snapshot = replace(snapshot, record=record)
        elif extends and self._cookie_follows():
            # The expiry moves where the cookie can go along.
            if session.phase is not OPEN:
                extends = False
            elif not changed:
                extends = renew = self._touch_is_due(snapshot)
        session.set_pending(pending)
        attempts.needless = False
        try:
            change = lifecycle.change_of(
                snapshot, pending.state, extends, attempts, pending.encoded, function=function
            )
            stored = yield from lifecycle.write(change)
        except BaseException:
            session.write_failed(pending)
            raise
        if stored is not None:
            lasts = renew and (cookie.max_age is not None or cookie.expires is not None)
            if attempts.needless:
                # The record's expiry is where it was, unless who has stored the same moved it.
                if stored[0] is snapshot:
                    stored = loaded, stored[1]
                moved = stored[0].record.expires_at - loaded.record.expires_at
                lasts = lasts and moved > _ROUNDING
            self._renew = self._renew or changed_cookie or lasts
        self._note(pending, stored, not attempts.needless)
        return change

    def _note(
        self,
        pending: PendingWrite,
        stored: tuple[Snapshot, SessionState] | None,
        wrote: bool = True,
    ) -> bool:
        """Note what a write came to. False: the session was ended or renamed meanwhile.

        :param wrote: False: all of it was stored already. The expiry has not been moved then.
        """
        if stored is None:
            self.session.record_deleted(pending)
        else:
            self.session.write_succeeded(pending, *stored)
            self._writes += wrote
        return not pending.is_superseded

    def _pending_keys(self) -> list[str]:
        """Return the keys of records that the application asked to end."""
        session = self.session
        identity, key_of = session.identity, self._engine.key_of
        keys = [key_of(session_id) for session_id in identity.orphans]
        if not identity.is_announced:
            # Who does not get the cookie cannot come back.
            if identity.snapshot is not None:
                keys.append(identity.snapshot.key)
            elif identity.attempts is not None and identity.id is not None:
                keys.append(key_of(identity.id))
        if identity.old is not None:
            keys.append(identity.old.key)
        return keys

    def end_pending(self) -> Operations[None]:
        """Carry out what the application asked to end."""
        session = self.session
        keys = self._pending_keys()
        for key in keys:
            yield from self.policy.lifecycle.end(key)
        if session.identity.ends_presented:
            yield from self._end_presented(keys)
        elif session.identity.old is not None:
            yield from self._end_elsewhere()
        session.all_ended()

    def _end_presented(self, ended: Collection[str]) -> Operations[None]:
        """End each session whose cookie came, the one in use among them.

        A browser sends several cookies of one name after a change of the cookie's domain, or where
        somebody planted one. And where the load failed nobody knows which session is alive.

        :param ended: keys of sessions that were ended already.
        """
        seen = set(ended)
        for token in self.tokens():
            for key in (self._engine.key_of(token.id), token.other_key):
                if key is not None and key not in seen:
                    seen.add(key)
                    yield from self.policy.lifecycle.end(key, token.accepts)
        self._tokens, self._other_key = [], None

    def _end_elsewhere(self) -> Operations[None]:
        """Remove what may be left of the ended session under another key."""
        if self._other_key is not None:
            yield from self.policy.lifecycle.end(self._other_key)
            self._other_key = None

    def _touch_at_arrival(self, snapshot: Snapshot) -> Operations[None]:
        """Move the expiry of a session that was loaded, where little is left.

        Otherwise a request that takes longer than that would find its session expired, and lose
        its changes. Where the cookie has to follow, the expiry stops one touch interval short:
        the first response moves both, and that may be another request's.
        """
        if not self._extends():
            return
        expires_at = self._next_expiry()
        if self._cookie_follows():
            expires_at -= self.policy.short_of(expires_at)
        try:
            moved = yield from self._move_expiry(snapshot, expires_at)
        except StoreError as error:
            self._touch_failed(snapshot, error)
            return
        if moved:
            self._before_arrival = snapshot.record.expires_at
            self._renew = self._renew or self._cookie_follows()

    def _touch(self) -> Operations[None]:
        """Move the expiry of a session that was not written, where that is due."""
        snapshot = self.session.identity.snapshot
        if snapshot is None:
            return
        expires_at = self._touch_expiry(snapshot)
        if expires_at is None:
            return
        try:
            if self._before_arrival is not None and not self._extends():
                yield from self._move_back(snapshot, self._before_arrival)
            elif (yield from self._move_expiry(snapshot, expires_at)):
                moved = expires_at != snapshot.record.expires_at
                self._renew = self._renew or (moved and self._cookie_follows())
        except StoreError as error:
            self._touch_failed(snapshot, error)

    def _touch_if_asked(self, writes: int) -> Operations[None]:
        """Move the expiry after a save, where the application asked for it and the save did not.

        After the headers no cookie can go along. There the expiry of a session whose cookie has a
        lifetime stops one touch interval short: so the next response moves both.

        :param writes: how many there were before the save.
        """
        session = self.session
        snapshot, asked = session.identity.snapshot, session.extends
        follows = self._cookie_follows()
        if session.extends:
            session.extends = None
        wrote = self._writes > writes
        is_late = session.phase is not OPEN
        if snapshot is None or not (is_late and follows if wrote else asked):
            return
        if asked is not True and not self._extends():
            return
        expires_at, stored = self._next_expiry(), snapshot.record.expires_at
        if follows and is_late:
            expires_at -= self.policy.touch_interval(expires_at)
            if expires_at <= stored:
                return
        if not self.policy.touch_is_due(expires_at, stored, asked):
            return
        if (yield from self._move_expiry(snapshot, expires_at)) and session.phase is OPEN:
            self._renew = self._renew or follows

    def _move_back(self, snapshot: Snapshot, expires_at: float) -> Operations[None]:
        """Move the expiry back to where it was when the session was loaded.

        The application said only then that this request does not keep the session alive; the
        option `extends` says so before. What other requests have stored meanwhile stays.
        """
        self._before_arrival, self._renew = None, False
        mine = snapshot.record
        record: Record | None = yield Get(snapshot.key)
        if record is None:
            if self.session.identity.snapshot is snapshot:
                self.session.record_deleted()
        elif record.data == mine.data and abs(record.expires_at - mine.expires_at) <= _ROUNDING:
            yield from self._move_expiry(snapshot, expires_at)

    def _move_expiry(self, snapshot: Snapshot, expires_at: float) -> Operations[bool]:
        """Touch the record. Returns whether the session is still the one that was touched."""
        session = self.session
        touched = yield from self.policy.lifecycle.touch(snapshot, expires_at)
        if touched is not None:
            return session.touched(snapshot, touched)
        if session.identity.snapshot is snapshot:
            session.record_deleted()
        return False

    def _touch_failed(self, snapshot: Snapshot, error: StoreError) -> None:
        self._engine.announce("store_error", snapshot.key, error)
        logger.warning("a session's expiry could not be moved: %s", type(error).__name__)

    def _touch_expiry(self, snapshot: Snapshot) -> float | None:
        """Return the expiry to move the record to, or None where that is not due."""
        if self._writes:
            return None
        # A cookie that is going out needs a session behind it: the touch asks for it.
        announces = self._resign or self._engine.options.rolling
        if not self._extends():
            stored = snapshot.record.expires_at
            return stored if announces or self._before_arrival is not None else None
        if announces or self._touch_is_due(snapshot):
            return self._next_expiry()
        return None

    def _touch_is_due(self, snapshot: Snapshot) -> bool:
        stored, forced = snapshot.record.expires_at, self.session.extends
        return self.policy.touch_is_due(self._next_expiry(), stored, forced)

    def _next_expiry(self) -> float:
        session = self.session
        return self.policy.expires_at(session.contents.cookie, session.contents.began_at())

    def _cookie_follows(self) -> bool:
        """Tell whether the cookie goes out again when the expiry moves: it ends by itself."""
        return self._session_cookie.max_age is not None and not self._engine.whole_cookie

    def _warn_if_dropped(self, before: Snapshot) -> None:
        """Say that changes of this request were dropped, where the session turned out gone.

        :param before: what the request had of the session.
        """
        if not self.session.identity.is_gone:
            return
        if before.record.expires_at <= self._engine.options.clock():
            why = "expired before the request ended: it took longer than `idle_timeout` leaves it"
        else:
            why = "was ended by another request meanwhile"
        logger.warning(
            "the changes of a request were dropped: session %s %s", short_ref(before.key), why
        )

    def _extends(self) -> bool:
        if self.session.extends is not None:
            return self.session.extends
        rule = self._engine.options.extends
        return rule is None or bool(rule(self._request))

    # The cookie

    @property
    def _session_cookie(self) -> CookieOptions:
        """The cookie settings of this request's session."""
        contents = self.session.contents
        return contents.cookie_options if contents.cookie else self.policy.cookie

    def _cookie_line(self) -> str | None:
        """Return the one Set-Cookie of this response, if it needs one."""
        session = self.session
        identity = session.identity
        if type(identity) is not Stored:
            return None if identity.is_gone else self._removal()
        is_due = self._resign or self._renew or self._engine.options.rolling
        if identity.is_announced and not is_due:
            return None
        assert identity.id is not None, "it is stored"
        line = self.line(identity.id, self._session_cookie, session.contents.began_at())
        if line is not None:
            identity.announce()
            session.sent_cookie = session.contents.cookie
        return line

    def _removal(self) -> str | None:
        session = self.session
        if not session.identity.ends_presented:
            return None
        return self.removal_line(session.sent_cookie)

    # Ids

    def _checked_id(self, made: object) -> str:
        if not isinstance(made, str) or not self._engine.writer.valid_id(made):
            raise ConfigurationError(
                "`generate_id` must return 16 to 128 characters of A-Z, a-z, 0-9, `-` and `_`, "
                "or what the cookie format takes instead (`valid_id` of `express_options`)"
            )
        return made
