"""Every error that coatcheck raises.

::

    CoatcheckError
    ├── ConfigurationError(ValueError)      impossible options, bad URL, client on a foreign loop
    │   └── PluginError                     unknown scheme, duplicate, broken, wrong contract
    ├── SessionError
    │   ├── SessionUnavailable              outside the cookie's path; before load; id not made yet;
    │   │                                   first used in the body of a response that caches share
    │   ├── SessionGone                     save, change or reload of a session ended elsewhere
    │   ├── SerializationError              names the key path of the value that cannot be stored
    │   ├── CorruptRecord                   a stored record that the codec cannot read
    │   ├── ConflictError                   concurrency="error", or `conflict_timeout`
    │   └── LateWriteError                  a change that can no longer be saved
    └── StoreError                          the store failed; __cause__ is the client's exception
        ├── StoreUnavailable                refused, reset, no primary
        ├── StoreTimeout
        ├── StoreClosed
        ├── RecordTooLarge                  size and limit as attributes
        └── UnsupportedOperation            the capability is not declared

No message contains a session id, a store key, a secret, a credential or session data.
"""

__all__ = [
    "CoatcheckError",
    "ConfigurationError",
    "ConflictError",
    "CorruptRecord",
    "LateWriteError",
    "PluginError",
    "RecordTooLarge",
    "SerializationError",
    "SessionError",
    "SessionGone",
    "SessionUnavailable",
    "StoreClosed",
    "StoreError",
    "StoreTimeout",
    "StoreUnavailable",
    "UnsupportedOperation",
]


def __dir__() -> list[str]:
    return __all__


class CoatcheckError(Exception):
    """The root of all errors of this package."""


class ConfigurationError(CoatcheckError, ValueError):
    """An option, a URL or a combination of them that cannot work."""


class PluginError(ConfigurationError):
    """A store plugin that is missing, ambiguous, broken or made for another contract."""


class SessionError(CoatcheckError):
    """Something about one session."""


class SessionUnavailable(SessionError):
    """The session cannot be used here, or not yet."""


class SessionGone(SessionError):
    """The session was ended elsewhere; there is nothing left to save, change or reload."""


class SerializationError(SessionError):
    """A value that the codec cannot store.

    :ivar path: where it stands, for example ``session['cart'][2]``.
    """

    def __init__(self, message: str, path: str = "session") -> None:
        super().__init__(message)
        self.path = path


class CorruptRecord(SessionError):
    """Stored bytes that the codec cannot read. The engine starts a new session instead."""


class ConflictError(SessionError):
    """Other requests changed the session at the same time, and the change was not saved."""


class LateWriteError(SessionError):
    """A change made after the response headers were sent, which can no longer be saved."""


class StoreError(CoatcheckError):
    """The store failed. ``__cause__`` is the exception of the client library."""


class StoreUnavailable(StoreError):
    """The backend cannot be reached: refused, reset, or without a primary."""


class StoreTimeout(StoreError):
    """The backend did not answer in time. A write may or may not have been applied."""


class StoreClosed(StoreError):
    """The store was used after ``close()``."""


class RecordTooLarge(StoreError):
    """The record exceeds what the backend can hold. Nothing was written.

    :ivar size: bytes of the record's data.
    :ivar limit: bytes that the store accepts.
    """

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"the record has {size} bytes; this store accepts at most {limit}")
        self.size = size
        self.limit = limit


class UnsupportedOperation(StoreError):
    """The operation belongs to a capability that the store does not declare.

    :ivar operation: the operation that was called.
    """

    def __init__(self, operation: str, capability: str) -> None:
        super().__init__(
            f"`{operation}` needs the capability `{capability}`, which this store does not declare"
        )
        self.operation = operation
