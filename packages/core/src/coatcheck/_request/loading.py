"""Load the session of a request, or find out that there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._records.operations import Operations
from .._records.transactions import check_ended
from .._session.session_core import gone
from ..errors import ConfigurationError, SessionUnavailable, StoreError

if TYPE_CHECKING:
    from .policy import Policy
    from .request_context import RequestContext


def policy_of(context: RequestContext) -> Policy:
    """Return the settings of a request, where the option ``cookie`` is a callable.

    While the callable runs, and if it raises, the request has no session.
    """
    session = context.session
    session.failure = SessionUnavailable("the callable `cookie` cannot use the session")
    try:
        policy = context.manager.policy_of(context.request)
    except BaseException:
        session.failure = SessionUnavailable(
            "the callable `cookie` raised: there is no session here"
        )
        raise
    session.failure = None
    return policy


def load(context: RequestContext) -> Operations[None]:
    """Look up the presented ids until one is known; otherwise begin a new session."""
    session, policy = context.session, context.policy
    if session.is_loaded:
        return  # by another task, while this one waited
    for session_id, is_current, other_key, looks_up, migrates, accepts in context.cookie.tokens():
        try:
            key = context.manager.key_of(session_id)
            second = other_key if looks_up else None
            found = yield from policy.lifecycle.load(key, second, migrates, accepts)
        except StoreError as error:
            _failed(context, error)
            return
        except ConfigurationError as error:
            session.fail(error)
            return
        if found is not None:
            snapshot, state = found
            if other_key is not None:
                # A move that was cut short leaves the session in two places.
                is_there = snapshot.key == other_key
                context.ending.other_key = key if is_there else other_key
            session.fill(session_id, snapshot, state)
            context.cookie.is_outdated = not is_current
            if policy.little_is_left(state.cookie, state.created_at, snapshot.record.expires_at):
                yield from context.keep_alive.at_load(snapshot)
            return
    if not (yield from _take_over(context)):
        session.start()


def _take_over(context: RequestContext) -> Operations[bool]:
    """Begin with the data of a session of another library. False: there is none."""
    takeover = context.manager.takeover
    if takeover is None:
        return False
    try:
        return (yield from takeover.load(context))
    except StoreError as error:
        _failed(context, error)
        return True


def _failed(context: RequestContext, error: StoreError) -> None:
    """Note that the store failed: the option ``on_store_error`` says what that means."""
    manager = context.manager
    manager.emit("store_error", None, error)
    if manager.options.on_store_error == "raise":
        context.session.fail(error)
        return
    manager.emit("degraded", None, error)
    context.session.start(detached=True)


def reload(context: RequestContext) -> Operations[None]:
    """Show what is stored.

    :raises SessionGone: the session was ended elsewhere.
    """
    session = context.session
    if session.identity.is_gone:
        raise gone()
    before = session.identity.latest
    if before is None:
        session.reset()
        return
    check_ended(before)
    found = yield from context.policy.lifecycle.load(before.key)
    if session.identity.latest is not before:
        return  # ended meanwhile, or given another id
    if found is None:
        session.record_deleted()
        raise gone()
    session.refill(*found)
