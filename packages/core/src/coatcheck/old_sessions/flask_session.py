"""Read the sessions that Flask-Session keeps in Redis.

The cookie has the id, signed or not. The record has the data in msgpack, or in JSON. Records that
are pickled, as those of early releases, are not read.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from itsdangerous import BadSignature, Signer

from ..cookie import CookieOptions
from ..errors import ConfigurationError
from ..store import AsyncStore, Store
from . import OldCookie, OldSession
from ._signed import check_age, check_key
from ._stored import StoredSessions
from .flask import session_of_flask

__all__ = ["FlaskSessionSessions"]


def __dir__() -> list[str]:
    return __all__


#: Pickles begin with this byte since protocol 2, and end with a full stop.
_PICKLE: Final = b"\x80"


class FlaskSessionSessions(StoredSessions):
    """Read the sessions of Flask-Session. The defaults are those of Flask-Session 0.8.

    The records are in msgpack or JSON. Reading msgpack needs the package msgspec, which
    Flask-Session needs, too.

    :param store: where the records are: a URL of Redis whose ``prefix`` is ``SESSION_KEY_PREFIX``,
        such as ``redis://localhost:6379/0?prefix=session:``, or such a store.
    :param name: ``SESSION_COOKIE_NAME``.
    :param lifetime: ``PERMANENT_SESSION_LIFETIME``.
    :param signer_key: ``SECRET_KEY`` if ``SESSION_USE_SIGNER`` is set.
    :param cookie: the path, the domain and the other attributes of the old cookie.
    :param until: the moment from which on old cookies are ignored: an aware datetime or POSIX
        seconds.
    :raises ConfigurationError: a parameter has a value that cannot work, or msgspec is missing.
    """

    def __init__(
        self,
        store: Store | AsyncStore | str,
        *,
        name: str = "session",
        lifetime: float | timedelta = timedelta(days=31),
        signer_key: str | bytes | None = None,
        cookie: CookieOptions | None = None,
        until: datetime | float | None = None,
    ) -> None:
        super().__init__(name, cookie=cookie, until=until, store=store)
        self._lifetime = check_age("lifetime", lifetime, self.until)
        self._signer: Signer | None = None
        if signer_key is not None:
            key = check_key("signer_key", signer_key)
            self._signer = Signer(key, salt="flask-session", key_derivation="hmac")
        self._unpack = _msgpack_decoder()

    def open(self, value: str, now: float) -> OldCookie | None:
        """See :meth:`OldSessions.open`."""
        session_id = value
        if self._signer is not None:
            try:
                session_id = self._signer.unsign(value).decode()
            except BadSignature:
                return None
        return super().open(session_id, now)

    def read(self, record: bytes) -> OldSession:
        """See :meth:`OldSessions.read`."""
        if record[:1] == b"{":
            data = json.loads(record)
        elif record.startswith(_PICKLE) and record.endswith(b".") and len(record) > 1:
            raise ValueError("the record is pickled")
        else:
            data = self._unpack(record)
        return session_of_flask(data, self._lifetime)


def _msgpack_decoder() -> Callable[[bytes], Any]:
    try:
        from msgspec import msgpack
    except ImportError:
        raise ConfigurationError(
            "the records of Flask-Session are in msgpack: `pip install msgspec`"
        ) from None
    return msgpack.decode
