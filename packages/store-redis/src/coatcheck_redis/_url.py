"""The URLs of Redis stores."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import redis.asyncio
from redis.cluster import REDIS_ALLOWED_KEYS

import redis
from coatcheck.errors import ConfigurationError
from coatcheck.storekit import (
    choice_option,
    flag_option,
    integer_option,
    parse_options,
    seconds_option,
    split_url,
    text_option,
)

from ._layout import DEFAULT_PREFIX

#: Seconds to wait for a reply.
SOCKET_TIMEOUT: Final = 3.0
#: Seconds to wait for a connection to the server.
CONNECT_TIMEOUT: Final = 2.0
#: Seconds to wait for one of the pool's connections to become free.
POOL_TIMEOUT: Final = 3.0
#: How many connections one pool has at most.
MAX_CONNECTIONS: Final = 50
#: How often a command is sent again after the connection broke.
RETRIES: Final = 2

_FORM = (
    "a Redis store's URL is `redis://[user[:password]@]host[:port][/database][?option=value&...]`, "
    "with `rediss` for TLS, and `redis+cluster` or `rediss+cluster` for a cluster; "
    "`redis+sentinel://[user[:password]@]host[:port][,host...]/service[/database]` for Sentinels, "
    "and `unix://[user[:password]@]/path` a Unix socket"
)
_SINGLE: Final = ("redis", "valkey")
_TLS_SCHEMES: Final = {f"{name}s" for name in _SINGLE}
_SOCKETS: Final = ("unix", "redis+unix", "redis+socket")
#: All URL schemes of this store. Each one is an entry point.
SCHEMES: Final = (
    *(
        f"{name}{kind}"
        for kind in ("", "+cluster", "+sentinel")
        for name in ("redis", "rediss", "valkey", "valkeys")
    ),
    *_SOCKETS,
)
_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
#: The options that both APIs of redis-py accept for TLS connections. Earlier releases lack some.
_IN_REDIS_PY: Final = frozenset(signature(redis.SSLConnection).parameters).intersection(
    signature(redis.asyncio.SSLConnection).parameters
)
#: The options that both of redis-py's cluster clients pass on to their connections. They ignore
#: other options silently, or refuse them at the first call.
_PASSED_ON: Final = frozenset(REDIS_ALLOWED_KEYS).intersection(
    signature(redis.asyncio.RedisCluster).parameters
)
_TLS_VERSIONS: Final = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True, slots=True)
class Settings:
    """The parts and options of a URL.

    :ivar prefix: the start of each record's key.
    :ivar cluster: whether the address is one of a cluster.
    :ivar tls: whether to use TLS.
    :ivar retries: how often a command is sent again after the connection broke.
    :ivar pool_timeout: seconds to wait for a free connection.
    :ivar max_connections: how many connections a pool has at most. In a cluster each node has one.
    :ivar client: the arguments of redis-py's connections. ``host`` and ``port`` are missing if
        Sentinels name them.
    :ivar where: the server's name for errors.
    :ivar service: the name by which Sentinels know the servers. None without Sentinels.
    :ivar sentinels: the arguments of redis-py's connections to each Sentinel.
    """

    prefix: str
    cluster: bool
    tls: bool
    retries: int
    pool_timeout: float
    max_connections: int
    client: dict[str, Any] = field(repr=False)
    where: str
    service: str | None = None
    sentinels: tuple[dict[str, Any], ...] = field(default=(), repr=False)


def _tls_version(value: str) -> ssl.TLSVersion:
    return _TLS_VERSIONS[choice_option(_TLS_VERSIONS)(value)]


#: The store's own options.
_OWN: Final[dict[str, Callable[[str], Any]]] = {
    "prefix": text_option,
    "max_connections": integer_option(1, 100_000),
    "timeout": seconds_option,
    "retries": integer_option(0, 10),
}
#: Options of redis-py's connections, by its names.
_CLIENT: Final[dict[str, Callable[[str], Any]]] = {
    "db": integer_option(0, 10**9),
    "socket_timeout": seconds_option,
    "socket_connect_timeout": seconds_option,
    "socket_keepalive": flag_option,
    "health_check_interval": integer_option(0, 86_400),
    "client_name": text_option,
    "protocol": integer_option(2, 3),
}
#: Options for the connections to Sentinels.
_SENTINEL: Final[dict[str, Callable[[str], Any]]] = {
    "sentinel_username": text_option,
    "sentinel_password": text_option,
}
#: Options of redis-py's connections with TLS, by its names.
_TLS: Final[dict[str, Callable[[str], Any]]] = {
    "ssl_ca_certs": text_option,
    "ssl_ca_path": text_option,
    "ssl_certfile": text_option,
    "ssl_keyfile": text_option,
    "ssl_password": text_option,
    "ssl_cert_reqs": choice_option(("none", "optional", "required")),
    "ssl_check_hostname": flag_option,
    "ssl_ciphers": text_option,
    "ssl_min_version": _tls_version,
}


def parse(url: str) -> Settings:
    """Return the parts and options of a URL. Errors quote nothing of it except names of options.

    :raises ConfigurationError: the URL cannot be parsed, or has an unknown option.
    """
    parts, options = split_url(url, _FORM)
    scheme = parts.scheme.lower()
    if scheme not in SCHEMES or " " in url:
        raise ConfigurationError(_FORM)
    base, _, kind = scheme.partition("+")
    if scheme in _SOCKETS:
        kind = "socket"
    tls = base in _TLS_SCHEMES
    userinfo, _, netloc = parts.netloc.rpartition("@")
    values = {**_values(options, tls=tls, kind=kind), **_user(userinfo)}
    if kind == "socket":
        return _socket(netloc, parts.path, values)
    addresses = [_address(each, kind) for each in netloc.split(",")]
    path = parts.path.strip("/")
    if kind == "sentinel":
        return _sentinels(addresses, path, values, tls=tls)
    if len(addresses) > 1:
        raise ConfigurationError(_FORM)
    values.update(_database(path, values))
    ((host, port),) = addresses
    named = format_address((host, port))
    if kind == "cluster":
        if values.pop("db", 0):
            raise ConfigurationError("a Redis cluster has no other database than 0")
        named = f"the cluster of {named}"
    place = {"host": host, "port": port}
    return _settings(values, place, f"Redis at {named}", tls=tls, cluster=kind == "cluster")


def format_address(address: tuple[str, int]) -> str:
    """Return an address as URLs have it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _socket(netloc: str, path: str, values: dict[str, Any]) -> Settings:
    """Return the settings of a URL with a Unix socket."""
    if netloc or len(path) < 2:
        raise ConfigurationError(_FORM)
    path = _decoded(path)
    return _settings(values, {"path": path}, f"Redis at {path}")


def _sentinels(
    addresses: list[tuple[str, int]], path: str, values: dict[str, Any], *, tls: bool
) -> Settings:
    """Return the settings of a URL with Sentinels."""
    service, _, path = path.partition("/")
    if not service:
        raise ConfigurationError(_FORM)
    service = _decoded(service)
    values.update(_database(path, values))
    named = ", ".join(map(format_address, addresses))
    where = f"Redis, the master {service!r} of the Sentinels at {named}"
    return _settings(values, {}, where, tls=tls, service=service, addresses=addresses)


def _settings(
    values: dict[str, Any],
    place: dict[str, Any],
    where: str,
    *,
    tls: bool = False,
    cluster: bool = False,
    service: str | None = None,
    addresses: Sequence[tuple[str, int]] = (),
) -> Settings:
    common = {"socket_timeout": SOCKET_TIMEOUT, "socket_connect_timeout": CONNECT_TIMEOUT}
    if "path" not in place:
        common["socket_keepalive"] = True
    client = {**place, **common, **values}
    if tls:
        _check_name_in_certificates(client, cluster=cluster)
    own = {name: client.pop(name) for name in (*_OWN, *_SENTINEL) if name in client}
    sentinel = {name: value for name, value in client.items() if name in (*common, *_TLS)}
    for name in ("username", "password"):
        if f"sentinel_{name}" in own:
            sentinel[name] = own[f"sentinel_{name}"]
    return Settings(
        prefix=own.get("prefix", DEFAULT_PREFIX),
        cluster=cluster,
        tls=tls,
        retries=own.get("retries", RETRIES),
        pool_timeout=own.get("timeout", POOL_TIMEOUT),
        max_connections=own.get("max_connections", MAX_CONNECTIONS),
        client=client,
        where=where,
        service=service,
        sentinels=tuple({**sentinel, "host": host, "port": port} for host, port in addresses),
    )


def _check_name_in_certificates(client: dict[str, Any], *, cluster: bool) -> None:
    """Have redis-py compare the server's name with its certificate, unless the URL says otherwise.

    :raises ConfigurationError: the installed redis-py cannot do so.
    """
    # Before 6.0 redis-py does not compare them by default.
    client.setdefault("ssl_check_hostname", client.get("ssl_cert_reqs") != "none")
    if cluster and client["ssl_check_hostname"] and "ssl_check_hostname" not in _PASSED_ON:
        raise ConfigurationError(
            f"redis-py {redis.__version__} does not check the name in the certificates of a "
            "cluster's servers: install a later one, or allow that with `ssl_check_hostname=no`"
        )


def _user(userinfo: str) -> dict[str, str]:
    username, _, password = (_decoded(part) for part in userinfo.partition(":"))
    found = {"username": username, "password": password}
    return {name: value for name, value in found.items() if value}


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ConfigurationError(_FORM) from None


def _address(text: str, kind: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ConfigurationError(_FORM) from None
    if port is None:
        port = _SENTINEL_PORT if kind == "sentinel" else _PORT
    if not host or not port or parts.path or parts.query:
        raise ConfigurationError(_FORM)
    return _decoded(host), port


def _database(path: str, values: Mapping[str, Any]) -> dict[str, int]:
    if not path:
        return {}
    if not re.fullmatch(r"[0-9]{1,9}", path) or "db" in values:
        raise ConfigurationError(_FORM)
    return {"db": int(path)}


def _values(options: dict[str, str], *, tls: bool, kind: str) -> dict[str, Any]:
    values = parse_options(options, {**_OWN, **_CLIENT, **_TLS, **_SENTINEL}, "Redis")
    for name in values:
        if name in _TLS and not tls:
            raise ConfigurationError(f"{name!r} needs TLS: a URL with `rediss://`")
        if name in _TLS and name not in _IN_REDIS_PY:
            raise ConfigurationError(
                f"{name!r} needs a later redis-py than the {redis.__version__} that is installed"
            )
        if kind == "cluster" and name not in {*_OWN, *_PASSED_ON, "ssl_check_hostname"}:
            raise ConfigurationError(
                f"{name!r} cannot be set for a cluster: the clients of clusters in the redis-py "
                f"{redis.__version__} that is installed do not pass it on to their connections"
            )
        if name in _SENTINEL and kind != "sentinel":
            raise ConfigurationError(f"{name!r} needs Sentinels: a URL with `redis+sentinel://`")
        if name == "socket_keepalive" and kind == "socket":
            raise ConfigurationError(f"{name!r} needs TCP: a Unix socket has no keepalive")
    return values
