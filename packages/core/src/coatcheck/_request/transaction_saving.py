"""Save the session of a request in a transaction of the application's.

Nothing else writes the changes that a transaction was given: not if the transaction is rolled back,
and not if the write fails. So the request goes on as if it was written, and merges
later changes with what is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._records.operations import OnStore, Operations
from .._records.records import Snapshot
from .._records.transactions import TransactionSnapshot, check_ended
from .._session.pending_write import PendingWrite
from .._session.session_core import SessionCore, gone
from ..errors import ConfigurationError
from ..store import AsyncStore, Store

if TYPE_CHECKING:
    from .._records.change import Change
    from .request_context import RequestContext


def save_in_transaction(context: RequestContext, store: Store | AsyncStore) -> Operations[bool]:
    """Write the changes of a stored session.

    :param store: its calls are part of the transaction.
    :returns: whether there was anything to write.
    :raises ConfigurationError: the calls of the store are part of none, or the session is not
        stored under its id.
    :raises SessionGone: the session was ended elsewhere.
    """
    session = context.session
    base = _record_of(session, store)
    in_doubt = isinstance(base, TransactionSnapshot)
    pending = PendingWrite(session) if in_doubt else PendingWrite.of_changes(session)
    if pending is None:
        return False
    lifecycle, cookie = context.policy.lifecycle, session.contents.cookie_options
    attempts = pending.identity.begin_write()
    snapshot, extends, renews = context.expiry_of_write(base, True)
    pending.begin()
    change: Change | None = None
    try:
        change = lifecycle.change_of(snapshot, pending.state, extends, attempts, pending.encoded)
        stored = yield OnStore(store, lifecycle.write_in_transaction(change))
    except BaseException:
        if change is None:
            pending.failed()
        else:
            written = _in_transaction(base, change.mine, store)
            pending.succeeded(written, pending.state, lifecycle.rebase)
        raise
    if stored is None:
        pending.found_no_record()
        raise gone()
    pending.succeeded(_in_transaction(base, stored[0], store), stored[1], lifecycle.rebase)
    lasts = renews and (cookie.max_age is not None or cookie.expires is not None)
    if pending.cookie_changed or lasts:
        context.cookie.follows_expiry = True
    return True


def _record_of(session: SessionCore, store: object) -> Snapshot:
    """Return the session's record, which the transaction changes."""
    if not isinstance(store, Store | AsyncStore) or store.transaction is None:
        raise ConfigurationError(
            "`save(store=...)` takes a store that is part of a transaction of yours, which "
            f"`store.bind(connection)` of coatcheck-sql returns, not {type(store).__name__}"
        )
    snapshot = session.identity.snapshot
    if snapshot is None:
        raise ConfigurationError(
            "`save(store=...)` changes a session that is stored: call `save()` before the "
            "transaction begins, to store a new session, or to carry out `regenerate()` or "
            "`destroy()`"
        )
    if isinstance(snapshot, TransactionSnapshot) and snapshot.transaction != store.transaction:
        check_ended(snapshot)
    return snapshot


def _in_transaction(
    base: Snapshot, written: Snapshot, store: Store | AsyncStore
) -> TransactionSnapshot:
    """Return what a transaction has of a session.

    :param base: what is stored if the transaction is rolled back.
    """
    transaction = store.transaction
    assert transaction is not None, "it was checked"
    before = base
    if isinstance(base, TransactionSnapshot) and base.record.data == written.record.data:
        before = base.before
    return TransactionSnapshot(
        written.key, written.record, written.content, before=before, transaction=transaction
    )
