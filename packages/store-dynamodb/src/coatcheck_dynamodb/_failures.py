"""Turn failures of boto3 into errors of stores.

No message quotes the service's words, keys or data.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from botocore import exceptions

from coatcheck.errors import StoreError, StoreTimeout, StoreUnavailable

#: The packages whose exceptions the client library raises.
PACKAGES: Final = ("boto3", "botocore", "urllib3", "awscrt")

_THROTTLED: Final = frozenset({
    "LimitExceededException", "ProvisionedThroughputExceededException", "RequestLimitExceeded",
    "ThrottlingException", "Throttling",
})  # fmt: skip
_CREDENTIALS: Final = frozenset({
    "ExpiredToken", "ExpiredTokenException", "IncompleteSignatureException",
    "IncompleteSignature", "InvalidAccessKeyId", "InvalidClientTokenId",
    "InvalidSignatureException", "MissingAuthenticationToken",
    "MissingAuthenticationTokenException", "SignatureDoesNotMatch", "UnrecognizedClientException",
})  # fmt: skip
#: Errors that say that there are no credentials, or that they cannot be fetched.
NO_CREDENTIALS: Final = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.TokenRetrievalError,
    exceptions.SSOError,
)
_TIMEOUTS: Final = (exceptions.ReadTimeoutError, exceptions.ConnectTimeoutError)
#: A status from here on leaves open whether the service carried out the request.
SERVER_ERRORS: Final = 500


def translated(error: Exception, where: str) -> StoreError:
    """Return the error that the store raises for an exception of the client library.

    :param where: names the service: ``"DynamoDB at localhost:8000"``.
    """
    if isinstance(error, exceptions.ClientError):
        return _refused(error, where)
    if isinstance(error, _TIMEOUTS):
        return StoreTimeout(f"{where} did not answer in time")
    if isinstance(error, NO_CREDENTIALS):
        return StoreUnavailable("there are no AWS credentials, or they cannot be fetched")
    if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError | OSError):
        return StoreUnavailable(f"{where} cannot be reached")
    return StoreError("DynamoDB's answer could not be read, or the request could not be made")


def named(endpoint: str | None, region: str | None) -> str:
    """Return the service's name for errors: its host and port, or else its region."""
    parts = urlsplit(endpoint or "")
    if parts.hostname:
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return f"DynamoDB at {host}" + (f":{parts.port}" if parts.port else "")
    return f"DynamoDB in {region}" if region else "DynamoDB"


def code_of(error: exceptions.ClientError) -> str:
    """Return the service's code of an error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _lacks_index(error: exceptions.ClientError) -> bool:
    return "specified index" in str(error.response.get("Error", {}).get("Message", ""))


def _refused(error: exceptions.ClientError, where: str) -> StoreError:
    code = code_of(error)
    if code in _THROTTLED:
        return StoreUnavailable(f"{where} has not enough capacity for the requests")
    if code in _CREDENTIALS:
        return StoreUnavailable(f"{where} refused the credentials: they are wrong, or expired")
    if code == "AccessDeniedException":
        return StoreError(
            "the AWS user lacks a permission; docs/dynamodb.md lists the permissions that it needs"
        )
    if code == "ResourceNotFoundException" or _lacks_index(error):
        return StoreError(
            "the DynamoDB table, or its index `owner-index`, does not exist: "
            "`python -m coatcheck create-table URL` makes both"
        )
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if status >= SERVER_ERRORS:
        return StoreUnavailable(f"{where} failed")
    return StoreError("DynamoDB answered with an error")
