"""On a replica set, whatever the concerns: what was acknowledged is there at the next read."""

from __future__ import annotations

import time

import pytest

from coatcheck import ABSENT, Record
from coatcheck_mongo import MongoStore
from testing.servers.mongo import replica_set

pytestmark = pytest.mark.integration("mongo")


def test_acknowledged_writes_are_read_at_once() -> None:
    with replica_set() as members:
        for options in ("", "&w=1", "&w=2", "&journal=false", "&readConcernLevel=linearizable"):
            store = MongoStore.from_url(members.url + options)
            for number in range(40):
                key, later = f"{options}{number}", time.time() + 3600
                for data in (b"first", b"second"):
                    assert store.set(key, Record(data, later))
                    found = store.get(key)
                    assert found is not None, options
                    assert found.data == data, options
                assert store.destroy(key)
                assert store.get(key) is None, options
            store.close()


def test_an_election_hides_nothing_that_was_acknowledged() -> None:
    """A new primary has all of it, and learns a little later that the majority has it, too.

    The failpoint makes that later moment never come, so that it is not a matter of luck.
    """
    with replica_set(3, "--setParameter", "enableTestCommands=1", election_ms=1000) as members:
        store = MongoStore.from_url(members.url)
        later = time.time() + 3600
        for key in ("ended", "changed"):
            assert store.set(key, Record(b"first", later))
        primary = members.primary()
        for member in members.members:
            if member is not primary:
                with member.client() as client:
                    client.admin.command(
                        {"configureFailPoint": "disableSnapshotting", "mode": "alwaysOn"}
                    )
        assert store.destroy("ended")
        assert store.set("changed", Record(b"second", later))
        assert store.set("begun", Record(b"first", later), ABSENT)
        primary.kill()
        members.primary()
        assert store.get("ended") is None
        assert [store.get(key).data for key in ("changed", "begun")] == [b"second", b"first"]
        assert {key for key, _ in store.all()} == {"changed", "begun"}
        store.close()
