"""What a failure of PyMongo is to callers. No message quotes the server, keys or data."""

from __future__ import annotations

from typing import Final

from bson.errors import InvalidDocument
from pymongo import errors

from coatcheck.errors import StoreError, StoreTimeout, StoreUnavailable

#: Whose exceptions are the client library's.
PACKAGES: Final = ("pymongo", "bson", "dns")

#: Codes of MongoDB's errors (src/mongo/base/error_codes.yml).
_UNAUTHORIZED: Final = 13
_AUTHENTICATION_FAILED: Final = 18
_OUT_OF_DISK_SPACE: Final = 14031
#: The server is no primary any more, or shuts down: "not writable primary" and its relatives.
_NOT_PRIMARY: Final = frozenset({91, 189, 10107, 11600, 11602, 13435, 13436})
#: What a caller is told.
_NO_PRIMARY_NOW: Final = "MongoDB cannot be reached, or has no primary now"
_WRONG_USER: Final = "MongoDB refused the user name or the password"


def translated(error: Exception) -> StoreError:
    """Return what a store raises for an exception of the client library."""
    if isinstance(error, errors.ServerSelectionTimeoutError):
        return _no_server(error)
    if isinstance(error, errors.WaitQueueTimeoutError):
        return StoreTimeout("no connection to MongoDB became free in time: see `maxPoolSize`")
    if isinstance(error, errors.PyMongoError) and error.timeout:
        return StoreTimeout("MongoDB did not answer in time")
    if isinstance(error, errors.ConnectionFailure | OSError):
        return StoreUnavailable(_NO_PRIMARY_NOW)
    if isinstance(error, errors.OperationFailure):
        return _refused(error)
    if isinstance(error, errors.ConfigurationError):
        return StoreUnavailable("the MongoDB client could not be made: its options do not work")
    if isinstance(error, InvalidDocument):
        return StoreError("the record does not fit into a MongoDB document")
    return StoreError("MongoDB answered with an error, or with nonsense")


def _no_server(error: errors.ServerSelectionTimeoutError) -> StoreError:
    """Tell a server that is silent from one that is not there: the text alone does."""
    if "Authentication failed" in str(error):
        return StoreUnavailable(_WRONG_USER)
    text = str(error)
    if ("timed out" in text or "No servers found yet" in text) and "refused" not in text:
        return StoreTimeout("MongoDB did not answer in time")
    return StoreUnavailable(_NO_PRIMARY_NOW)


def _refused(error: errors.OperationFailure) -> StoreError:
    if error.code == _AUTHENTICATION_FAILED:
        return StoreUnavailable(_WRONG_USER)
    if error.code == _UNAUTHORIZED:
        return StoreError("the MongoDB user may not do this; docs/mongo.md lists what is needed")
    if error.code == _OUT_OF_DISK_SPACE:
        return StoreError("MongoDB's disk is full: nothing was written")
    if error.code in _NOT_PRIMARY:
        return StoreUnavailable(_NO_PRIMARY_NOW)
    if isinstance(error, errors.WriteConcernError):
        return StoreUnavailable("MongoDB could not keep the write safe on enough servers now")
    return StoreError("MongoDB answered with an error")
