"""URLs that name several servers, and one of them may be silent."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from coatcheck import Record
from coatcheck.errors import StoreUnavailable
from coatcheck_sql import AsyncSQLStore, SQLStore
from testing.servers.postgresql import DATABASE, USER, PostgreSQLServer

pytestmark = pytest.mark.integration("postgresql")

AUTHORITY = f"postgresql://{USER}@/{DATABASE}"


@pytest.fixture(scope="module")
def ports() -> Iterator[tuple[int, int]]:
    """The port of a server that accepts connections and says nothing, and the port of another."""
    with PostgreSQLServer() as server, socket.create_server(("127.0.0.1", 0)) as silent:
        with closing(SQLStore.from_url(server.url)) as store:
            store.ensure_table()
        yield silent.getsockname()[1], server.port


def test_the_next_server_is_asked_if_one_is_silent(ports: tuple[int, int]) -> None:
    """The call may take longer, by the time that the silent one is waited for."""
    silent, port = ports
    separate = f"host=127.0.0.1:{silent}&host=127.0.0.1:{port}&target_session_attrs=read-write"
    with closing(SQLStore.from_url(f"{AUTHORITY}?{separate}&timeout=1")) as store:
        assert store.set("key", Record(b"data", time.time() + 60))

    async def story() -> None:
        listed = f"host=127.0.0.1,127.0.0.1&port={silent},{port}"
        store = AsyncSQLStore.from_url(f"{AUTHORITY}?{listed}&timeout=1")
        found = await store.get("key")
        assert found is not None
        assert found.data == b"data"
        await store.close()

    asyncio.run(story())


def test_errors_name_all_servers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    url = f"{AUTHORITY}?host=127.0.0.1:{port}&host=localhost:{port}"
    with (
        closing(SQLStore.from_url(url)) as store,
        pytest.raises(StoreUnavailable, match=f"at 127.0.0.1:{port}, localhost:{port} cannot"),
    ):
        store.get("key")
