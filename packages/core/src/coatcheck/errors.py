"""Define all errors that coatcheck raises.

::

    CoatcheckError
    ├── ConfigurationError(ValueError)      impossible options, bad URL, client on a foreign loop
    │   └── PluginError                     unknown scheme, duplicate, broken, wrong contract
    ├── SessionError
    │   ├── SessionUnavailable              outside the cookie's path; before load; id not made yet;
    │   │                                   first used in the body of a response that caches share
    │   ├── SessionGone                     save, change or reload of a session ended elsewhere
    │   ├── SerializationError              names the key path of the value that cannot be stored
    │   ├── InvalidSessionData              a typed view of the session does not fit its data
    │   ├── CorruptRecord                   a stored record that the codec cannot read
    │   ├── ConflictError                   concurrency="error", or `conflict_timeout`
    │   ├── IdTaken                         another session has the id that an integration chose
    │   └── LateWriteError                  a change that can no longer be saved
    └── StoreError                          the store failed; __cause__ is the client's exception
        ├── StoreUnavailable                refused, reset, no primary
        ├── StoreTimeout
        ├── StoreClosed
        ├── RecordTooLarge                  size and limit as attributes
        ├── TransactionOpen                 the application's transaction has the session
        └── UnsupportedOperation            the capability is not declared; not in this framework

No message contains a session id, a store key, a secret, a credential or session data.
"""

__all__ = [
    "CoatcheckError",
    "ConfigurationError",
    "ConflictError",
    "CorruptRecord",
    "IdTaken",
    "InvalidSessionData",
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
    "TransactionOpen",
    "UnsupportedOperation",
]


def __dir__() -> list[str]:
    return __all__


class CoatcheckError(Exception):
    """The root of all errors of this package."""


class ConfigurationError(CoatcheckError, ValueError):
    """An option, a URL or a combination of them cannot work."""


class PluginError(ConfigurationError):
    """A store plugin is missing, ambiguous, broken or made for another contract."""


class SessionError(CoatcheckError):
    """The root of the errors about one session."""


class SessionUnavailable(SessionError):
    """The session cannot be used here, or not yet."""


class SessionGone(SessionError):
    """The session was ended elsewhere, so it cannot be saved, changed or reloaded."""


class SerializationError(SessionError):
    """The codec cannot store a value.

    :ivar path: the place of the value, for example ``session['cart'][2]``.
    """

    def __init__(self, message: str, path: str = "session") -> None:
        super().__init__(message)
        self.path = path


class InvalidSessionData(SessionError):
    """The data do not fit the type of a :class:`~coatcheck.typed.SessionView`.

    :ivar path: the place of the value that does not fit, for example ``session['cart'][2]``.
    """

    def __init__(self, message: str, path: str = "session") -> None:
        super().__init__(message)
        self.path = path


class CorruptRecord(SessionError):
    """The codec cannot read the stored bytes. The request gets a new session instead."""


class ConflictError(SessionError):
    """Other requests changed the session at the same time, and the change was not saved."""


class IdTaken(SessionError):
    """Another session has the id that a new one was to get. Nothing was written."""


class LateWriteError(SessionError):
    """A change came after the response headers were sent, and can no longer be saved."""


class StoreError(CoatcheckError):
    """The store failed. ``__cause__`` is the exception of the client library."""


class StoreUnavailable(StoreError):
    """The backend cannot be reached: refused, reset, or without a primary."""


class StoreTimeout(StoreError):
    """The backend did not answer in time. A write may have been carried out or not."""


class StoreClosed(StoreError):
    """The store was used after ``close()``."""


class RecordTooLarge(StoreError):
    """The record is larger than the store accepts. Nothing was written.

    :ivar size: the size of the record's data, in bytes.
    :ivar limit: the largest size that the store accepts, in bytes.
    """

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"the record has {size} bytes; this store accepts at most {limit}")
        self.size = size
        self.limit = limit


class TransactionOpen(StoreError):
    """A transaction of the application's has the session, and is neither committed nor rolled back.

    Another write of the session would wait for the transaction, which waits for this request.
    """


class UnsupportedOperation(StoreError):
    """The store does not declare the capability, or the framework in use has no such operation.

    :ivar operation: the operation that was called.
    """

    def __init__(self, operation: str, capability: str = "", *, advice: str = "") -> None:
        super().__init__(
            advice
            or f"`{operation}` needs the capability `{capability}`, "
            "which this store does not declare"
        )
        self.operation = operation
