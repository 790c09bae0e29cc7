"""Mutants of the SECRET clauses."""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Callable, Iterator

from mutation import mutant
from network_store import NetStore, NetworkHarness
from references import FolderHarness

from coatcheck import ALWAYS, Condition, MemoryStore, Record
from coatcheck.errors import ConfigurationError, StoreClosed
from coatcheck_file import FileStore
from mutants.life import OpenerHarness

_log = logging.getLogger(__name__)


@mutant("SECRET-1", harness=OpenerHarness)
class QuotesTheUrl(MemoryStore):
    """An error of the opener quotes the URL."""

    @classmethod
    def from_url(cls, url: str, *, clock: Callable[[], float] = time.time) -> MemoryStore:
        if url != "memory:":
            raise ConfigurationError(f"{url!r} cannot be understood")
        return cls(clock=clock)


@mutant("SECRET-1", harness=lambda store_class: NetworkHarness(store_class, None))
class ShowsItsPassword(NetStore):
    """Its repr tells how to connect."""

    def __repr__(self) -> str:
        return f"<ShowsItsPassword {vars(self._client)}>"


@mutant("SECRET-2")
class QuotesTheKey(MemoryStore):
    """The error of a closed store names the key that was asked for."""

    def get(self, key: str) -> Record | None:
        if self._closed:
            raise StoreClosed(f"the store is closed; {key!r} cannot be read")
        return super().get(key)


@mutant("SECRET-2")
class LogsTheKey(MemoryStore):
    """A line for debugging has the key of what was destroyed."""

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        _log.debug("destroy %s", key)
        return super().destroy(key, only_if)


@mutant("SECRET-3")
class ShowsItsRecords(MemoryStore):
    """Its repr shows what it holds."""

    def __repr__(self) -> str:
        return f"<ShowsItsRecords {[slot.record.data for slot in self._slots.values()]}>"


@mutant("SECRET-3")
class LogsTheOwner(MemoryStore):
    """A line for debugging has the owner whose sessions are listed."""

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        _log.info("the sessions of %s are listed", owner)
        return super().owned_by(owner)


@mutant("SECRET-4")
class CausedByTheKey(MemoryStore):
    """The cause of an error has the key."""

    def get(self, key: str) -> Record | None:
        if self._closed:
            raise StoreClosed("the store is closed") from KeyError(key)
        return super().get(key)


@mutant("SECRET-5")
class Unpickles(MemoryStore):
    """`get` unpickles data that look like a pickle, to see whether they are sound."""

    def get(self, key: str) -> Record | None:
        found = super().get(key)
        if found is not None and found.data.startswith((b"\x80", b"cposix", b"c__builtin__")):
            try:
                pickle.loads(found.data)  # this is the fault
            except Exception:
                return found
        return found


@mutant("SECRET-6", harness=FolderHarness)
class ReadableByAll(FileStore):
    """Its folder can be read by everybody."""

    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        done = super().set(key, record, only_if)
        if self.folder.exists():
            self.folder.chmod(0o755)
        return done
