"""Which URLs there are, and what they say about a wrong one."""

from __future__ import annotations

import ssl
from inspect import signature

import pytest
import redis.asyncio
from commandline import run_here
from redis.cluster import cleanup_kwargs

import redis
from coatcheck import open_async_store, open_store
from coatcheck._command_line.commands import main
from coatcheck._stores.registry import Registry
from coatcheck.errors import ConfigurationError
from coatcheck_redis import AsyncRedisStore, RedisStore
from coatcheck_redis._url import SCHEMES, parse
from coatcheck_redis.plugin import coatcheck_stores


def test_the_plugin_has_each_scheme() -> None:
    """Each is an entry point, too; a listing shows those that are not in order."""
    (spec,) = coatcheck_stores()
    assert set(spec.schemes) == set(SCHEMES)
    rows = {row.scheme: row.status for row in Registry().installed()}
    assert [rows.get(scheme) for scheme in SCHEMES] == ["ok"] * len(SCHEMES)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_scheme_opens_both_apis_without_a_server(scheme: str) -> None:
    if scheme in ("rediss+cluster", "valkeys+cluster") and not cleanup_kwargs(ssl_check_hostname=1):
        with pytest.raises(ConfigurationError):
            parse(f"{scheme}://h")
        return
    url = f"{scheme}://127.0.0.1:1/shop"
    if "sentinel" not in scheme:
        url = f"{scheme}:///no/such.sock" if parse_of(scheme) else f"{scheme}://127.0.0.1:1"
    assert isinstance(open_store(url), RedisStore)
    assert isinstance(open_async_store(url), AsyncRedisStore)


def parse_of(scheme: str) -> bool:
    """Tell whether a scheme is one of Unix sockets."""
    return scheme.endswith(("unix", "socket"))


def test_valkey_is_redis_by_another_name() -> None:
    for theirs, ours in (("valkey", "redis"), ("valkeys", "rediss")):
        for kind in ("", "+cluster"):
            unchecked = "?ssl_check_hostname=no" if ours == "rediss" else ""
            ours_url, theirs_url = (f"{name}{kind}://h:1{unchecked}" for name in (ours, theirs))
            assert parse(theirs_url) == parse(ours_url)
        assert parse(f"{theirs}+sentinel://h/s") == parse(f"{ours}+sentinel://h/s")


def test_a_unix_socket_s_url_has_a_path() -> None:
    for scheme in ("unix", "redis+unix", "redis+socket"):
        settings = parse(f"{scheme}://al%69ce:p%40ss@/run/redis%20a.sock?db=3&prefix=x:")
        assert settings.client == {
            "path": "/run/redis a.sock", "username": "alice", "password": "p@ss", "db": 3,
            "socket_timeout": 3.0, "socket_connect_timeout": 2.0,
        }  # fmt: skip
        assert settings.where == "Redis at /run/redis a.sock"


def test_sentinels_are_several_and_have_users_of_their_own() -> None:
    settings = parse(
        "rediss+sentinel://ada:pw@a.example,b.example:5,[::1]:6/shop/2"
        "?sentinel_username=guard&sentinel_password=s3cret&ssl_ca_certs=/ca.pem"
    )
    assert settings.service == "shop"
    assert (settings.client["db"], settings.client["username"]) == (2, "ada")
    assert "host" not in settings.client
    assert [(each["host"], each["port"]) for each in settings.sentinels] == [
        ("a.example", 26379), ("b.example", 5), ("::1", 6),
    ]  # fmt: skip
    for each in settings.sentinels:
        assert (each["username"], each["password"]) == ("guard", "s3cret")
        assert each["ssl_ca_certs"] == "/ca.pem"
        assert "db" not in each
    assert "s3cret" not in repr(settings)
    assert settings.where == (
        "Redis, the master 'shop' of the Sentinels at a.example:26379, b.example:5, [::1]:6"
    )


def test_the_name_in_a_certificate_is_checked() -> None:
    """By each redis-py: before 6.0 it did not by itself."""
    assert parse("rediss://h").client["ssl_check_hostname"] is True
    assert parse("rediss://h?ssl_cert_reqs=none").client["ssl_check_hostname"] is False


def test_a_url_says_where_and_who() -> None:
    settings = parse("redis://al%69ce:p%40ss%3Aword@[::1]:7000/3")
    assert settings.client["host"] == "::1"
    assert settings.client["port"] == 7000
    assert settings.client["db"] == 3
    assert settings.client["username"] == "alice"
    assert settings.client["password"] == "p@ss:word"
    assert settings.prefix == "sess:"
    assert not settings.tls
    assert not settings.cluster


def test_each_option_arrives_with_its_type() -> None:
    settings = parse(
        "rediss://h?prefix=a%3A&max_connections=7&timeout=1.5&retries=0&socket_timeout=2"
        "&socket_connect_timeout=0.5&socket_keepalive=no&health_check_interval=30&client_name=shop"
        "&protocol=3&ssl_ca_certs=/ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem"
        "&ssl_cert_reqs=required&ssl_check_hostname=yes&db=4"
    )
    assert (settings.prefix, settings.max_connections) == ("a:", 7)
    assert (settings.pool_timeout, settings.retries) == (1.5, 0)
    assert settings.client == {
        "host": "h", "port": 6379, "db": 4,
        "socket_timeout": 2.0, "socket_connect_timeout": 0.5, "socket_keepalive": False,
        "health_check_interval": 30, "client_name": "shop", "protocol": 3,
        "ssl_ca_certs": "/ca.pem", "ssl_certfile": "/c.pem",
        "ssl_keyfile": "/k.pem", "ssl_cert_reqs": "required", "ssl_check_hostname": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("ssl_ca_path", "/cas"),
        ("ssl_password", "s"),
        ("ssl_ciphers", "HIGH"),
        ("ssl_min_version", "TLSv1.3"),
    ],
)
def test_an_option_that_redis_py_does_not_know_yet_is_refused(option: str, value: str) -> None:
    """The oldest supported releases lack these, by one API or by both."""
    kinds = (redis.SSLConnection, redis.asyncio.SSLConnection)
    url = f"rediss://h?{option}={value}"
    if all(option in signature(kind).parameters for kind in kinds):
        expected = ssl.TLSVersion.TLSv1_3 if option == "ssl_min_version" else value
        assert parse(url).client[option] == expected
    else:
        with pytest.raises(ConfigurationError, match="later redis-py"):
            parse(url)


@pytest.mark.parametrize(
    "option",
    [
        "socket_timeout=2", "socket_connect_timeout=2", "socket_keepalive=no", "client_name=shop",
        "health_check_interval=30", "protocol=3", "ssl_ca_certs=/ca.pem", "ssl_ca_path=/cas",
        "ssl_certfile=/c.pem", "ssl_keyfile=/k.pem", "ssl_password=s", "ssl_cert_reqs=optional",
        "ssl_ciphers=HIGH", "ssl_min_version=TLSv1.3",
    ],
)  # fmt: skip
def test_a_cluster_s_url_has_no_option_that_redis_py_would_drop(option: str) -> None:
    """Its clients of clusters pass on what is in their lists, and say nothing of the rest."""
    name = option.partition("=")[0]
    url = f"rediss+cluster://h?ssl_check_hostname=no&{option}"
    if cleanup_kwargs(**{name: 1}) and name in signature(redis.asyncio.RedisCluster).parameters:
        assert name in parse(url).client
    else:
        for opened in (open_store, open_async_store):
            with pytest.raises(ConfigurationError, match=name):
                opened(url)


def test_a_cluster_is_not_used_without_the_name_in_its_certificates() -> None:
    for url in ("rediss+cluster://h", "rediss+cluster://h?ssl_check_hostname=yes"):
        if cleanup_kwargs(ssl_check_hostname=True):
            assert parse(url).client["ssl_check_hostname"] is True
        else:
            with pytest.raises(ConfigurationError, match="ssl_check_hostname"):
                parse(url)
    parse("rediss+cluster://h?ssl_cert_reqs=none")


@pytest.mark.parametrize(
    "url",
    [
        "redis:", "redis://", "redis:///0", "redis://h/x", "redis://h/1/2", "redis://h:99999",
        "redis://h:0", "redis://h/0#x", "redis://h/ 0", "redis://h?prefix", "redis://h/1?db=2",
        "redis://h?prefix=", "redis://h?retries=-1", "redis://h?retries=11", "redis://h?protocol=4",
        "redis://h?socket_timeout=0", "redis://h?socket_timeout=nan", "redis://h?timeout=1e3",
        "redis://h?max_connections=0", "redis://h?prefix=a&prefix=b", "redis://h?no_such=1",
        "redis://h?decode_responses=true", "redis://h?socket_keepalive=maybe",
        "redis://h?ssl_ca_certs=/ca.pem", "rediss://h?ssl_cert_reqs=maybe",
        "rediss://h?ssl_min_version=TLSv1", "redis+cluster://h/1", "redis+cluster://h?db=1",
        "redis://h?prefix=coatcheck:", "redis://h?prefix=coat", "redis://h?prefix=coatcheck:metadata:x",
        "redis://[::1", "redis://h?client_name=%ff", "redis://a,b", "redis+cluster://a:1,b:2",
        "redis+sentinel://h", "redis+sentinel://h/", "redis+sentinel:///shop",
        "redis+sentinel://h:0/shop", "redis+sentinel://h,/shop", "redis+sentinel://h/shop/x",
        "redis+sentinel://h/shop/1?db=1", "redis://h?sentinel_password=x",
        "unix://", "unix:///", "unix://h/run/redis.sock", "unix:///a?socket_keepalive=yes",
        "unix:///a?ssl_ca_certs=/ca.pem", "unix:///%ff",
    ],
)  # fmt: skip
def test_a_wrong_url_is_refused_at_the_opening(url: str) -> None:
    for opened in (open_store, open_async_store):
        with pytest.raises(ConfigurationError):
            opened(url)


def test_an_error_names_options_and_never_the_password() -> None:
    for url in (
        "redis://user:tops3cret@h?no_such=1",
        "redis://user:tops3cret@h:port",
        "redis://user:tops3cret@h/x",
        "rediss://user:tops3cret@h?ssl_password=tops3cret&ssl_password=tops3cret",
        "rediss://h?ssl_cert_reqs=tops3cret",
    ):
        with pytest.raises(ConfigurationError) as caught:
            open_store(url)
        assert "tops3cret" not in f"{caught.value!r} {caught.value}"
    with pytest.raises(ConfigurationError, match="no option 'no_such'; there are prefix, "):
        open_store("redis://h?no_such=1")


def test_no_repr_shows_the_password() -> None:
    url = "redis://user:tops3cret@127.0.0.1:1?ssl=1".removesuffix("?ssl=1")
    assert "tops3cret" not in repr(parse(url))
    assert "tops3cret" not in repr(open_store(url))
    assert "tops3cret" not in repr(open_async_store(url))


def test_the_command_prune_is_refused() -> None:
    """Redis removes expired sessions itself. Nothing is connected."""
    result = run_here(main, "prune", "redis://nowhere.invalid")
    assert (result.returncode, result.stdout) == (2, "")
    assert "removes expired sessions itself" in result.stderr
