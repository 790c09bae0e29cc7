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

#: connect-dynamodb's default.
DEFAULT_PREFIX: Final = "sess:"
#: Seconds that one attempt may wait for a connection, and then for each piece of a reply.
TIMEOUT: Final = 2.0
#: How many attempts a call makes at most.
ATTEMPTS: Final = 3
#: Read units that a listing uses in a second, on average.
SCAN_UNITS: Final = 500

#: Bytes. A partition key has at most 2,048 bytes, and a session's key at most 256 characters.
_LONGEST_PREFIX: Final = 1024

_FORM: Final = (
    "a DynamoDB store's URL is `dynamodb://TABLE[?region=REGION&option=value&...]`, "
    "without user, password, port and path"
)
_TABLE: Final = re.compile(r"[A-Za-z0-9_.-]{3,255}")


@dataclass(frozen=True, slots=True)
class Settings:
    """The parts and options of a URL.

    :ivar table: the table's name.
    :ivar prefix: the start of each id.
    :ivar region: AWS's region. None: the one of the environment or of AWS's configuration files.
    :ivar endpoint_url: the service's URL. None: AWS's own.
    :ivar profile: a profile of AWS's configuration files. None: the default one.
    :ivar timeout: seconds that an attempt may wait.
    :ivar attempts: how many attempts a call makes at most.
    :ivar scan_units: read units that a listing uses in a second, on average.
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
    """Return the name of a table.

    :raises ConfigurationError: no table can have this name.
    """
    if not isinstance(name, str) or not _TABLE.fullmatch(name):
        raise ConfigurationError(
            "the name of a DynamoDB table must have 3 to 255 letters of a-z, A-Z, 0-9, `_`, `-` "
            "and `.`"
        )
    return name


def check_prefix(value: object) -> str:
    """Return a prefix that leaves room for a session's key of 256 characters after it.

    :raises ConfigurationError: it is empty or too long.
    """
    size = len(value.encode(errors="replace")) if isinstance(value, str) else 0
    if not isinstance(value, str) or not 0 < size <= _LONGEST_PREFIX:
        raise ConfigurationError(f"the prefix must be text of 1 to {_LONGEST_PREFIX} bytes")
    return value


def _endpoint(value: str) -> str:
    try:
        parts = urlsplit(value)
        is_usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        is_usable = is_usable and parts.username is None
    except ValueError:  # its text may quote a password
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
    """Return the parts and options of a URL. Errors quote nothing of it except names of options.

    :raises ConfigurationError: the URL cannot be parsed, or has an unknown option.
    """
    parts, options = split_url(url, _FORM)
    if parts.scheme.lower() != "dynamodb" or parts.path not in ("", "/"):
        raise ConfigurationError(_FORM)
    if not parts.netloc or any(sign in parts.netloc for sign in "@:"):
        raise ConfigurationError(_FORM)
    settings = Settings(check_table(parts.netloc), **parse_options(options, _OPTIONS, "DynamoDB"))
    check_prefix(settings.prefix)
    return settings
