"""PyMongo's clients: one for each process and, in the async API, for each event loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

from pymongo import AsyncMongoClient, MongoClient, ReadPreference, WriteConcern
from pymongo.driver_info import DriverInfo
from pymongo.network_layer import PyMongoProtocol
from pymongo.read_concern import ReadConcern

from coatcheck.errors import ConfigurationError
from coatcheck.storekit import (
    BorrowedClient,
    ClientPerLoop,
    ClientPerProcess,
    SingleLoopClient,
    close_socket,
)

from ._documents import Documents
from ._logs import keep_out
from ._url import Settings


class Sessions:
    """A client with its collection of sessions.

    :ivar client: PyMongo's client.
    :ivar collection: the collection, with the options that sessions need.
    """

    def __init__(self, client: Any, database: str, collection: str, documents: Documents) -> None:
        self.client = client
        keep_out(client)
        self.collection = client[database].get_collection(
            collection,
            codec_options=documents.options,
            # Secondaries lag behind, and would show sessions that were ended.
            read_preference=ReadPreference.PRIMARY,
            write_concern=_write_concern(client),
            # A new primary has more acknowledged writes than it knows the majority to have, so
            # "majority" would miss some of them.
            read_concern=ReadConcern(client.read_concern.level or "local"),
        )


def _write_concern(client: Any) -> WriteConcern:
    """Return the write concern: the client's, with safe values for what the client leaves open.

    A replica set's majority implies the journal. A single server would acknowledge writes that a
    crash undoes, so the journal is asked for.
    """
    wanted = {"w": "majority", **client.write_concern.document}
    if wanted["w"] == "majority" and "fsync" not in wanted:
        wanted.setdefault("j", True)
    return WriteConcern(**wanted)


@dataclass(frozen=True, slots=True)
class API:
    """One of the two APIs of PyMongo.

    :ivar kind: the class of its clients.
    :ivar borrow: returns the provider of a client that the caller made and closes. It takes the
        names of the database and of the collection.
    :ivar open: returns the provider of the clients of a URL.
    """

    kind: type[Any]
    borrow: Callable[[Any, str, str, Documents], Any]
    open: Callable[[Settings, Documents], Any]

    def check(self, client: Any) -> None:
        """Check that an object is a client of this API and waits for acknowledgements.

        :raises ConfigurationError: it is not, or does not.
        """
        if not isinstance(client, self.kind):
            raise ConfigurationError(
                f"the client must be a pymongo.{self.kind.__name__}, not {type(client).__name__}"
            )
        if not client.write_concern.acknowledged:
            raise ConfigurationError(
                "the client must not have `w=0`, which would lose writes without an error"
            )


def where(hosts: Iterable[tuple[str, int | None]]) -> str:
    """Return the name of servers in errors."""
    named = [
        (f"[{host}]" if ":" in host else host) + ("" if port is None else f":{port}")
        for host, port in hosts
    ]
    return f"MongoDB at {', '.join(named)}"


def seeds(client: Any) -> list[tuple[str, int | None]]:
    """Return the first addresses of a client that the caller made, without I/O."""
    return sorted(client.topology_description.server_descriptions())


def _maker(kind: type[Any], settings: Settings, documents: Documents) -> Callable[[], Sessions]:
    def make() -> Sessions:
        # It connects at its first use, so a process that only forks makes no connection.
        client = kind(
            settings.uri, connect=False, driver=DriverInfo("coatcheck", version("coatcheck-mongo"))
        )
        return Sessions(client, settings.database, settings.collection, documents)

    return make


def _borrow(
    client: Any, database: str, collection: str, documents: Documents
) -> BorrowedClient[Sessions]:
    return BorrowedClient(Sessions(client, database, collection, documents))


def _open(settings: Settings, documents: Documents) -> ClientPerProcess[Sessions]:
    return ClientPerProcess(
        _maker(MongoClient, settings, documents), lambda sessions: sessions.client.close()
    )


def _borrow_async(
    client: Any, database: str, collection: str, documents: Documents
) -> SingleLoopClient[Sessions]:
    return SingleLoopClient(Sessions(client, database, collection, documents), "the MongoDB client")


def _open_async(settings: Settings, documents: Documents) -> ClientPerLoop[Sessions]:
    return ClientPerLoop(_maker(AsyncMongoClient, settings, documents), _close, _abandon)


async def _close(sessions: Sessions) -> None:
    """Close a client, also when its event loop is about to end.

    PyMongo up to 4.17 ends its server sessions with an async generator, which such a loop refuses
    to start. They are forgotten instead, and the server forgets them later.
    """
    topology = sessions.client._topology
    if topology is not None:
        topology.pop_all_sessions()
    await sessions.client.close()


def _abandon(sessions: Sessions) -> None:
    """Close the sockets of a client whose event loop no longer runs."""
    client = sessions.client
    client._closed = True  # it can no longer be closed, and would warn about that
    for transport in _transports(client):
        with suppress(RuntimeError):  # the loop is closed and cannot call anybody back
            transport.abort()
        close_socket(transport)


def _transports(client: Any) -> Iterator[Any]:
    topology = client._topology
    for server in list(topology._servers.values()) if topology is not None else ():
        for connection in list(server.pool.conns):
            yield connection.conn.conn[0]
    loop = client._loop
    if loop is not None and loop.is_closed():
        # Connections in use are in no pool, and those of the monitors are always in use.
        for transport in list(getattr(loop, "_transports", {}).values()):
            protocol = transport.get_protocol()
            if isinstance(getattr(protocol, "_app_protocol", protocol), PyMongoProtocol):
                yield transport


SYNC: Final = API(MongoClient, _borrow, _open)
ASYNC: Final = API(AsyncMongoClient, _borrow_async, _open_async)
