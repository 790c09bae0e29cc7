"""TLS, with the server of the system: those in wheels are built without it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme

from coatcheck import Record, open_async_store, open_store
from coatcheck.errors import StoreUnavailable
from testing.servers.programs import ServerMissing
from testing.servers.redis import TLSRedisServer, program

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


@pytest.fixture(scope="module", autouse=True)
def _speaks_tls() -> None:
    try:
        program("system")
    except ServerMissing as error:
        pytest.skip(str(error))  # only Debian's server speaks TLS


@pytest.fixture(scope="module")
def tls_server(trust: Trust) -> Iterator[TLSRedisServer]:
    with TLSRedisServer(trust.certificate, trust.key, trust.authority) as started:
        yield started


def test_both_faces_speak_tls(tls_server: TLSRedisServer, trust: Trust) -> None:
    url = f"rediss://127.0.0.1:{tls_server.port}?ssl_ca_certs={trust.authority}"
    record = Record(b"x", time.time() + 1000, "ada")
    store = open_store(url + "&ssl_min_version=TLSv1.3")
    assert store.set("key", record)
    assert [key for key, _ in store.owned_by("ada")] == ["key"]
    store.close()

    async def story() -> None:
        store = open_async_store(url)
        assert await store.get("key") == record
        await store.close()

    asyncio.run(story())
    asyncio.run(story())


def test_a_server_that_nobody_vouches_for_is_refused(tls_server: TLSRedisServer) -> None:
    url = f"rediss://127.0.0.1:{tls_server.port}"
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


def test_a_client_s_certificate_is_shown(trust: Trust) -> None:
    files = trust.certificate, trust.key, trust.authority
    with TLSRedisServer(*files, "--tls-auth-clients", "yes") as strict:
        url = f"rediss://127.0.0.1:{strict.port}?ssl_ca_certs={trust.authority}"
        store = open_store(f"{url}&ssl_certfile={trust.certificate}&ssl_keyfile={trust.key}")
        store.ping()
        store.close()
        anonymous = open_store(url + "&retries=0")
        with pytest.raises(StoreUnavailable):
            anonymous.ping()
        anonymous.close()
