"""Read the sessions that Litestar's ``ServerSideSessionConfig`` keeps in Redis.

The cookie has the id, which is not signed. The record has the data in JSON.
"""

from __future__ import annotations

import json
from datetime import datetime

from ..cookie import CookieOptions
from ..store import AsyncStore, Store
from . import OldSession
from ._stored import StoredSessions

__all__ = ["LitestarSessions"]


def __dir__() -> list[str]:
    return __all__


class LitestarSessions(StoredSessions):
    """Read Litestar's server-side sessions.

    :param store: where the records are: a URL of Redis whose ``prefix`` is the namespace of the old
        RedisStore and a colon, such as ``redis://localhost:6379/0?prefix=LITESTAR:``, or such a
        store.
    :param key: the name of the old cookie.
    :param cookie: the path, the domain and the other attributes of the old cookie.
    :param until: the moment from which on old cookies are ignored: an aware datetime or POSIX
        seconds.
    :raises ConfigurationError: a parameter has a value that cannot work.
    """

    def __init__(
        self,
        store: Store | AsyncStore | str,
        *,
        key: str = "session",
        cookie: CookieOptions | None = None,
        until: datetime | float | None = None,
    ) -> None:
        super().__init__(key, cookie=cookie, until=until, store=store)

    def read(self, record: bytes) -> OldSession:
        """See :meth:`OldSessions.read`."""
        return OldSession(json.loads(record))
