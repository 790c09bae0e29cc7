"""The operations of both stores: generators that yield requests and are sent the replies.

A request is a function. It takes a collection of PyMongo's sync or async API, which have the same
methods, and returns the reply or an awaitable of it.

docs/decisions/2026-11-30-mongodb-store.md has the reasons.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeAlias

from pymongo import errors

from coatcheck import ABSENT, ALWAYS, Condition, Record, Unchanged
from coatcheck.storekit import Listing, Requests, is_text

from ._documents import Documents, Expression, Update, milliseconds, only_where
from ._indexes import Indexes

#: A request of an operation.
Call: TypeAlias = Callable[[Any], Any]

#: How many documents a listing has in memory at a time. Each may have a MiB or more.
PAGE: Final = 32
#: How many keys one reply lists.
_KEYS: Final = 100_000
#: How many documents one command removes.
PIECE: Final = 1000
#: The name of the index of keys. A listing by it neither misses a document that changes meanwhile,
#: nor lists it twice.
_BY_KEY: Final = "_id_"
_SORTED: Final = (("_id", 1),)


class MongoOperations:
    """The operations of both stores.

    :param documents: turns records into documents and back.
    :param clock: returns POSIX seconds.
    :param indexes: whether the first write creates the indexes.
    """

    def __init__(self, documents: Documents, clock: Callable[[], float], *, indexes: bool) -> None:
        self._documents = documents
        self._clock = clock
        self._indexes = Indexes() if indexes else None

    def get(self, key: str) -> Requests:
        """See :meth:`coatcheck.Store.get`."""
        # The server is fastest if the filter is the key alone, and expired documents are rare.
        found = yield lambda sessions: sessions.find_one({"_id": key})
        return self._live(found, self._clock())

    def set(self, key: str, record: Record, only_if: Condition) -> Requests:
        """See :meth:`coatcheck.Store.set`."""
        update = self._documents.update(record)
        if self._indexes is not None and self._indexes.are_due():
            yield from self._indexes.create()
        now = self._clock()
        if only_if is ALWAYS:
            yield lambda sessions: sessions.update_one({"_id": key}, update, upsert=True)
            return True
        if only_if is ABSENT:
            new = {"_id": key, **update["$set"]}
            with suppress(errors.DuplicateKeyError):  # the key has a document, live or dead
                yield lambda sessions: sessions.insert_one(new)
                return True
            return (yield from self._replace_dead(key, record, update, now))
        live = self._documents.live(now, only_if)
        if isinstance(only_if, Unchanged) and only_if.data != record.data:
            # The server is fastest if the filter is the key alone. It reports whether the document
            # changed, and a document that meets this condition does change.
            conditional = only_where(live, update)
            done = yield lambda sessions: sessions.update_one({"_id": key}, conditional)
            return bool(done.modified_count)
        return (yield from self._update_where(key, live, update))

    def _replace_dead(self, key: str, record: Record, update: Update, now: float) -> Requests:
        """Overwrite an expired or malformed document. If it is gone meanwhile, insert a new one."""
        dead = {"$not": [self._documents.live(now)]}
        conditional = only_where(dead, update)
        with suppress(errors.DuplicateKeyError):  # another writer was faster
            done = yield lambda sessions: sessions.update_one(
                {"_id": key}, conditional, upsert=True
            )
            if done.modified_count or done.upserted_id is not None:
                return True
            if int(update["$set"]["expires"]) <= int(milliseconds(now)):  # dead, and the same?
                return (yield from self._update_where(key, dead, update))
        return False

    def destroy(self, key: str, only_if: Condition) -> Requests:
        """See :meth:`coatcheck.Store.destroy`."""
        if only_if is ABSENT:  # there is nothing to remove if this holds
            yield from self.ping()
            return False
        now = self._clock()
        if isinstance(only_if, Unchanged):
            wanted = {"_id": key, "$expr": self._documents.live(now, only_if)}
            deleted = yield lambda sessions: sessions.delete_one(wanted)
            return bool(deleted.deleted_count)
        # This also removes expired and malformed documents. A projection would keep the data from
        # being sent back, but when the command is repeated after a failover, the server answers
        # without the projected field.
        found = yield lambda sessions: sessions.find_one_and_delete({"_id": key})
        return self._live(found, now) is not None

    def touch(self, key: str, expires_at: float, owner: str | None) -> Requests:
        """See :meth:`coatcheck.Store.touch`."""
        live = self._documents.live(self._clock())
        update = {"$set": {"expires": milliseconds(expires_at)}}
        conditional = only_where(live, update)
        done = yield lambda sessions: sessions.update_one({"_id": key}, conditional)
        if done.modified_count or not done.matched_count:
            return bool(done.modified_count)
        # The document is not live, or it has this expiry already.
        return (yield from self._update_where(key, live, update))

    def _update_where(self, key: str, condition: Expression, update: Update) -> Requests:
        """Update a document if a condition holds. Return whether it holds."""
        wanted = {"_id": key, "$expr": condition}
        done = yield lambda sessions: sessions.update_one(wanted, update)
        return bool(done.matched_count)

    def all(self) -> Listing:
        """See :meth:`coatcheck.Store.all`."""
        last, behind = "", 0
        while True:
            # Each page is a command, because all commands of a cursor share one time limit.
            expired = milliseconds(self._clock())
            wanted = {"_id": {"$type": "string", "$gt": last}, "expires": {"$gt": expired}}
            found = yield lambda sessions, wanted=wanted, behind=behind: sessions.find(
                wanted, sort=_SORTED, hint=_BY_KEY, skip=behind, limit=PAGE, batch_size=PAGE + 1
            ).to_list()
            if not found:
                return
            for document in found:
                # A key that is no text belongs to no session, and a command cannot start after it.
                last, behind = (
                    (document["_id"], 0) if is_text(document["_id"]) else (last, behind + 1)
                )
            yield self._items(found)

    def length(self) -> Requests:
        """See :meth:`coatcheck.Store.length`."""
        wanted = {"expires": {"$gt": milliseconds(self._clock())}}
        count = yield lambda sessions: sessions.count_documents(wanted)
        return count

    def clear(self) -> Requests:
        """See :meth:`coatcheck.Store.clear`.

        Each command removes a part, so that none exceeds the time limit of calls.
        """
        while True:
            found = yield lambda sessions: sessions.find(
                {}, {"_id": 1}, limit=PIECE, batch_size=PIECE
            ).to_list()
            if not found:
                return
            keys = {"_id": {"$in": [document["_id"] for document in found]}}
            try:
                yield lambda sessions, keys=keys: sessions.delete_many(keys)
            except UnicodeEncodeError:  # one of the keys is no text and cannot be sent
                yield lambda sessions: sessions.delete_many({})

    def owned_by(self, owner: str) -> Listing:
        """See :meth:`coatcheck.Store.owned_by`.

        The filter is the owner alone, so that MongoDB uses the index of owners and no other one.
        """
        found = yield lambda sessions: sessions.find(
            {"owner": owner}, {"_id": 1}, batch_size=_KEYS
        ).to_list()
        keys = [key for document in found if _is_key(key := document["_id"])]
        for start in range(0, len(keys), PAGE):
            wanted = {"_id": {"$in": keys[start : start + PAGE]}, "owner": owner}
            found = yield lambda sessions, wanted=wanted: sessions.find(wanted).to_list()
            yield [item for item in self._items(found) if item[1].owner == owner]

    def ping(self) -> Requests:
        """See :meth:`coatcheck.Store.ping`. It is a read like others, with the same permissions.

        Any server answers MongoDB's own command of this name, also without permissions.
        """
        yield lambda sessions: sessions.find_one({"_id": ""}, {"_id": 1})

    def _live(self, document: Any, now: float) -> Record | None:
        record = self._documents.record(document)
        return record if record is not None and record.expires_at > now else None

    def _items(self, found: list[Any]) -> list[tuple[str, Record]]:
        now = self._clock()
        items = ((document["_id"], self._live(document, now)) for document in found)
        return [(key, record) for key, record in items if record is not None and _is_key(key)]


def _is_key(value: object) -> bool:
    """Tell whether an id is a key, and not another program's value."""
    return type(value) is str and bool(value) and is_text(value)
