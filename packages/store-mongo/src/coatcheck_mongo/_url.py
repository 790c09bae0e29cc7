"""The URLs of MongoDB stores: MongoDB's own URLs, with more options."""

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

#: The database of drivers and connect-mongo if the URL names none.
DEFAULT_DATABASE: Final = "test"
#: connect-mongo's default.
DEFAULT_COLLECTION: Final = "sessions"
#: Milliseconds that a call may take in all: to find a primary, to connect and to wait for a reply.
#: This is long enough for a planned handover. An election after a crash takes 10 s and more.
TIMEOUT_MS: Final = 3000

_FORM: Final = (
    "a MongoDB store's URL is `mongodb://[user:password@]host[:port][,...][/database]"
    "[?option=value&...]`, or `mongodb+srv://` with one host and no port"
)
_SCHEMES: Final = ("mongodb", "mongodb+srv")
_NOT_IN_DATABASES: Final = frozenset('/\\. "$\0')


@dataclass(frozen=True, slots=True)
class Settings:
    """The parts and options of a URL.

    :ivar uri: the URL for the driver, without the store's own options.
    :ivar database: the database's name.
    :ivar collection: the collection's name.
    :ivar stringify: whether sessions are text or bytes, and not documents.
    :ivar indexes: whether to create the indexes.
    :ivar hosts: the addresses that the driver tries first.
    """

    uri: str = field(repr=False)
    database: str
    collection: str
    stringify: bool
    indexes: bool
    hosts: list[tuple[str, int | None]]


def check_database(name: str) -> str:
    """Return the name of a database.

    :raises ConfigurationError: no database can have this name.
    """
    if not isinstance(name, str) or not name or _NOT_IN_DATABASES.intersection(name):
        raise ConfigurationError(
            "the name of a MongoDB database must be text without slashes, dots, spaces, quotes, "
            "`$` and NUL"
        )
    return name


def check_collection(name: str) -> str:
    """Return the name of a collection.

    :raises ConfigurationError: no collection can have this name.
    """
    bad = not isinstance(name, str) or not name or name.startswith((".", "system."))
    if bad or name.endswith(".") or ".." in name or {"$", "\0"}.intersection(name):
        raise ConfigurationError(
            "the name of a MongoDB collection must be text without `$`, NUL and empty parts, and "
            "must not begin with `system.`"
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
    """Return the parts and options of a URL. Errors quote nothing of it except names of options.

    :raises ConfigurationError: the URL cannot be parsed, or has an unknown option.
    """
    parts, options = split_url(url, _FORM)
    scheme, database = parts.scheme.lower(), unquote(parts.path[1:])
    if scheme not in _SCHEMES or " " in url:
        raise ConfigurationError(_FORM)
    hosts = _hosts(parts.netloc, srv=scheme == "mongodb+srv")
    values = parse_options(
        {name: options.pop(name) for name in _OWN if name in options}, _OWN, "MongoDB"
    )
    # The options are taken unchanged, because decoding and encoding them might change them.
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
    """Refuse options that the driver does not know, or that would break the store's promises."""
    for piece in pieces:
        name = _name(piece)
        if name.lower() not in VALIDATORS:
            raise ConfigurationError(
                f"the MongoDB store's URL has no option {name!r}; there are MongoDB's own options "
                f"and {', '.join(_OWN)}"
            )
        value = _value(piece)
        if name.lower() == "w" and value == 0:
            raise ConfigurationError("`w=0` would lose writes without an error")
        if name.lower() == "timeoutms" and not value:
            raise ConfigurationError("`timeoutMS=0` would let calls wait forever")
        if name.lower() == "readpreference" and value != "primary":
            raise ConfigurationError(
                "`readPreference` must be `primary`: secondaries lag behind, and show sessions "
                "that were ended"
            )
        if name.lower().startswith("srv") and not srv:
            raise ConfigurationError(f"{name!r} needs a URL with `mongodb+srv://`")
    # Making a client shows which options do not go together. It does not connect.
    plain = "&".join(piece for piece in pieces if not _name(piece).lower().startswith("srv"))
    try:
        with _without_warnings():
            MongoClient[Any](f"mongodb://{netloc}/?{plain}", connect=False)
    except _DRIVERS_ERRORS:
        raise ConfigurationError(
            "some options of the MongoDB store's URL do not go together, or files that they name "
            "are missing or malformed"
        ) from None


def _value(piece: str) -> Any:
    """Return the value of an option."""
    try:
        with _without_warnings():
            found: Any = uri_parser.split_options(piece, validate=True, warn=False)
    except _DRIVERS_ERRORS:
        raise ConfigurationError(
            f"{_name(piece)!r} in the MongoDB store's URL has a value that is not allowed"
        ) from None
    return next(iter(found.values()), None)


#: The exceptions that PyMongo raises for options.
_DRIVERS_ERRORS: Final = (PyMongoError, ValueError, TypeError, KeyError, OSError)


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Drop PyMongo's warnings in the block, because it repeats them when it makes the client."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
