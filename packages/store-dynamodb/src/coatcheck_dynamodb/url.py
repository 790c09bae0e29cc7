"""The URLs of DynamoDB stores: ``dynamodb://table?region=eu-central-1``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from coatcheck.errors import ConfigurationError
from coatcheck.storekit import (
    integer_option,
    parse_options,
    seconds_option,
    split_url,
    text_option,
)

#: connect-dynamodb's.
DEFAULT_PREFIX: Final = "sess:"
#: Seconds that one attempt may wait for a connection, and then for each piece of a reply.
TIMEOUT: Final = 2.0
#: How often a call is made at most.
ATTEMPTS: Final = 3
#: Read units that a listing takes in a second, on the average.
SCAN_UNITS: Final = 500

#: Bytes. A partition key has 2,048 at most, a session's key 256 characters.
_PREFIX: Final = 1024

_FORM: Final = (
    "a DynamoDB store's URL is `dynamodb://TABLE[?region=REGION&option=value&...]`, "
    "without user, password, port and path"
)
_TABLE: Final = re.compile(r"[A-Za-z0-9_.-]{3,255}")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a URL says.

    :ivar table: the table's name.
    :ivar prefix: what the ids begin with.
    :ivar region: of AWS, or None for that of the environment or of AWS's configuration files.
    :ivar endpoint_url: where the service is, or None for AWS's own.
    :ivar profile: of AWS's configuration files.
    :ivar timeout: seconds that an attempt may wait.
    :ivar attempts: how often a call is made at most.
    :ivar scan_units: read units that a listing takes in a second.
    """

    table: str
    prefix: str = DEFAULT_PREFIX
    region: str | None = None
    endpoint_url: str | None = field(default=None, repr=False)
    profile: str | None = None
    timeout: float = TIMEOUT
    attempts: int = ATTEMPTS
    scan_units: int = SCAN_UNITS


def check_table(name: object) -> str:
    """Return the name of a table if it can be one.

    :raises ConfigurationError: it cannot.
    """
    if not isinstance(name, str) or not _TABLE.fullmatch(name):
        raise ConfigurationError(
            "the name of a DynamoDB table has 3 to 255 letters of a-z, A-Z, 0-9, `_`, `-` and `.`"
        )
    return name


def check_prefix(value: object) -> str:
    """Return a prefix if it leaves room for the ids of sessions, of 256 characters, behind it.

    :raises ConfigurationError: it does not, or is empty.
    """
    if not isinstance(value, str) or not 0 < len(value.encode(errors="replace")) <= _PREFIX:
        raise ConfigurationError(f"the prefix must be some text of at most {_PREFIX} bytes")
    return value


def _endpoint(value: str) -> str:
    try:
        parts = urlsplit(value)
        is_usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        is_usable = is_usable and parts.username is None
    except ValueError:  # whose text may quote a password
        is_usable = False
    if not is_usable:
        raise ValueError("a URL with `http` or `https`, without a user")
    return value


_OPTIONS: Final = {
    "region": text_option,
    "endpoint_url": _endpoint,
    "profile": text_option,
    "prefix": text_option,
    "timeout": seconds_option,
    "attempts": integer_option(1, 10),
    "scan_units": integer_option(1, 1_000_000),
}


def parse(url: str) -> Settings:
    """Return what a URL says. Nothing of the URL is in an error but the names of options.

    :raises ConfigurationError: it cannot be understood, or has an option that there is not.
    """
    parts, options = split_url(url, _FORM)
    if parts.scheme.lower() != "dynamodb" or parts.path not in ("", "/"):
        raise ConfigurationError(_FORM)
    if not parts.netloc or any(sign in parts.netloc for sign in "@:"):
        raise ConfigurationError(_FORM)
    settings = Settings(check_table(parts.netloc), **parse_options(options, _OPTIONS, "DynamoDB"))
    check_prefix(settings.prefix)
    return settings
