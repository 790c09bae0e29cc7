"""TLS, which a proxy speaks in front of a server, as in many installations."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme

from coatcheck import Record, open_async_store, open_store
from coatcheck.errors import ConfigurationError, StoreUnavailable
from coatcheck.storekit import as_sync
from testing.servers.redis import RedisServer, ask
from testing.servers.tls import tls_in_front_of

pytestmark = pytest.mark.integration("redis")


class Trust(NamedTuple):
    """The files of a certificate authority, and of a client's certificate."""

    authority: Path
    certificate: Path
    key: Path


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    trust = Trust(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    authority.cert_pem.write_to_path(trust.authority)
    issued.cert_chain_pems[0].write_to_path(trust.certificate)
    issued.private_key_pem.write_to_path(trust.key)
    return trust


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as started:
        yield started


@pytest.fixture(scope="module")
def tls_port(redis_server: RedisServer, trust: Trust) -> Iterator[int]:
    with tls_in_front_of(redis_server.port, trust.certificate, trust.key) as port:
        yield port


def test_both_apis_speak_tls(tls_port: int, trust: Trust) -> None:
    url = f"rediss://127.0.0.1:{tls_port}?ssl_ca_certs={trust.authority}"
    record = Record(b"x", time.time() + 1000, "ada")
    store = open_store(url)
    assert store.set("key", record)
    assert [key for key, _ in store.owned_by("ada")] == ["key"]
    store.close()

    async def story() -> None:
        store = open_async_store(url)
        assert await store.get("key") == record
        await store.close()

    asyncio.run(story())
    asyncio.run(story())


def test_a_server_that_nobody_vouches_for_is_refused(tls_port: int) -> None:
    url = f"rediss://127.0.0.1:{tls_port}"
    store = open_store(url + "?retries=0")
    with pytest.raises(StoreUnavailable):
        store.ping()
    store.close()

    async def story() -> None:
        store = open_async_store(url + "?retries=0")
        with pytest.raises(StoreUnavailable):
            await store.ping()
        await store.close()

    asyncio.run(story())
    trusting = open_store(url + "?ssl_cert_reqs=none")
    trusting.ping()
    trusting.close()


@pytest.mark.parametrize("scheme", ["rediss", "rediss+cluster"])
def test_a_server_with_a_certificate_for_another_name_hears_no_password(
    redis_server: RedisServer, scheme: str, tmp_path: Path
) -> None:
    """By each redis-py: before 6.0 it does not look by itself, and 5.0.1 cannot for clusters."""
    authority = trustme.CA()
    issued = authority.issue_cert("elsewhere.example")
    ours, certificate, key = (tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem"))
    authority.cert_pem.write_to_path(ours)
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    with tls_in_front_of(redis_server.port, certificate, key) as port:
        url = f"{scheme}://ada:pw@127.0.0.1:{port}?ssl_ca_certs={ours}&retries=0"
        for api in (open_store, lambda url: as_sync(open_async_store(url))):
            with pytest.raises((StoreUnavailable, ConfigurationError)):
                store = api(url)
                with contextlib.closing(store):
                    store.ping()
    assert b"ada" not in ask(redis_server.port, "ACL", "LOG")


def test_a_client_s_certificate_is_shown(redis_server: RedisServer, trust: Trust) -> None:
    with tls_in_front_of(
        redis_server.port, trust.certificate, trust.key, clients_of=trust.authority
    ) as port:
        url = f"rediss://127.0.0.1:{port}?ssl_ca_certs={trust.authority}"
        store = open_store(f"{url}&ssl_certfile={trust.certificate}&ssl_keyfile={trust.key}")
        store.ping()
        store.close()
        anonymous = open_store(url + "&retries=0")
        with pytest.raises(StoreUnavailable):
            anonymous.ping()
        anonymous.close()
