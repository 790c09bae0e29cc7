"""On a replica set, whatever the concerns: what was acknowledged is there at the next read."""

from __future__ import annotations

import time

from coatcheck import Record
from coatcheck_mongo import MongoStore
from servers.mongo import replica_set


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
