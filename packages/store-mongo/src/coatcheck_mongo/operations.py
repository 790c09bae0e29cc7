"""The operations of both stores: generators that yield calls and are sent the replies.

A call takes the collection, of PyMongo's synchronous or asynchronous API, which have the same
methods, and returns the reply or what is awaited for it.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import pymongo
from pymongo import errors

from coatcheck import ABSENT, ALWAYS, Condition, Record, Unchanged
from coatcheck.storekit import Listing, Requests, is_text

from .documents import Documents, Expression, Update, milliseconds, only_where

_log = logging.getLogger("coatcheck")

#: A request of an operation: it takes the collection.
Call: TypeAlias = Callable[[Any], Any]

#: Documents that a listing has in memory at a time; each may have a MiB or more.
PAGE: Final = 32
#: Keys that one reply lists.
_KEYS: Final = 100_000
#: Documents that one command removes.
PIECE: Final = 1000
#: Seconds that a write waits for indexes, which a large collection needs time for.
_INDEX_TIMEOUT: Final = 2.0
_LEAST: Final = 0.5
#: Seconds until another write tries again where that was not enough, and where nobody answered.
_PAUSE: Final = 60.0
_SHORT_PAUSE: Final = 5.0
#: The name of the index of keys. A document that changes stays where it is in a listing by it, and
#: is neither listed twice nor missed.
_BY_KEY: Final = "_id_"
_SORTED: Final = (("_id", 1),)


class MongoOperations:
    """The operations of both stores.

    :param documents: how records are kept.
    :param clock: returns POSIX seconds.
    :param indexes: whether the first write creates the indexes.
    """

    def __init__(self, documents: Documents, clock: Callable[[], float], *, indexes: bool) -> None:
        self._documents = documents
        self._clock = clock
        self._indexes = Indexes() if indexes else None

    def get(self, key: str) -> Requests:
        """See :meth:`coatcheck.Store.get`."""
        # The key alone, which the server has a short way for; what has expired is rarely met.
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
            with suppress(errors.DuplicateKeyError):  # for a dead document, or a live one
                yield lambda sessions: sessions.insert_one(new)
                return True
            return (yield from self._replace_dead(key, record, update, now))
        live = self._documents.live(now, only_if)
        if isinstance(only_if, Unchanged) and only_if.data != record.data:
            # The key alone is the filter, which the server has a short way for. It tells what
            # changed, and whatever meets this condition does.
            conditional = only_where(live, update)
            done = yield lambda sessions: sessions.update_one({"_id": key}, conditional)
            return bool(done.modified_count)
        return (yield from self._update_where(key, live, update))

    def _replace_dead(self, key: str, record: Record, update: Update, now: float) -> Requests:
        """Write over a document that is expired or malformed, or where there is none any more."""
        dead = {"$not": [self._documents.live(now)]}
        conditional = only_where(dead, update)
        with suppress(errors.DuplicateKeyError):  # another one was faster
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
        if only_if is ABSENT:  # it never holds for what is to be removed
            yield from self.ping()
            return False
        now = self._clock()
        if isinstance(only_if, Unchanged):
            wanted = {"_id": key, "$expr": self._documents.live(now, only_if)}
            deleted = yield lambda sessions: sessions.delete_one(wanted)
            return bool(deleted.deleted_count)
        # What is expired or malformed goes, too. (A projection would spare the data's way back, but
        # when the command is repeated after a failover the server leaves it out.)
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
        # It is not live, or has this expiry already.
        return (yield from self._update_where(key, live, update))

    def _update_where(self, key: str, condition: Expression, update: Update) -> Requests:
        """Update a document if a condition holds; return whether it does, changed or not."""
        wanted = {"_id": key, "$expr": condition}
        done = yield lambda sessions: sessions.update_one(wanted, update)
        return bool(done.matched_count)

    def all(self) -> Listing:
        """See :meth:`coatcheck.Store.all`."""
        last, behind = "", 0
        while True:
            # A command for each page: the server counts all that a cursor takes against one limit.
            expired = milliseconds(self._clock())
            wanted = {"_id": {"$type": "string", "$gt": last}, "expires": {"$gt": expired}}
            found = yield lambda sessions, wanted=wanted, behind=behind: sessions.find(
                wanted, sort=_SORTED, hint=_BY_KEY, skip=behind, limit=PAGE, batch_size=PAGE + 1
            ).to_list()
            if not found:
                return
            for document in found:
                # A key that is no text is nobody's, and cannot be sent to go on from.
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
        """See :meth:`coatcheck.Store.clear`. In pieces: no command takes longer than calls may."""
        while True:
            found = yield lambda sessions: sessions.find(
                {}, {"_id": 1}, limit=PIECE, batch_size=PIECE
            ).to_list()
            if not found:
                return
            keys = {"_id": {"$in": [document["_id"] for document in found]}}
            try:
                yield lambda sessions, keys=keys: sessions.delete_many(keys)
            except UnicodeEncodeError:  # one of them is no text, and cannot be named
                yield lambda sessions: sessions.delete_many({})

    def owned_by(self, owner: str) -> Listing:
        """See :meth:`coatcheck.Store.owned_by`.

        The owner alone is looked for, so that no other index than the owners' can be taken.
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

        MongoDB's command of this name is answered by any server, to anybody.
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
    """Tell whether an id is a key, and not what somebody else has put there."""
    return type(value) is str and bool(value) and is_text(value)


class Indexes:
    """Two indexes, which the first write of a store creates.

    Nothing but speed and the removal of what has expired depends on them, so that no write fails
    for their sake.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due_at = 0.0

    def are_due(self) -> bool:
        """Tell whether to create them now; one of several threads or tasks is told so."""
        if self._due_at > time.monotonic():
            return False
        with self._lock:
            due = self._due_at <= time.monotonic()
            if due:
                self._due_at = time.monotonic() + _PAUSE
            return due

    def create(self) -> Generator[Call, Any, None]:
        """Create them, or say in the log what to do."""
        complete = True
        began = time.monotonic()
        for index in _INDEXES:
            left = max(_LEAST, began + _INDEX_TIMEOUT - time.monotonic())
            try:
                with pymongo.timeout(left):
                    yield index.create
            except errors.OperationFailure as error:
                complete = complete and not error.timeout
                why = "it needs more time" if error.timeout else f"error {error.code}"
                _log.warning(
                    "MongoDB did not create the index on `%s` (%s): in mongosh, "
                    "db.getCollection(NAME).createIndex({%s: 1}, %s). %s",
                    index.field, why, index.field, json.dumps(index.options), index.without,
                )  # fmt: skip
            except errors.ConnectionFailure:  # the write will say so
                self._due_at = time.monotonic() + _SHORT_PAUSE
                return
        if complete:
            self._due_at = float("inf")


@dataclass(frozen=True)
class _Index:
    field: str
    options: dict[str, Any]
    without: str

    def create(self, sessions: Any) -> Any:
        return sessions.create_index(self.field, **self.options)


_INDEXES: Final = (
    _Index(
        "expires",
        {"expireAfterSeconds": 0},
        "Until then what has expired is no session any more, but stays in the database",
    ),
    _Index(
        "owner",
        {"sparse": True},
        "Until then looking for the sessions of one owner reads those of all",
    ),
)
