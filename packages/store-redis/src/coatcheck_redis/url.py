"""The URLs of Redis stores."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

from coatcheck.errors import ConfigurationError
from coatcheck.url_options import flag, one_of, read, seconds, split, text, whole

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


def _tls_version(value: str) -> ssl.TLSVersion:
    return _TLS_VERSIONS[one_of(_TLS_VERSIONS)(value)]


#: Our own options.
_OWN: Final[dict[str, Callable[[str], Any]]] = {
    "prefix": text,
    "max_connections": whole(1, 100_000),
    "timeout": seconds,
    "retries": whole(0, 10),
}
#: Options of redis-py's connections, by its names.
_CLIENT: Final[dict[str, Callable[[str], Any]]] = {
    "db": whole(0, 10**9),
    "socket_timeout": seconds,
    "socket_connect_timeout": seconds,
    "socket_keepalive": flag,
    "health_check_interval": whole(0, 86_400),
    "client_name": text,
    "protocol": whole(2, 3),
}
_TLS: Final[dict[str, Callable[[str], Any]]] = {
    "ssl_ca_certs": text,
    "ssl_ca_path": text,
    "ssl_certfile": text,
    "ssl_keyfile": text,
    "ssl_password": text,
    "ssl_cert_reqs": one_of(("none", "optional", "required")),
    "ssl_check_hostname": flag,
    "ssl_ciphers": text,
    "ssl_min_version": _tls_version,
}


def parse(url: str) -> Settings:
    """Return what a URL says. Nothing of the URL is in an error but the names of options.

    :raises ConfigurationError: it cannot be understood, or has an option that there is not.
    """
    parts, options = split(url, _FORM)
    try:
        port = 6379 if parts.port is None else parts.port
        username, password = (
            unquote(part or "", errors="strict") for part in (parts.username, parts.password)
        )
    except ValueError:
        raise ConfigurationError(_FORM) from None
    scheme, host = parts.scheme.lower(), parts.hostname
    if scheme not in _SCHEMES or not host or not port or " " in url:
        raise ConfigurationError(_FORM)
    tls, cluster = scheme.startswith("rediss"), scheme.endswith("+cluster")
    values = _values(options, tls=tls)
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
    values = read(options, {**_OWN, **_CLIENT, **_TLS}, "Redis")
    for name in values:
        if name in _TLS and not tls:
            raise ConfigurationError(f"{name!r} needs TLS: a URL with `rediss://`")
    return values
