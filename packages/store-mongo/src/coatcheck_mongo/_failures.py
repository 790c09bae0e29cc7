"""Turn failures of PyMongo into errors of stores.

No message quotes the server's words, keys or data.
"""

from __future__ import annotations

from typing import Final

from bson.errors import InvalidDocument
from pymongo import errors

from coatcheck.errors import StoreError, StoreTimeout, StoreUnavailable

#: The packages whose exceptions the client library raises.
PACKAGES: Final = ("pymongo", "bson", "dns")

#: Codes of MongoDB's errors (src/mongo/base/error_codes.yml).
_UNAUTHORIZED: Final = 13
_AUTHENTICATION_FAILED: Final = 18
_OUT_OF_DISK_SPACE: Final = 14031
#: The server is no primary any more, or shuts down: "not writable primary" and similar errors.
_NOT_PRIMARY: Final = frozenset({91, 189, 10107, 11600, 11602, 13435, 13436})
#: The ends of error messages that begin with the name of the servers.
_NO_PRIMARY_NOW: Final = "cannot be reached, or has no primary now"
_WRONG_USER: Final = "refused the user name or the password"
_SILENT: Final = "did not answer in time"


def translated(error: Exception, where: str) -> StoreError:
    """Return the error that the store raises for an exception of the client library.

    :param where: names the servers: ``"MongoDB at 10.0.0.5:27017"``.
    """
    if isinstance(error, errors.ServerSelectionTimeoutError):
        return _no_server(error, where)
    if isinstance(error, errors.WaitQueueTimeoutError):
        return StoreTimeout(f"no connection to {where} became free in time: see `maxPoolSize`")
    if isinstance(error, errors.PyMongoError) and error.timeout:
        return StoreTimeout(f"{where} {_SILENT}")
    if isinstance(error, errors.ConnectionFailure | OSError):
        return StoreUnavailable(f"{where} {_NO_PRIMARY_NOW}")
    if isinstance(error, errors.OperationFailure):
        return _refused(error, where)
    if isinstance(error, errors.ConfigurationError):
        return StoreUnavailable("the MongoDB client could not be made: its options do not work")
    if isinstance(error, InvalidDocument):
        return StoreError("the record does not fit into a MongoDB document")
    return StoreError("MongoDB answered with an error, or its answer could not be read")


def _no_server(error: errors.ServerSelectionTimeoutError, where: str) -> StoreError:
    """Tell a silent server from a missing one. Only the text of the error shows the difference."""
    if "Authentication failed" in str(error):
        return StoreUnavailable(f"{where} {_WRONG_USER}")
    text = str(error)
    if ("timed out" in text or "No servers found yet" in text) and "refused" not in text:
        return StoreTimeout(f"{where} {_SILENT}")
    return StoreUnavailable(f"{where} {_NO_PRIMARY_NOW}")


def _refused(error: errors.OperationFailure, where: str) -> StoreError:
    if error.code == _AUTHENTICATION_FAILED:
        return StoreUnavailable(f"{where} {_WRONG_USER}")
    if error.code == _UNAUTHORIZED:
        return StoreError(
            "the MongoDB user lacks a permission; docs/mongo.md lists the permissions that it needs"
        )
    if error.code == _OUT_OF_DISK_SPACE:
        return StoreError("MongoDB's disk is full: nothing was written")
    if error.code in _NOT_PRIMARY:
        return StoreUnavailable(f"{where} {_NO_PRIMARY_NOW}")
    if isinstance(error, errors.WriteConcernError):
        return StoreUnavailable(f"{where} could not keep the write safe on enough servers now")
    return StoreError("MongoDB answered with an error")
