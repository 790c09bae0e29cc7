"""The clients of boto3, which are botocore's: one for each process."""

from __future__ import annotations

import zlib
from typing import Any, Final

import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
)
from botocore.loaders import create_loader

from coatcheck.errors import ConfigurationError, StoreError, StoreUnavailable
from coatcheck.storekit import (
    WORKER_THREADS,
    ClientPerProcess,
    SingleProcessClient,
    raise_interruption,
)

from ._failures import NO_CREDENTIALS, PACKAGES, SERVER_ERRORS, translated
from ._logs import install, quietly
from ._url import Settings

#: The descriptions of AWS's services. Reading them for each client would take 0.1 s of CPU.
_DESCRIPTIONS: Final = create_loader()
#: Set in the metadata of a reply if an earlier attempt without an answer may have been carried out.
UNSURE: Final = "CoatcheckUnsure"
#: Errors of attempts that never reached the service.
_NOTHING_SENT: Final = (EndpointConnectionError, ConnectTimeoutError)


def per_process(settings: Settings) -> ClientPerProcess[Any]:
    """Return the clients of a URL."""
    install()
    return ClientPerProcess(lambda: quietly(_make, settings), lambda client: client.close())


def borrowed(client: Any) -> SingleProcessClient[Any]:
    """Return a client that the caller made and closes.

    :raises ConfigurationError: it is no client of DynamoDB.
    """
    install()
    return SingleProcessClient(_watched(client), "the DynamoDB client")


def _make(settings: Settings) -> Any:
    config = Config(
        connect_timeout=settings.timeout,
        read_timeout=settings.timeout,
        # Not "adaptive", which lets the callers of a throttled table wait for more than a minute.
        retries={"mode": "standard", "total_max_attempts": settings.attempts},
        max_pool_connections=WORKER_THREADS,
        parameter_validation=False,  # it takes CPU, and the arguments are made here
        tcp_keepalive=True,
        user_agent_extra="coatcheck",
    )
    try:
        # Threads must not share a session, so each client has its own.
        session = botocore.session.Session(profile=settings.profile)
        session.register_component("data_loader", _DESCRIPTIONS)
        if session.get_credentials() is None:  # the client would never look for them again
            raise NoCredentialsError
        client = session.create_client(
            "dynamodb",
            region_name=settings.region,
            endpoint_url=settings.endpoint_url,
            config=config,
        )
    except NO_CREDENTIALS as error:
        raise translated(error, "DynamoDB") from error
    except (BotoCoreError, ValueError) as error:
        raise StoreUnavailable(
            "the DynamoDB client could not be made: set a region, and check that the profile exists"
        ) from error
    return _watched(client)


def _watched(client: Any) -> Any:
    """Have a client say in its replies whether an earlier attempt may have been carried out.

    :raises ConfigurationError: it is no client of DynamoDB.
    """
    try:
        is_dynamodb = client.meta.service_model.service_name == "dynamodb"
    except AttributeError:
        is_dynamodb = False
    if not is_dynamodb:
        raise ConfigurationError(
            f'the client must be one of `boto3.client("dynamodb")`, not {type(client).__name__}'
        )
    events = client.meta.events
    events.register("needs-retry.dynamodb", _note_attempt, unique_id="coatcheck-attempt")
    events.register("after-call.dynamodb", _tell, unique_id="coatcheck-tell")
    return client


def _note_attempt(
    response: Any, caught_exception: object, request_dict: dict[str, Any], **_: object
) -> None:
    if isinstance(caught_exception, Exception):
        # botocore would take it for a failure of the connection, and try again.
        raise_interruption(caught_exception, PACKAGES)
    context = request_dict["context"]
    # This is about the attempts before this one. The caller sees what becomes of this one.
    context["coatcheck_unsure"] = context.get("coatcheck_next_unsure", False)
    if caught_exception is not None:
        was_refused = isinstance(caught_exception, _NOTHING_SENT)
    else:  # botocore also repeats a success whose reply was not complete
        was_refused = 300 <= response[0].status_code < SERVER_ERRORS
    if not was_refused:
        context["coatcheck_next_unsure"] = True


def _tell(http_response: Any, parsed: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    if http_response.status_code < 300 and not _is_answer(http_response):
        raise StoreError("the answer is not one of DynamoDB, or it is not complete")
    if context.get("coatcheck_unsure"):
        parsed.setdefault("ResponseMetadata", {})[UNSURE] = True


def _is_answer(response: Any) -> bool:
    """Tell whether a reply is DynamoDB's, and complete.

    botocore takes a reply that ends within its headers, and any text, for a reply without an item.
    """
    if not response.headers.get("content-type", "").startswith("application/x-amz-json"):
        return False
    sum, size = response.headers.get("x-amz-crc32"), response.headers.get("content-length")
    if sum is not None:
        return bool(sum == str(zlib.crc32(response.content)))
    return bool(size == str(len(response.content)))
