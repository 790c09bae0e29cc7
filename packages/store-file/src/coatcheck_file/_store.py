"""The store: its options, and its operations with their locks.

docs/decisions/2026-11-30-file-store.md has the reasons.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import (
    Any,
    Concatenate,
    Final,
    Literal,
    NoReturn,
    ParamSpec,
    Self,
    TypeAlias,
    TypeVar,
    get_args,
)

from coatcheck import ALWAYS, Capabilities, Condition, Record, Store
from coatcheck.errors import ConfigurationError, StoreClosed, StoreUnavailable
from coatcheck.storekit import (
    check_expiry,
    check_owner,
    check_record,
    condition_holds,
    raise_interruption,
)

from ._content import encode_key
from ._folder import Folder, absolute_path
from ._garbage import GarbageCollector
from ._layout import Layout, digest
from ._listing import Listing
from ._locks import Locks
from ._owners import Owners
from ._records import Records
from ._reports import Reports
from ._url import parse

Durability: TypeAlias = Literal["full", "process"]

P = ParamSpec("P")
R = TypeVar("R")

#: Seconds that a call waits for another one that writes to the same part of the folder.
LOCK_SECONDS: Final = 5.0


def _translated(
    operation: Callable[Concatenate[FileStore, P], R],
) -> Callable[Concatenate[FileStore, P], R]:
    """Refuse an operation on a closed store, and turn errors of the system into a StoreError."""

    @functools.wraps(operation)
    def translated(self: FileStore, /, *args: P.args, **kwargs: P.kwargs) -> R:
        self._check_open()
        try:
            return operation(self, *args, **kwargs)
        except OSError as error:
            self._fail(error)

    return translated


class FileStore(Store):
    """Sessions in the files of a folder, for all processes of one machine.

    :param folder: the folder, which the first write makes, for the user alone. A relative path
        begins at the working directory at the time of the call.
    :param durability: what a returned write survives. ``"full"``: a power failure, because it
        waits for the disk. ``"process"``: the end of the process, but not of the machine.
    :param clock: returns POSIX seconds.
    :param lock_timeout: seconds after which a call that waits for another raises StoreTimeout.
    :raises ConfigurationError: an option cannot work.
    """

    capabilities: Capabilities = Capabilities(
        enumerable=True, clearable=True, owners=True, multi_process=True, durable=True
    )

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        durability: Durability = "full",
        clock: Callable[[], float] = time.time,
        lock_timeout: float = LOCK_SECONDS,
    ) -> None:
        if durability not in get_args(Durability):
            raise ConfigurationError(
                f"`durability` must be `full` or `process`, not {durability!r}"
            )
        is_number = isinstance(lock_timeout, int | float) and not isinstance(lock_timeout, bool)
        if not is_number or not lock_timeout > 0:
            raise ConfigurationError(
                f"`lock_timeout` must be seconds, more than zero, not {lock_timeout!r}"
            )
        layout, reports = Layout(absolute_path(folder)), Reports()
        self._durable = durable = durability == "full"
        self._locks = Locks(layout.locks, lock_timeout)
        self._folder = Folder(layout, self._locks, reports, durable=durable)
        owners = Owners(layout, durable=durable)
        self._records = Records(layout, self._folder, owners, reports, clock, durable=durable)
        self._garbage = GarbageCollector(layout, self._locks, owners, clock)
        self._listing = Listing(layout, self._folder, self._locks, self._records, self._garbage)
        self._closed = False

    @classmethod
    def from_url(cls, url: str, *, clock: Callable[[], float] = time.time) -> Self:
        """Open ``file:///folder`` or ``file:folder``, both with ``?durability=process``.

        :raises ConfigurationError: the URL cannot be parsed, or has an unknown option.
        """
        folder, options = parse(url)
        durability: Any = options.pop("durability", "full")
        if options:
            raise ConfigurationError(
                f"a file store's URL has no option {min(options)!r}; it has `durability`"
            )
        return cls(folder, durability=durability, clock=clock)

    @property
    def folder(self) -> Path:
        """Return the folder of the sessions."""
        return self._folder.path

    def __repr__(self) -> str:
        return f"<FileStore {str(self.folder)!r}>"

    @_translated
    def get(self, key: str) -> Record | None:
        """See :meth:`coatcheck.Store.get`."""
        name = encode_key(key)
        found = self._records.read(digest(name), name)
        return None if found is None else self._records.live(found[1])

    @_translated
    def set(self, key: str, record: Record, only_if: Condition = ALWAYS) -> bool:
        """See :meth:`coatcheck.Store.set`."""
        check_record(record)
        name = encode_key(key)
        key_digest = digest(name)
        self._folder.prepare(key_digest[:2])
        try:
            with self._locks.held(key_digest[:2]):
                return self._records.set(key_digest, name, record, only_if)
        finally:
            # Also after a failure, because a full disk needs it most.
            self._garbage.collect_some()

    @_translated
    def destroy(self, key: str, only_if: Condition = ALWAYS) -> bool:
        """See :meth:`coatcheck.Store.destroy`."""
        name = encode_key(key)
        key_digest, records = digest(name), self._records
        if not records.exists(key_digest):
            return False
        with self._locks.held(key_digest[:2]):
            found = records.read(key_digest, name)
            live = None if found is None else records.live(found[1])
            ends = live is not None and condition_holds(only_if, live)
            if ends or (live is None and only_if is ALWAYS):
                records.remove(key_digest, None if found is None else found[1].owner)
            return ends

    @_translated
    def touch(self, key: str, expires_at: float, owner: str | None = None) -> bool:
        """See :meth:`coatcheck.Store.touch`."""
        check_expiry(expires_at)
        name = encode_key(key)
        key_digest = digest(name)
        if not self._records.exists(key_digest):
            return False
        with self._locks.held(key_digest[:2]):
            return self._records.touch(key_digest, name, expires_at)

    def all(self) -> Iterator[tuple[str, Record]]:
        """See :meth:`coatcheck.Store.all`."""
        self._check_open()
        return self._listed(self._listing.all())

    @_translated
    def length(self) -> int:
        """See :meth:`coatcheck.Store.length`. It counts a damaged file until its expiry."""
        return self._listing.count()

    @_translated
    def clear(self) -> None:
        """See :meth:`coatcheck.Store.clear`."""
        if self._folder.is_there():
            self._listing.clear(durable=self._durable)
            self._garbage.collect_all()  # the index entries that are left, and half-written files

    def owned_by(self, owner: str) -> Iterator[tuple[str, Record]]:
        """See :meth:`coatcheck.Store.owned_by`."""
        self._check_open()
        return self._listed(self._listing.owned_by(check_owner(owner)))

    @_translated
    def prune(self, limit: int | None = None) -> int:
        """See :meth:`coatcheck.Store.prune`."""
        if not self._folder.is_there():
            return 0
        self._folder.check_still_there()
        return self._garbage.collect_all() if limit is None else self._garbage.examine(limit)

    @_translated
    def ping(self) -> None:
        """See :meth:`coatcheck.Store.ping`."""
        self._folder.check_usable()

    def close(self) -> None:
        """See :meth:`coatcheck.Store.close`."""
        self._closed = True
        self._garbage.stop()

    @_translated
    def check_layout(self) -> None:
        """Check that the folder is a file store of this version. Nothing is made.

        :raises StoreError: it is not.
        """
        self._folder.check_layout()

    def damaged(self) -> Iterator[tuple[Path, str]]:
        """Yield the path of each file that should be a record and is none, with the reason.

        :raises StoreError: the folder cannot be read.
        """
        self._check_open()
        return self._listed(self._listing.damaged())

    def _listed(self, items: Iterator[R]) -> Iterator[R]:
        """Iterate, and turn errors of the system into a StoreError."""
        while True:
            self._check_open()
            try:
                item = next(items)
            except StopIteration:
                return
            except OSError as error:
                self._fail(error)
            yield item

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed("this file store is closed")

    def _fail(self, error: OSError) -> NoReturn:
        self._folder.look_again()
        raise_interruption(error)
        # The error's own text has the path of the file, which is a key's hash.
        reason = error.strerror or type(error).__name__
        raise StoreUnavailable(f"the file system failed in {self.folder}: {reason}") from error
