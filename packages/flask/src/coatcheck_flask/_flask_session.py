"""Understand the configuration of Flask-Session, or say what to write instead."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from coatcheck import Store
from coatcheck.errors import ConfigurationError
from coatcheck.options import OptionFields

Config = Mapping[str, Any]

#: Settings that have no meaning here, and what to do instead.
_REFUSED: Final[Mapping[str, str]] = {
    "SESSION_CLEANUP_N_REQUESTS": "remove it: stores remove expired sessions by themselves",
    "SESSION_FILE_THRESHOLD": "remove it: the number of sessions in files has no limit",
    "SESSION_CACHELIB": 'set `COATCHECK_STORE = "file:///var/lib/shop/sessions"`, or a Redis URL',
    "SESSION_MEMCACHED": 'set `COATCHECK_STORE = "redis://localhost:6379/0"`',
    **dict.fromkeys(
        (
            "SESSION_SQLALCHEMY",
            "SESSION_SQLALCHEMY_TABLE",
            "SESSION_SQLALCHEMY_SEQUENCE",
            "SESSION_SQLALCHEMY_SCHEMA",
            "SESSION_SQLALCHEMY_BIND_KEY",
        ),
        'set `COATCHECK_STORE` to the URL of the database, such as "postgresql://app@db/shop" '
        "(the package is coatcheck-sql), and run `flask coatcheck create-table URL` once",
    ),
}
#: Values of SESSION_TYPE that have no store here, and what to do instead.
_NO_STORE: Final[Mapping[str, str]] = {
    "cachelib": _REFUSED["SESSION_CACHELIB"],
    "memcached": _REFUSED["SESSION_MEMCACHED"],
    "sqlalchemy": _REFUSED["SESSION_SQLALCHEMY"],
}
#: The only permissions that the file store gives to its files.
_FILE_MODE: Final = 0o600


def is_used(config: Config) -> bool:
    """Tell whether the configuration is Flask-Session's, whose sessions are permanent."""
    return _type_of(config) is not None


def options_of(config: Config) -> OptionFields:
    """Return the options that follow from the settings of Flask-Session.

    :raises ConfigurationError: a setting that has no meaning here. The error says what to write.
    """
    _refuse(config)
    found: OptionFields = {}
    kind = _type_of(config)
    if kind is not None:
        make = _STORES.get(kind)
        if make is None:
            advice = _NO_STORE.get(kind, f"it must be one of {', '.join(sorted(_STORES))}, or None")
            raise ConfigurationError(f"`SESSION_TYPE` is {kind!r}: {advice}")
        found["store"] = make(config)
    length = config.get("SESSION_ID_LENGTH")
    if length is not None:
        found["generate_id"] = _ids_of(length)
    return found


def _type_of(config: Config) -> str | None:
    kind = config.get("SESSION_TYPE")
    if kind is None or kind == "null":
        return None
    return kind.lower() if isinstance(kind, str) else repr(kind)


def _refuse(config: Config) -> None:
    for setting, advice in _REFUSED.items():
        if config.get(setting) is not None:
            raise ConfigurationError(f"`{setting}` of Flask-Session has no meaning here: {advice}")
    if config.get("SESSION_USE_SIGNER", True) is False:
        raise ConfigurationError(
            "`SESSION_USE_SIGNER` is False, but session cookies are always signed: remove it"
        )
    if config.get("SESSION_SERIALIZATION_FORMAT", "json") != "json":
        raise ConfigurationError(
            "`SESSION_SERIALIZATION_FORMAT` must be 'json' here, which has tags for dates, bytes "
            "and other types: remove it, or give a codec of yours with `COATCHECK_CODEC`"
        )
    if config.get("SESSION_FILE_MODE", _FILE_MODE) != _FILE_MODE:
        raise ConfigurationError(
            "`SESSION_FILE_MODE` must be 0o600 here, so that no other user reads sessions: "
            "remove it"
        )


def _ids_of(length: object) -> Callable[[Any], str]:
    if not isinstance(length, int) or isinstance(length, bool) or not 16 <= length <= 96:
        raise ConfigurationError(
            f"`SESSION_ID_LENGTH` must be 16 to 96 bytes here, not {length!r}: 24 are good, and "
            "the default"
        )
    return lambda _: secrets.token_urlsafe(length)


def _redis(config: Config) -> Store | str:
    client, prefix = config.get("SESSION_REDIS"), config.get("SESSION_KEY_PREFIX", "session:")
    if client is None:
        import urllib.parse

        return f"redis://localhost:6379/0?prefix={urllib.parse.quote(prefix, safe='')}"
    store: Store = _class("coatcheck_redis", "RedisStore", "redis")(client, prefix=prefix)
    return store


def _mongodb(config: Config) -> Store:
    _no_prefix(config)
    client = _client(config, "SESSION_MONGODB", "pymongo.MongoClient(...)")
    store: Store = _class("coatcheck_mongo", "MongoStore", "mongo")(
        client,
        database=config.get("SESSION_MONGODB_DB", "flask_session"),
        collection=config.get("SESSION_MONGODB_COLLECT", "sessions"),
    )
    return store


def _dynamodb(config: Config) -> Store:
    given = _client(config, "SESSION_DYNAMODB", 'boto3.resource("dynamodb")')
    client = given.meta.client if hasattr(given, "Table") else given  # a resource has one
    store: Store = _class("coatcheck_dynamodb", "DynamoDBStore", "dynamodb")(
        client,
        table=config.get("SESSION_DYNAMODB_TABLE", "Sessions"),
        prefix=config.get("SESSION_KEY_PREFIX", "session:"),
    )
    return store


def _filesystem(config: Config) -> Store:
    _no_prefix(config)
    folder = config.get("SESSION_FILE_DIR", str(Path.cwd() / "flask_session"))
    store: Store = _class("coatcheck_file", "FileStore", "file")(folder)
    return store


_STORES: Final[Mapping[str, Callable[[Config], Store | str]]] = {
    "redis": _redis,
    "mongodb": _mongodb,
    "dynamodb": _dynamodb,
    "filesystem": _filesystem,
}


def _client(config: Config, setting: str, example: str) -> Any:
    client = config.get(setting)
    if client is None:
        raise ConfigurationError(
            f"`SESSION_TYPE` needs a client: `{setting} = {example}`; or set `COATCHECK_STORE` to "
            "a URL instead of `SESSION_TYPE`"
        )
    return client


def _no_prefix(config: Config) -> None:
    if config.get("SESSION_KEY_PREFIX", "session:") != "session:":
        raise ConfigurationError(
            "`SESSION_KEY_PREFIX` has no meaning for this `SESSION_TYPE`: give each application a "
            "folder or a collection of its own"
        )


def _class(module: str, name: str, extra: str) -> Any:
    try:
        return getattr(import_module(module), name)
    except ImportError as error:
        raise ConfigurationError(
            f"`SESSION_TYPE` needs {module.replace('_', '-')}: "
            f'`pip install "coatcheck[flask,{extra}]"`'
        ) from error
