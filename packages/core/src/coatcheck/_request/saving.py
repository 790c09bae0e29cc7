"""Turn what the application did with a session into operations of the store.

Nothing else does: the middleware calls :meth:`Saving.commit` or :meth:`Saving.commit_late` with
the response, and the application calls :meth:`Saving.save` or :meth:`Saving.change` before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._records.change import Change, ChangeFunction, check_function
from .._records.operations import Operations
from .._records.records import Snapshot
from .._records.session_writer import ID_ATTEMPTS, KeyTaken, ids_taken
from .._records.transactions import check_ended
from .._session.identity import Detached
from .._session.pending_write import PendingWrite
from .._session.phase import OPEN, RAISED, outside
from .._session.session_core import SessionCore, gone
from ..codec import SessionState
from ..errors import LateWriteError, SessionUnavailable, StoreError
from ..events import logger, short_ref
from ..store import AsyncStore, Store
from . import deployment
from .keep_alive import ROUNDING
from .transaction_saving import save_in_transaction

if TYPE_CHECKING:
    from .request_context import RequestContext


class Saving:
    """Save and end the session of one request.

    :param context: the request, whose parts are made when they are needed.
    :ivar writes: how many writes have stored something.
    """

    __slots__ = ("_context", "_lifecycle", "_session", "_taken_ids", "writes")

    def __init__(self, context: RequestContext) -> None:
        self._context = context
        self._lifecycle = context.policy.lifecycle
        self._session = context.session
        self._taken_ids = self.writes = 0

    # What the application asks for

    def save(self, store: Store | AsyncStore | None = None) -> Operations[None]:
        """Do what the application asked for now.

        :param store: is part of a transaction, in which the changes are written; None for the
            store of the request.
        """
        session = self._session
        _check_savable(session)
        if store is not None:
            self.writes += yield from save_in_transaction(self._context, store)
            return
        writes = self.writes
        session.identity.store_even_empty()
        yield from self.commit()
        yield from self._context.keep_alive.after_save(self.writes > writes)
        if session.identity.is_gone:
            raise gone()

    def change(self, function: ChangeFunction) -> Operations[Any]:
        """Apply a function to what is stored, and return what it returned."""
        check_function(function)
        session = self._session
        _check_savable(session)
        if session.identity.continues:
            # Others may still write under the old id: the new one first.
            yield from self.commit()
            _check_savable(session)
        if session.identity.snapshot is None:
            # Nobody else knows it yet. It is stored with the response.
            state, value = self._lifecycle.applied(session.contents.state(), function)
            session.replace_data(state.data)
            return value
        before, writes = session.identity.snapshot, self.writes
        change = yield from self._update(PendingWrite(session), function=function)
        if session.identity.is_gone:
            raise gone()
        try:
            yield from self._context.keep_alive.after_save(self.writes > writes)
        except StoreError as error:
            self._context.keep_alive.failed(before, error)  # the change itself is stored
        return change.value

    # What the end of the request asks for

    def commit(self, final: bool = False) -> Operations[None]:
        """Bring the store in line with the session, which may change meanwhile.

        :param final: at the end of the request, where nothing is stored without need.
        """
        session, options = self._session, self._context.manager.options
        done = False
        while not (done or session.identity.is_gone):
            changed = session.identity.snapshot or session.identity.old
            if session.identity.snapshot is not None:
                change = PendingWrite.of_changes(session)
                if change is not None:
                    yield from self._update(change)
                elif final and options.resave and not self.writes:
                    changed, change = None, PendingWrite(session)
                    yield from self._update(change, changed=False)
                else:
                    return
                done = not change.is_superseded
            elif not session.identity.is_detached and (
                session.has_contents()
                or (final and options.save_uninitialized and not session.identity.ends_presented)
            ):
                done = yield from self._store_new()
            else:
                yield from self._context.ending.end_pending()
                return
            if final and changed is not None:
                _warn_if_dropped(session, changed)
            if not (done or final):
                _check_savable(session)  # the request may have failed meanwhile

    def commit_late(self) -> Operations[None]:
        """Save what changed since the headers went out."""
        session = self._session
        if session.identity.ends_presented:
            yield from self._context.ending.end_pending()
        elif session.identity.snapshot is not None:
            before, writes = session.identity.snapshot, self.writes
            change = PendingWrite.of_changes(session)
            if change is not None:
                yield from self._update(change)
                _warn_if_dropped(session, before)
            try:
                yield from self._context.keep_alive.after_save(self.writes > writes)
            except StoreError as error:
                self._context.keep_alive.failed(before, error)

    # A session that is stored under its id

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
        # Another thread may have changed the session's state since the write was drawn up.
        loaded = pending.identity.snapshot
        assert loaded is not None, "it was stored"
        attempts = pending.identity.begin_write()
        cookie = self._session.contents.cookie_options
        snapshot, extends, renews = self._context.expiry_of_write(loaded, changed)
        pending.begin()
        attempts.needless = False
        try:
            check_ended(loaded)
            change = self._lifecycle.change_of(
                snapshot, pending.state, extends, attempts, pending.encoded, function=function
            )
            stored = yield from self._lifecycle.write(change)
        except BaseException:
            pending.failed()
            raise
        if stored is not None:
            lasts = renews and (cookie.max_age is not None or cookie.expires is not None)
            if attempts.needless:
                # The record's expiry is where it was, unless who has stored the same moved it.
                if stored[0] is snapshot:
                    stored = loaded, stored[1]
                lasts &= stored[0].record.expires_at - loaded.record.expires_at > ROUNDING
            if pending.cookie_changed or lasts:
                self._context.cookie.follows_expiry = True
        self._settle(pending, stored, not attempts.needless)
        return change

    def _settle(
        self,
        pending: PendingWrite,
        stored: tuple[Snapshot, SessionState] | None,
        wrote: bool = True,
    ) -> None:
        """Note what a write came to.

        :param wrote: False: all of it was stored already. The expiry has not been moved then.
        """
        if stored is None:
            pending.found_no_record()
        else:
            pending.succeeded(*stored, self._lifecycle.rebase)
            self.writes += wrote

    # A session that is new, or gets a new id

    def _store_new(self) -> Operations[bool]:
        """Store a new or regenerated session.

        :returns: False where the application changed its mind meanwhile.
        """
        session, cookie, manager = self._session, self._context.cookie, self._context.manager
        if not cookie.can_be_sent(session.contents.cookie_options):
            yield from self._leave_unstored()
            return True
        # Whatever another thread does to the session from here on supersedes this write.
        identity = session.identity
        session_id = session.id_of(identity)
        if not identity.continues:
            session.contents.cookie = cookie.recorded_settings(session.contents.cookie)
        pending = PendingWrite(session, identity)
        pending.begin()
        try:
            stored = yield from self._store_under(manager.key_of(session_id), pending)
        except KeyTaken:
            pending.id = identity.id = None  # what is stored there is another session
            pending.failed()
            self._taken_ids += 1
            if self._taken_ids < ID_ATTEMPTS:
                return False
            raise ids_taken() from None
        except BaseException:
            pending.failed()
            raise
        self._settle(pending, stored)
        return not pending.is_superseded

    def _store_under(
        self, key: str, pending: PendingWrite
    ) -> Operations[tuple[Snapshot, SessionState] | None]:
        """Store a new or regenerated session under its key, and end what it takes the place of."""
        session, lifecycle = self._session, self._lifecycle
        attempts, old = pending.identity.begin_write(), pending.identity.old
        check_ended(old)
        state = pending.state
        stored: tuple[Snapshot, SessionState] | None
        if old is None:
            stored = yield from lifecycle.create(key, state, attempts, pending.encoded)
            same_site = self._context.cookie.withheld_by(session.contents.cookie_options)
            if same_site is not None:
                self._context.manager.notices.give(deployment.CROSS_SITE, same_site)
        else:
            keep = pending.identity.keeps_data
            stored = yield from lifecycle.rotate(old, key, state, keep, attempts, pending.encoded)
            if stored is not None:
                yield from self._context.ending.end_elsewhere()
        if session.identity.ends_presented:
            yield from self._context.ending.end_presented(() if old is None else (old.key,))
        return stored

    def _leave_unstored(self) -> Operations[None]:
        """Say that the session's cookie cannot be sent, so nobody could come back to it."""
        self._context.manager.emit("insecure")
        self._context.manager.notices.give(deployment.INSECURE)
        yield from self._context.ending.end_pending()
        identity = self._session.identity
        self._session.identity = Detached(identity.orphans, identity.ends_presented, identity.id)


def _warn_if_dropped(session: SessionCore, before: Snapshot) -> None:
    """Say that changes of a request were dropped, where the session turned out gone.

    :param before: what the request had of the session.
    """
    if not session.identity.is_gone:
        return
    if before.record.expires_at <= session.contents.settings.clock():
        why = "expired before the request ended: it took longer than `idle_timeout` leaves it"
    else:
        why = "was ended by another request meanwhile"
    logger.warning(
        "the changes of a request were dropped: session %s %s", short_ref(before.key), why
    )


def _check_savable(session: SessionCore) -> None:
    """Check that what the application asks for can be stored now.

    :raises SessionGone: the session was ended elsewhere.
    :raises SessionUnavailable: it could not be loaded.
    :raises LateWriteError: its cookie can no longer be sent.
    """
    identity = session.identity
    if identity.is_gone:
        raise gone()
    if identity.ends_presented:
        return
    if identity.is_detached:
        raise SessionUnavailable("a degraded session is never saved")
    if session.phase is RAISED:
        raise outside()
    if session.phase is not OPEN and not identity.cookie_was_sent:
        raise LateWriteError("the response headers are sent: a new session cannot be saved")
