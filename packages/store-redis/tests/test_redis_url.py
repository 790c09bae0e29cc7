"""Which URLs there are, and what they say about a wrong one."""

from __future__ import annotations

import ssl

import pytest

from coatcheck import open_async_store, open_store
from coatcheck.errors import ConfigurationError
from coatcheck_redis import AsyncRedisStore, RedisStore
from coatcheck_redis.url import parse


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+cluster", "rediss+cluster"])
def test_each_scheme_opens_both_faces_without_a_server(scheme: str) -> None:
    url = f"{scheme}://127.0.0.1:1"
    assert isinstance(open_store(url), RedisStore)
    assert isinstance(open_async_store(url), AsyncRedisStore)


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
        "&protocol=3&ssl_ca_certs=/ca.pem&ssl_ca_path=/cas&ssl_certfile=/c.pem&ssl_keyfile=/k.pem"
        "&ssl_password=s&ssl_cert_reqs=required&ssl_check_hostname=yes&ssl_ciphers=HIGH"
        "&ssl_min_version=TLSv1.3&db=4"
    )
    assert (settings.prefix, settings.max_connections) == ("a:", 7)
    assert (settings.pool_timeout, settings.retries) == (1.5, 0)
    assert settings.client == {
        "host": "h", "port": 6379, "db": 4,
        "socket_timeout": 2.0, "socket_connect_timeout": 0.5, "socket_keepalive": False,
        "health_check_interval": 30, "client_name": "shop", "protocol": 3,
        "ssl_ca_certs": "/ca.pem", "ssl_ca_path": "/cas", "ssl_certfile": "/c.pem",
        "ssl_keyfile": "/k.pem", "ssl_password": "s", "ssl_cert_reqs": "required",
        "ssl_check_hostname": True, "ssl_ciphers": "HIGH",
        "ssl_min_version": ssl.TLSVersion.TLSv1_3,
    }  # fmt: skip


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
        "redis://h?prefix=coatcheck:", "redis://h?prefix=coat", "redis://h?prefix=coatcheck:note:x",
        "redis://[::1", "redis://h?client_name=%ff",
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
