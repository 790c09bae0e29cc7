"""Mutants of the DAMAGE clauses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from mutation import mutant
from references import FolderHarness

from coatcheck import ALWAYS, Condition, Record
from coatcheck.errors import StoreError
from coatcheck_file import FileStore


class _ReadsTheIndex(FileStore):
    """A file store that can be told to read the index of a record's owner."""

    def look(self, record: Record | None) -> None:
        if record is None or record.owner is None:
            return
        try:
            os.scandir(self._records.owners.folder_of(record.owner)).close()
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError("the index cannot be read") from error


@mutant("DAMAGE-1", harness=FolderHarness)
class ReadingFailsAtGarbage(_ReadsTheIndex):
    """`get` fails if the index is garbage."""

    def get(self, key: str) -> Record | None:
        found = super().get(key)
        self.look(found)
        return found


@mutant("DAMAGE-1", harness=FolderHarness)
class TouchingFailsAtGarbage(_ReadsTheIndex):
    """`touch` fails if the index is garbage."""

    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        self.look(self.get(key))
        return super().touch(key, expires_at, owner)


@mutant("DAMAGE-1", harness=FolderHarness)
class LoggingOutFailsAtGarbage(_ReadsTheIndex):
    """`destroy` on a condition fails if the index is garbage."""

    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        if only_if is not ALWAYS:
            self.look(self.get(key))
        return super().destroy(key, only_if)


@mutant("DAMAGE-2", harness=FolderHarness)
class IndexesNewOwnersAlone(FileStore):
    """A write takes it for granted that the index has the former owner's entry."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._records.add_entry = self._add_entry  # type: ignore[method-assign]  # the fault

    def _add_entry(self, key_digest: str, owner: str | None, former: str | None) -> None:
        if owner is not None and owner != former:
            self._records.owners.add(owner, key_digest)


@mutant("DAMAGE-3", harness=FolderHarness)
class ListingFailsAtGarbage(_ReadsTheIndex):
    """`all` fails if the index of one record is garbage."""

    def all(self) -> Iterator[tuple[str, Record]]:
        for key, record in super().all():
            self.look(record)
            yield key, record
