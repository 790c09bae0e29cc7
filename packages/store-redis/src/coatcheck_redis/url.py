"""The URLs of Redis stores."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from coatcheck.errors import ConfigurationError

from .layout import DEFAULT_PREFIX

#: Seconds to wait for a reply.
SOCKET_TIMEOUT: Final = 3.0
#: Seconds to wait for a connection to the server.
CONNECT_TIMEOUT: Final = 2.0
#: Seconds to wait for one of the pool's connections to become free.
POOL_TIMEOUT: Final = 3.0
#: Connections of one pool.
MAX_CONNECTIONS: Final = 50
#: How often a command is tried again after the connection broke.
RETRIES: Final = 2

_FORM = (
    "a Redis store's URL is `redis://[user[:password]@]host[:port][/database][?option=value&...]`, "
    "with `rediss` for TLS, and `redis+cluster` or `rediss+cluster` for a cluster"
)
_SCHEMES: Final = ("redis", "rediss", "redis+cluster", "rediss+cluster")
_TLS_VERSIONS: Final = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a URL says.

    :ivar prefix: what the records' keys begin with.
    :ivar cluster: whether the address is one of a cluster.
    :ivar tls: whether to speak TLS.
    :ivar retries: how often to try again after a broken connection.
    :ivar pool_timeout: seconds to wait for a free connection.
    :ivar max_connections: of a pool; in a cluster, of each node's.
    :ivar client: the arguments of redis-py's connections.
    """

    prefix: str
    cluster: bool
    tls: bool
    retries: int
    pool_timeout: float
    max_connections: int
    client: dict[str, Any] = field(repr=False)


def _text(value: str) -> str:
    if not value:
        raise ValueError("some text")
    return value


def _seconds(value: str) -> float:
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", value) or not float(value):
        raise ValueError("seconds, more than 0")
    return float(value)


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parsed(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", value) or not least <= int(value) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(value)

    return parsed


def _flag(value: str) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if value.lower() not in words:
        raise ValueError("`true` or `false`")
    return words[value.lower()]


def _verification(value: str) -> str:
    if value not in ("none", "optional", "required"):
        raise ValueError("`none`, `optional` or `required`")
    return value


def _tls_version(value: str) -> ssl.TLSVersion:
    if value not in _TLS_VERSIONS:
        raise ValueError("`TLSv1.2` or `TLSv1.3`")
    return _TLS_VERSIONS[value]


#: Our own options.
_OWN: Final[dict[str, Callable[[str], Any]]] = {
    "prefix": _text,
    "max_connections": _whole(1, 100_000),
    "timeout": _seconds,
    "retries": _whole(0, 10),
}
#: Options of redis-py's connections, by its names.
_CLIENT: Final[dict[str, Callable[[str], Any]]] = {
    "db": _whole(0, 10**9),
    "socket_timeout": _seconds,
    "socket_connect_timeout": _seconds,
    "socket_keepalive": _flag,
    "health_check_interval": _whole(0, 86_400),
    "client_name": _text,
    "protocol": _whole(2, 3),
}
_TLS: Final[dict[str, Callable[[str], Any]]] = {
    "ssl_ca_certs": _text,
    "ssl_ca_path": _text,
    "ssl_certfile": _text,
    "ssl_keyfile": _text,
    "ssl_password": _text,
    "ssl_cert_reqs": _verification,
    "ssl_check_hostname": _flag,
    "ssl_ciphers": _text,
    "ssl_min_version": _tls_version,
}


def parse(url: str) -> Settings:
    """Return what a URL says. Nothing of the URL is in an error but the names of options.

    :raises ConfigurationError: it cannot be understood, or has an option that there is not.
    """
    try:
        parts = urlsplit(url)
        port = 6379 if parts.port is None else parts.port
        options = parse_qsl(
            parts.query, keep_blank_values=True, strict_parsing=bool(parts.query), errors="strict"
        )
        username, password = (
            unquote(part or "", errors="strict") for part in (parts.username, parts.password)
        )
    except ValueError:
        raise ConfigurationError(_FORM) from None
    scheme, host = parts.scheme.lower(), parts.hostname
    is_clean = not ("#" in url or any(character <= " " for character in url))
    if scheme not in _SCHEMES or not host or not port or not is_clean:
        raise ConfigurationError(_FORM)
    if len(dict(options)) != len(options):
        raise ConfigurationError("an option stands twice in the Redis store's URL")
    tls, cluster = scheme.startswith("rediss"), scheme.endswith("+cluster")
    values = _values(dict(options), tls=tls)
    database = parts.path.strip("/")
    if database:
        if not re.fullmatch(r"[0-9]{1,9}", database) or "db" in values:
            raise ConfigurationError(_FORM)
        values["db"] = int(database)
    if cluster and values.pop("db", 0):
        raise ConfigurationError("a Redis cluster has no other database than 0")
    if username:
        values["username"] = username
    if password:
        values["password"] = password
    client = {
        "host": unquote(host),
        "port": port,
        "socket_timeout": SOCKET_TIMEOUT,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_keepalive": True,
        **values,
    }
    if values.get("ssl_cert_reqs") == "none":
        client.setdefault("ssl_check_hostname", False)
    return Settings(
        prefix=client.pop("prefix", DEFAULT_PREFIX),
        cluster=cluster,
        tls=tls,
        retries=client.pop("retries", RETRIES),
        pool_timeout=client.pop("timeout", POOL_TIMEOUT),
        max_connections=client.pop("max_connections", MAX_CONNECTIONS),
        client=client,
    )


def _values(options: dict[str, str], *, tls: bool) -> dict[str, Any]:
    known = {**_OWN, **_CLIENT, **_TLS}
    values = {}
    for name, value in options.items():
        if name not in known:
            raise ConfigurationError(
                f"the Redis store's URL has no option {name!r}; there are {', '.join(known)}"
            )
        if name in _TLS and not tls:
            raise ConfigurationError(f"{name!r} needs TLS: a URL with `rediss://`")
        try:
            values[name] = known[name](value)
        except ValueError as error:
            raise ConfigurationError(f"{name!r} in the Redis store's URL must be {error}") from None
    return values
