"""Begin the session of a request with the data of an old session.

An old session is one of the library that the application used before. Its cookie is verified by
its reader, an :class:`~coatcheck.old_sessions.OldSessions`. The steps are:

1. :meth:`Takeover.load` copies the data into a new record, before the application runs. The id
   follows from our secret and the old cookie, so parallel requests find the same session. A
   takeover record sees to it that only one of them begins it.
2. The response sets the new cookie and removes the old one. :meth:`Takeover.finish` notes that, and
   ends the old record. If the application fails before, both cookies stay as they were.
3. :meth:`Takeover.end` ends the old sessions whose cookies came with a logout.

docs/decisions/2026-11-30-old-sessions.md has the reasons.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from .._cookies.cookie_header import MAX_CANDIDATES
from .._cookies.signing import url_safe
from .._records.operations import Destroy, Elsewhere, Get, Operations
from .._records.records import Snapshot
from .._records.takeover_records import TakeoverRecord, TakeoverRecords, takeover_key
from .._records.taking_over import TakingOver
from .._session.contents import check_keys
from .._session.phase import OPEN
from ..codec import SessionState
from ..cookie import MAX_AGE_LIMIT, in_seconds
from ..cookie_format import CookieWriter
from ..errors import CorruptRecord, StoreError
from ..events import logger
from ..old_sessions import OldCookie, OldSession, OldSessions
from ..options import Request, SessionOptions
from ..store import Record, Unchanged

if TYPE_CHECKING:
    from .ending import Ending
    from .request_adapter import RequestAdapter
    from .request_context import RequestContext

#: How many values of an old cookie's name are looked at to find the good ones among them. A browser
#: keeps about as many cookies for one site.
_VALUES: Final = 200
#: An id, and what is stored under its key.
_Found: TypeAlias = tuple[str, Snapshot, SessionState]


@dataclass(frozen=True, slots=True)
class Presented:
    """Hold a verified old cookie that came with a request.

    :ivar key: that of its takeover record.
    :ivar end_key: that of the record of a logout.
    :ivar names: the names of the cookies that are removed.
    """

    reader: OldSessions
    cookie: OldCookie
    key: str
    end_key: str
    names: tuple[str, ...]

    def expires_at(self, record_expires_at: float) -> float:
        """Return when the old session ends, in POSIX seconds.

        :param record_expires_at: when the old record expires, where the cookie says nothing.
        """
        end = record_expires_at if self.cookie.expires_at is None else self.cookie.expires_at
        return end if self.reader.until is None else min(end, self.reader.until)


class OldCookies:
    """Find the old cookies of requests.

    :param options: those of the middleware.
    :param adapter: reads the requests.
    """

    def __init__(self, options: SessionOptions, adapter: RequestAdapter) -> None:
        self._clock = options.clock
        self._name = options.name
        self._adapter = adapter
        self._readers: tuple[OldSessions, ...] = tuple(options.old_sessions)
        self._warned: set[tuple[str, str]] = set()

    def came(self, request: Request) -> bool:
        """Tell whether a request may have an old cookie."""
        headers = self._adapter.cookie_headers(request)
        return any(reader.name in header for header in headers for reader in self._readers)

    def presented(self, request: Request) -> Iterator[Presented]:
        """Yield the old cookies that are good."""
        now = self._clock()
        headers = self._adapter.cookie_headers(request)
        for reader in self._readers:
            if reader.until is None or reader.until > now:
                yield from islice(self._opened(reader, headers, now), MAX_CANDIDATES)

    def _opened(
        self, reader: OldSessions, headers: Sequence[str], now: float
    ) -> Iterator[Presented]:
        try:
            values = [*islice(reader.values(headers), _VALUES)]
            names = tuple(reader.names(headers))
        except Exception as error:
            self.failed(reader, error)
            return
        for value in values:
            try:
                cookie = reader.open(value, now)
                if cookie is None:
                    continue
                key = takeover_key(reader.scope, cookie.identity, self._name)
                end_key = takeover_key(reader.scope, cookie.identity)
            except Exception as error:
                self.failed(reader, error)
                continue
            yield Presented(reader, cookie, key, end_key, names)

    def failed(self, reader: OldSessions, error: Exception) -> None:
        """Log the type of an error, because its text may quote the session.

        Each kind is a warning once: a visitor whose session cannot be read may come often.
        """
        kind = type(reader).__name__, type(error).__name__
        level = logging.DEBUG if kind in self._warned else logging.WARNING
        self._warned.add(kind)
        logger.log(level, "%s could not take over an old session: %s", *kind)


class Takeover:
    """Take over old sessions, for all requests of a middleware.

    :param options: those of the middleware.
    :param adapter: reads the requests.
    :param writer: tells whether an id can be in our cookie.
    :ivar came: tells whether a request may have an old cookie.
    """

    def __init__(
        self, options: SessionOptions, adapter: RequestAdapter, writer: CookieWriter
    ) -> None:
        self._options = options
        self._writer = writer
        self._cookies = OldCookies(options, adapter)
        self._records = TakeoverRecords(options.codec, options.clock)
        self.came = self._cookies.came

    def load(self, context: RequestContext) -> Operations[bool]:
        """Begin the session with the data of an old one, or go on with the one that has begun so.

        :returns: False if there is none.
        :raises StoreError: a store failed, ours or the old one.
        """
        session, cookie = context.session, context.cookie
        if session.phase is not OPEN or not self.came(context.request):
            return False
        if not cookie.can_be_sent(context.policy.cookie):
            return False
        for presented in self._cookies.presented(context.request):
            found: _Found | None = None
            try:
                found = yield from self._take_over(context, presented)
            except StoreError:
                raise
            except Exception as error:
                self._cookies.failed(presented.reader, error)
            if found is not None:
                session_id, snapshot, state = found
                session.fill(session_id, snapshot, state)
                # The response sends the new one, and asks the store for that: so it finishes this.
                cookie.is_outdated = True
                return True
        return False

    def finish(self, ending: Ending) -> Operations[None]:
        """Note that the response has the new cookie, and end the old record."""
        taken, ending.taken_over = ending.taken_over, None
        if taken is None:
            return
        presented, noted = taken
        try:
            if noted.finished_at is None:
                yield from self._records.finish(noted)
                yield from self._destroy(presented, (yield from self._record(presented)))
        except StoreError as error:
            # The takeover record stays as it was, so the old session still begins no second one.
            logger.error("an old session could not be ended: %s", type(error).__name__)

    def end(self, request: Request, ending: Ending) -> Operations[list[str]]:
        """End the old sessions whose cookies came.

        :returns: the ids of sessions that may have begun with their data, and end as well.
        """
        ids: list[str] = []
        ending.taken_over = None
        for presented in self._cookies.presented(request):
            # This comes before the sessions end: a request that is just storing one learns of it.
            yield from self._end_old(presented)
            ids += self._ids(presented)
            ending.remove_cookies(presented.names, presented.reader.cookie)
        return ids

    def _end_old(self, presented: Presented) -> Operations[None]:
        """Note that an old session has ended, and end its record.

        An id without an old record is not noted, because anybody can make up as many as they like.
        """
        end = self._longest()
        record: Record | None = None
        if presented.cookie.key is not None:
            try:
                record = yield from self._record(presented)
            except StoreError:
                yield from self._records.end(presented.end_key, presented.expires_at(end))
                raise
            if record is None:
                return
            end = min(record.expires_at, end)
        yield from self._records.end(presented.end_key, presented.expires_at(end))
        yield from self._destroy(presented, record)

    def _ids(self, presented: Presented) -> Iterator[str]:
        """Yield the ids that the new session can have: one for each of our secrets.

        The first one is that of a session that begins now.
        """
        for secret in self._options.secrets:
            digest = hmac.digest(secret, b"coatcheck " + presented.key.encode("ascii"), "sha256")
            made = url_safe(digest)[:32]
            if self._writer.valid_id(made):
                yield made

    # One old session

    def _take_over(
        self, context: RequestContext, presented: Presented
    ) -> Operations[_Found | None]:
        """Return the new session of an old cookie, or None if it leads to none."""
        read = yield from self._read(presented)
        state = None if read is None else self._state_of(context, presented, read[0])
        if read is not None and state is None:
            return None  # it cannot be taken over; the log says why
        if (yield from self._records.has_ended(presented.end_key)):
            _remove_cookies(context, presented, None)
            return None
        manager = context.manager
        ids = [*self._ids(presented)] or [manager.new_id(context.request)]
        keys = {manager.key_of(session_id): session_id for session_id in ids}
        lifecycle, clock = context.policy.lifecycle, self._options.clock
        noted, found = yield from TakingOver(
            self._records, lifecycle, clock, manager.emit
        ).take_over(
            presented.key, presented.end_key, [*keys], state, 0.0 if read is None else read[1]
        )
        if noted is None:
            return None
        _remove_cookies(context, presented, None if found is None else noted)
        return None if found is None else (keys[found[0].key], *found)

    def _read(self, presented: Presented) -> Operations[tuple[OldSession | None, float] | None]:
        """Return an old session and when it expires; None if there is no old record."""
        cookie = presented.cookie
        if cookie.key is None:
            return cookie.session, presented.expires_at(self._longest())
        record = yield from self._record(presented)
        if record is None:
            return None
        session: OldSession | None = None
        try:
            session = presented.reader.read(record.data)
        except Exception as error:
            self._cookies.failed(presented.reader, error)
        return session, presented.expires_at(min(record.expires_at, self._longest()))

    def _longest(self) -> float:
        """Return when an old session ends that has no limit: no browser keeps a cookie longer."""
        return self._options.clock() + MAX_AGE_LIMIT

    def _state_of(
        self, context: RequestContext, presented: Presented, session: OldSession | None
    ) -> SessionState | None:
        """Return the new session; None if it would be empty or cannot be stored."""
        if session is None or not session.data:
            return None
        own: dict[str, Any] = {}
        if session.max_age not in (None, in_seconds(context.policy.cookie.max_age)):
            own["max_age"] = session.max_age
        try:
            data = dict(session.data)
            check_keys(data)
            owner = self._options.derived_owner(data)
            settings = context.cookie.recorded_settings(own)
            state = SessionState(data, self._options.clock(), settings, owner)
            self._options.codec.dumps(state)  # an error comes now, and not with the response
        except Exception as error:
            self._cookies.failed(presented.reader, error)
            return None
        return state

    def _record(self, presented: Presented) -> Operations[Record | None]:
        """Return an old record; None if there is none, or it is a session of ours.

        Both may be in one place, with one prefix. Nobody must read or end a session of ours by
        sending its key, which is public, as the id of an old one.
        """
        key = presented.cookie.key
        if key is None:
            return None
        record: Record | None = yield Elsewhere(Get(key), presented.reader)
        if record is not None:
            try:
                self._options.codec.loads(record.data, key)
            except CorruptRecord:
                return record
        return None

    def _destroy(self, presented: Presented, record: Record | None) -> Operations[None]:
        """End an old record, unless it has changed."""
        if record is not None and presented.cookie.key is not None:
            destroy = Destroy(presented.cookie.key, Unchanged(record.data))
            yield Elsewhere(destroy, presented.reader)


def _remove_cookies(
    context: RequestContext, presented: Presented, noted: TakeoverRecord | None
) -> None:
    """Let the response remove an old cookie.

    :param noted: that of the session that it leads to; None if there is none.
    """
    context.ending.remove_cookies(presented.names, presented.reader.cookie)
    if noted is None:
        context.session.is_accessed = True  # otherwise the response would have no headers
    else:
        context.ending.taken_over = presented, noted
