"""The URLs of MongoDB stores: MongoDB's own, with options of the store's among the driver's."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, unquote_plus

from pymongo import MongoClient, uri_parser
from pymongo.common import VALIDATORS
from pymongo.errors import PyMongoError

from coatcheck.errors import ConfigurationError
from coatcheck.storekit import flag_option, parse_options, split_url

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
_OWN: Final = {"collection": _collection, "stringify": flag_option, "indexes": flag_option}


def parse(url: str) -> Settings:
    """Return what a URL says. Nothing of the URL is in an error but the names of options.

    :raises ConfigurationError: it cannot be understood, or has an option that there is not.
    """
    parts, options = split_url(url, _FORM)
    scheme, database = parts.scheme.lower(), unquote(parts.path[1:])
    if scheme not in _SCHEMES or " " in url:
        raise ConfigurationError(_FORM)
    hosts = _hosts(parts.netloc, srv=scheme == "mongodb+srv")
    values = parse_options(
        {name: options.pop(name) for name in _OWN if name in options}, _OWN, "MongoDB"
    )
    # As they stand: what is decoded and encoded again may be another thing.
    pieces = [piece for piece in filter(None, parts.query.split("&")) if _name(piece) not in _OWN]
    _check_options(parts.netloc, pieces, srv=scheme == "mongodb+srv")
    if "timeoutms" not in map(str.lower, options):
        pieces.append(f"timeoutMS={TIMEOUT_MS}")
    return Settings(
        uri=f"{scheme}://{parts.netloc}{parts.path or '/'}?{'&'.join(pieces)}",
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


def _name(piece: str) -> str:
    return unquote_plus(piece.partition("=")[0])


def _check_options(netloc: str, pieces: list[str], *, srv: bool) -> None:
    """Refuse what the driver does not know, and what would break the store's promises."""
    for piece in pieces:
        name = _name(piece)
        if name.lower() not in VALIDATORS:
            raise ConfigurationError(
                f"the MongoDB store's URL has no option {name!r}: neither MongoDB has it nor the "
                f"store, whose own are {', '.join(_OWN)}"
            )
        value = _value(piece)
        if name.lower() == "w" and value == 0:
            raise ConfigurationError("`w=0` would lose writes without an error")
        if name.lower() == "timeoutms" and not value:
            raise ConfigurationError("`timeoutMS=0` would let calls wait for ever")
        if name.lower() == "readpreference" and value != "primary":
            raise ConfigurationError(
                "sessions are read from the primary: others lag behind, and show who has logged out"
            )
        if name.lower().startswith("srv") and not srv:
            raise ConfigurationError(f"{name!r} needs a URL with `mongodb+srv://`")
    # A client that is made tells what does not go together. It connects to nobody.
    plain = "&".join(piece for piece in pieces if not _name(piece).lower().startswith("srv"))
    try:
        with _without_warnings():
            MongoClient[Any](f"mongodb://{netloc}/?{plain}", connect=False)
    except _DRIVERS_ERRORS:
        raise ConfigurationError(
            "options of the MongoDB store's URL do not go together, or the files that they name "
            "are not what they should be"
        ) from None


def _value(piece: str) -> Any:
    """Return the value of an option."""
    try:
        with _without_warnings():
            found: Any = uri_parser.split_options(piece, validate=True, warn=False)
    except _DRIVERS_ERRORS:
        raise ConfigurationError(
            f"{_name(piece)!r} in the MongoDB store's URL has a value that cannot be"
        ) from None
    return next(iter(found.values()), None)


#: What PyMongo raises for options.
_DRIVERS_ERRORS: Final = (PyMongoError, ValueError, TypeError, KeyError, OSError)


@contextmanager
def _without_warnings() -> Iterator[None]:
    """PyMongo says it once more when the client is made."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
