"""The URLs of MongoDB stores: MongoDB's own, with options of the store's among the driver's."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

from pymongo import uri_parser
from pymongo.common import VALIDATORS
from pymongo.errors import PyMongoError

from coatcheck.errors import ConfigurationError
from coatcheck.url_options import flag, read, split

#: What a driver takes where the URL names no database, and connect-mongo with it.
DEFAULT_DATABASE: Final = "test"
#: connect-mongo's.
DEFAULT_COLLECTION: Final = "sessions"
#: Milliseconds that a call may take in all: to find a primary, to connect, to wait for a reply.
#: Long enough for a handover, and not for an election after a crash, which takes 10 s and more.
TIMEOUT_MS: Final = 3000

_FORM: Final = (
    "a MongoDB store's URL is `mongodb://[user:password@]host[:port][,...][/database]"
    "[?option=value&...]`, or `mongodb+srv://` with one host and no port"
)
_SCHEMES: Final = ("mongodb", "mongodb+srv")
_NOT_IN_DATABASES: Final = frozenset('/\\. "$\0')


@dataclass(frozen=True, slots=True)
class Settings:
    """What a URL says.

    :ivar uri: the URL for the driver, without the store's own options.
    :ivar database: the database's name.
    :ivar collection: the collection's name.
    :ivar stringify: whether sessions are text or bytes, and not documents.
    :ivar indexes: whether to create the indexes.
    :ivar hosts: where the driver begins.
    """

    uri: str = field(repr=False)
    database: str
    collection: str
    stringify: bool
    indexes: bool
    hosts: list[tuple[str, int | None]]


def check_database(name: str) -> str:
    """Return the name of a database if it can be one.

    :raises ConfigurationError: it cannot.
    """
    if not isinstance(name, str) or not name or _NOT_IN_DATABASES.intersection(name):
        raise ConfigurationError(
            "the name of a MongoDB database must be text without slashes, dots, spaces, quotes, "
            "`$` and NUL"
        )
    return name


def check_collection(name: str) -> str:
    """Return the name of a collection if it can be one.

    :raises ConfigurationError: it cannot.
    """
    bad = not isinstance(name, str) or not name or name.startswith((".", "system."))
    if bad or name.endswith(".") or ".." in name or {"$", "\0"}.intersection(name):
        raise ConfigurationError(
            "the name of a MongoDB collection must be text without `$` and NUL, and must not be "
            "the system's"
        )
    return name


def _collection(value: str) -> str:
    try:
        return check_collection(value)
    except ConfigurationError:
        raise ValueError("the name of a collection") from None


#: The store's own options.
_OWN: Final = {"collection": _collection, "stringify": flag, "indexes": flag}


def parse(url: str) -> Settings:
    """Return what a URL says. Nothing of the URL is in an error but the names of options.

    :raises ConfigurationError: it cannot be understood, or has an option that there is not.
    """
    parts, options = split(url, _FORM)
    scheme, database = parts.scheme.lower(), unquote(parts.path[1:])
    if scheme not in _SCHEMES or " " in url:
        raise ConfigurationError(_FORM)
    hosts = _hosts(parts.netloc, srv=scheme == "mongodb+srv")
    own = {name: options.pop(name) for name in _OWN.keys() & options.keys()}
    values = read(own, _OWN, "MongoDB")
    _check_options(options, srv=scheme == "mongodb+srv")
    pieces = [piece for piece in parts.query.split("&") if piece.partition("=")[0] not in own]
    if "timeoutms" not in map(str.lower, options):
        pieces.append(f"timeoutMS={TIMEOUT_MS}")
    return Settings(
        uri=f"{scheme}://{parts.netloc}{parts.path or '/'}?{'&'.join(filter(None, pieces))}",
        database=check_database(database or DEFAULT_DATABASE),
        collection=values.get("collection", DEFAULT_COLLECTION),
        stringify=values.get("stringify", True),
        indexes=values.get("indexes", True),
        hosts=hosts,
    )


def _hosts(netloc: str, *, srv: bool) -> list[tuple[str, int | None]]:
    userinfo, _, hosts = netloc.rpartition("@")
    try:
        if userinfo:
            uri_parser.parse_userinfo(userinfo)
        found = uri_parser.split_hosts(hosts, None if srv else 27017)
    except (PyMongoError, ValueError, IndexError):
        raise ConfigurationError(_FORM) from None
    if srv and (len(found) != 1 or found[0][1] is not None):
        raise ConfigurationError(_FORM)
    return found


def _check_options(options: dict[str, str], *, srv: bool) -> None:
    """Refuse what the driver does not know, and what would break the store's promises."""
    for name, value in options.items():
        if name.lower() not in VALIDATORS:
            raise ConfigurationError(
                f"the MongoDB store's URL has no option {name!r}: neither MongoDB has it nor the "
                f"store, whose own are {', '.join(_OWN)}"
            )
        read_one = _read(
            {name: value}, f"{name!r} in the MongoDB store's URL has a value that cannot be"
        )
        if read_one.get("w") == 0:
            raise ConfigurationError("`w=0` would lose writes without an error")
        if read_one.get("timeoutms") in (0, None) and name.lower() == "timeoutms":
            raise ConfigurationError("`timeoutMS=0` would let calls wait for ever")
        if read_one.get("readpreference", "primary") != "primary":
            raise ConfigurationError(
                "sessions are read from the primary: others lag behind, and show who has logged out"
            )
        if name.lower().startswith("srv") and not srv:
            raise ConfigurationError(f"{name!r} needs a URL with `mongodb+srv://`")
    if options:
        _read(options, "options of the MongoDB store's URL contradict one another")


def _read(options: dict[str, str], wrong: str) -> dict[str, Any]:
    query = "&".join(f"{name}={value}" for name, value in options.items())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the driver says it once more
            found: Any = uri_parser.split_options(query, validate=True, warn=False)
    except (PyMongoError, ValueError, TypeError, OSError):
        raise ConfigurationError(wrong) from None
    return {name.lower(): value for name, value in found.items()}
