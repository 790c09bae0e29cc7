"""botocore's clients, which are those of boto3: one for each process."""

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
from coatcheck.storekit import WORKER_THREADS, ClientPerProcess, raise_interruption

from .failures import NO_CREDENTIALS, PACKAGES, SERVER_ERRORS, translated
from .url import Settings

#: The descriptions of AWS's services, read once: 0.1 s of CPU for each client otherwise.
_DESCRIPTIONS: Final = create_loader()
#: In the metadata of a reply: an attempt before may have been carried out without an answer.
UNSURE: Final = "CoatcheckUnsure"
#: Attempts that the service never heard of.
_NOTHING_SENT: Final = (EndpointConnectionError, ConnectTimeoutError)


def per_process(settings: Settings) -> ClientPerProcess[Any]:
    """Return the clients of a URL."""
    return ClientPerProcess(lambda: _make(settings), lambda client: client.close())


def _make(settings: Settings) -> Any:
    config = Config(
        connect_timeout=settings.timeout,
        read_timeout=settings.timeout,
        # Not "adaptive": throttled, it lets callers wait for a minute and more.
        retries={"mode": "standard", "total_max_attempts": settings.attempts},
        max_pool_connections=WORKER_THREADS,
        parameter_validation=False,  # a part of the CPU, for arguments that are made here
        tcp_keepalive=True,
        user_agent_extra="coatcheck",
    )
    try:
        # A session for each client: threads must not share them.
        session = botocore.session.Session(profile=settings.profile)
        session.register_component("data_loader", _DESCRIPTIONS)
        if session.get_credentials() is None:  # a client would never look for them again
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
            "the DynamoDB client could not be made: is there a region, and the profile?"
        ) from error
    return watched(client)


def watched(client: Any) -> Any:
    """Have a client tell in its replies whether an attempt before may have been carried out.

    :raises ConfigurationError: it is no client of DynamoDB.
    """
    try:
        is_dynamodb = client.meta.service_model.service_name == "dynamodb"
    except AttributeError:
        is_dynamodb = False
    if not is_dynamodb:
        raise ConfigurationError('the client must be that of `boto3.client("dynamodb")`')
    events = client.meta.events
    events.register("needs-retry.dynamodb", _note_attempt, unique_id="coatcheck-attempt")
    events.register("after-call.dynamodb", _tell, unique_id="coatcheck-tell")
    return client


def _note_attempt(
    response: Any, caught_exception: object, request_dict: dict[str, Any], **_: object
) -> None:
    if isinstance(caught_exception, Exception):
        # botocore takes it for a failure of the connection, and would try again.
        raise_interruption(caught_exception, PACKAGES)
    context = request_dict["context"]
    # What the attempt before this one left; this one's own fate is the caller's to see.
    context["coatcheck_unsure"] = context.get("coatcheck_next_unsure", False)
    if caught_exception is not None:
        was_refused = isinstance(caught_exception, _NOTHING_SENT)
    else:  # a success that is repeated, too: it was not whole
        was_refused = 300 <= response[0].status_code < SERVER_ERRORS
    if not was_refused:
        context["coatcheck_next_unsure"] = True


def _tell(http_response: Any, parsed: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    if http_response.status_code < 300 and not _is_answer(http_response):
        raise StoreError("this is no answer of DynamoDB, or it ended in the middle")
    if context.get("coatcheck_unsure"):
        parsed.setdefault("ResponseMetadata", {})[UNSURE] = True


def _is_answer(response: Any) -> bool:
    """Tell whether a reply is DynamoDB's, and all there.

    botocore takes one that ends among its headers, and any text, for a reply without an item.
    """
    if not response.headers.get("content-type", "").startswith("application/x-amz-json"):
        return False
    sum, size = response.headers.get("x-amz-crc32"), response.headers.get("content-length")
    if sum is not None:
        return bool(sum == str(zlib.crc32(response.content)))
    return bool(size == str(len(response.content)))
