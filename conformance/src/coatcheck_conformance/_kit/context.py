"""The context of a case: a namespace of its own, the stores on it, and the clock.

docs/decisions/2026-11-30-conformance-kit.md has the reasons.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TypeVar

from coatcheck import AsyncStore, Capabilities, Record, Store
from coatcheck.storekit import as_async, as_sync

from .clock import DAY, Clock
from .failure import CheckFailed, HarnessError, Skipped
from .handle import APIName, Call, Handle, Loop, Steps, together
from .harness import Harness

T = TypeVar("T")

#: Seconds by which equal expiries may differ.
MICROSECOND = 1e-6


class Context:
    """The namespace of one case on one API.

    :ivar harness: opens stores.
    :ivar api: the API under test.
    :ivar clock: the clock of all stores of this case.
    :ivar namespace: the namespace of this case; empty at first.
    :ivar steps: what was done, for the failure text.
    :ivar loop: the event loop of this case.
    :ivar seed: the seed of everything that is chosen at random.
    """

    def __init__(
        self, harness: Harness, api: APIName, namespace: str, *, seed: int = 0,
        clock: Clock | None = None,
    ) -> None:  # fmt: skip
        self.harness = harness
        self.api = api
        self.namespace = namespace
        self.clock: Clock = clock or Clock()
        self.steps: Steps = Steps(self.clock)
        self.loop: Loop = Loop()
        self.seed = seed
        self._opened: list[tuple[str, Handle]] = []
        self._primary: dict[str, Store | AsyncStore] = {}
        self._namespaces = {namespace}
        self._sequences = 0
        self.store: Handle = self.open("store")

    # Stores

    @property
    def capabilities(self) -> Capabilities:
        """Return what the store declares."""
        return self.store.capabilities

    def open(
        self, name: str, *, api: APIName | None = None, namespace: str | None = None,
        clock: Callable[[], float] | None = None,
    ) -> Handle:  # fmt: skip
        """Return a handle, with a new store object if several can share the data.

        :param name: the handle's name in the steps.
        :param api: the API under test unless given.
        :param namespace: the one of this case unless given.
        """
        namespace = namespace or self.namespace
        self._namespaces.add(namespace)
        native = self._native(api or self.api, namespace, clock or self.clock)
        handle = Handle(name, native, self.loop, self.steps)
        self._opened.append((namespace, handle))
        return handle

    def second(self) -> Handle:
        """Return another handle of the same API on the same data."""
        return self.open(f"handle{len(self._opened) + 1}")

    def other_api(self) -> Handle:
        """Return a handle of the other API on the same data."""
        api: APIName = "sync" if self.api == "async" else "async"
        return self.open(f"{api}_store", api=api)

    def elsewhere(self, extension: str = "a") -> Handle:
        """Return a handle on another namespace, whose name begins with that of this one."""
        return self.open("elsewhere", namespace=self.namespace + extension)

    @contextmanager
    def sequence(self) -> Iterator[tuple[Handle, Handle]]:
        """Give a handle of this API and one of the other API, on a new namespace.

        The namespace is removed at the end, so that one sequence of calls does not affect the next.
        """
        self._sequences += 1
        namespace = f"{self.namespace}q{self._sequences}"
        other: APIName = "sync" if self.api == "async" else "async"
        try:
            yield (
                self.open("store", namespace=namespace),
                self.open(f"{other}_store", api=other, namespace=namespace),
            )
        finally:
            self._discard(namespace)

    def _discard(self, namespace: str) -> None:
        for place, handle in list(self._opened):
            if place == namespace:
                self._opened.remove((place, handle))
                _close(handle)
        self._primary.pop(namespace, None)
        self._namespaces.discard(namespace)
        self.harness.remove(namespace)

    def _native(
        self, api: APIName, namespace: str, clock: Callable[[], float]
    ) -> Store | AsyncStore:
        opens = self.harness.open_async if api == "async" else self.harness.open
        primary = self._primary.get(namespace)
        if primary is None or primary.capabilities.multi_process:
            primary = opens(namespace, clock)
            if not isinstance(primary, Store | AsyncStore):
                raise HarnessError(
                    f"`{type(self.harness).__name__}.{opens.__name__}` returned "
                    f"{type(primary).__name__}, which is not a store"
                )
            self._primary.setdefault(namespace, primary)
        return as_async(primary) if api == "async" else as_sync(primary)

    # Preparing

    def record(self, data: bytes = b"data", owner: str | None = None, life: float = DAY) -> Record:
        """Return a record that expires ``life`` seconds from now."""
        return Record(data, self.clock.now + life, owner)

    def put(
        self, key: str = "key", data: bytes = b"data", owner: str | None = None, life: float = DAY,
        store: Handle | None = None,
    ) -> Record:  # fmt: skip
        """Set a record without a condition, and return it."""
        record = self.record(data, owner, life)
        self.expect((store or self.store).set(key, record), True)
        return record

    def expired(self, key: str = "key", data: bytes = b"old", owner: str | None = None) -> Record:
        """Write a record that has expired by now; it may still take up space."""
        record = self.put(key, data, owner, life=60)
        self.advance(61)
        return record

    def advance(self, seconds: float) -> None:
        """Let time pass, for the store and for its backend."""
        self.clock.advance(seconds)
        self.steps.note(f"{seconds:g} seconds pass")
        for namespace in self._namespaces:
            self.harness.advance(namespace, seconds)

    def together(self, calls: Sequence[Call]) -> list[Any]:
        """Make calls at the same time; see :func:`coatcheck_conformance._kit.handle.together`."""
        return together(calls, self.loop, self.steps)

    # Judging

    def fail(self, expected: str, seen: object) -> NoReturn:
        """Fail the case."""
        raise CheckFailed(expected, seen if isinstance(seen, str) else self.steps.show(seen))

    def expect(self, seen: object, expected: object, about: str = "") -> None:
        """Expect a value of the same type: True is not 1, and None is not False."""
        if type(seen) is not type(expected) or seen != expected:
            lead = f"{about}: " if about else ""
            self.fail(f"{lead}{self.steps.show(expected)}", self.steps.show(seen))

    def expect_that(self, holds: bool, expected: str, seen: object) -> None:
        """Expect that a condition holds, which is described in words."""
        if not holds:
            self.fail(expected, seen)

    def expect_data(
        self, data: bytes, key: str = "key", store: Handle | None = None, about: str = ""
    ) -> Record:
        """Expect that ``get`` of a key returns these data, and return the record."""
        found = (store or self.store).get(key)
        lead = f"{about}: " if about else ""
        if not isinstance(found, Record) or found.data != data or type(found.data) is not bytes:
            self.fail(f"{lead}a Record with the data {self.steps.show(data)}", found)
        return found

    def expect_absent(self, key: str = "key", store: Handle | None = None, about: str = "") -> None:
        """Expect that ``get`` of a key returns None."""
        self.expect((store or self.store).get(key), None, about)

    def expect_same(self, seen: object, record: Record, about: str = "") -> None:
        """Expect a record as it was written: data, owner (if kept) and expiry (as rounded)."""
        lead = f"{about}: " if about else ""
        same = (
            isinstance(seen, Record)
            and seen.data == record.data
            and seen.owner == self.kept_owner(record.owner)
            and self.is_kept(seen.expires_at, record.expires_at)
        )
        if not same:
            self.fail(f"{lead}{self.steps.show(record)}", seen)

    def expect_unchanged(
        self, record: Record, key: str = "key", store: Handle | None = None, about: str = ""
    ) -> None:
        """Expect that ``get`` of a key returns a record as it was written."""
        self.expect_same((store or self.store).get(key), record, about)

    def expect_keys(
        self, items: Sequence[tuple[str, Record]], keys: Sequence[str], about: str = ""
    ) -> None:
        """Expect that a listing has these keys, each once, in any order."""
        seen = sorted(key for key, _ in items)
        if seen != sorted(keys):
            lead = f"{about}: " if about else ""
            self.fail(f"{lead}the keys {self.steps.show(sorted(keys))}", seen)

    @contextmanager
    def expect_raises(self, *errors: type[BaseException]) -> Iterator[list[BaseException]]:
        """Expect that the block raises one of these errors; give a list that will hold it."""
        caught: list[BaseException] = []
        names = " or ".join(error.__name__ for error in errors)
        try:
            yield caught
        except errors as error:
            caught.append(error)
        except CheckFailed:
            raise
        except Exception as error:  # any other one is the fault
            raise CheckFailed(names, self.steps.show(error)) from error
        else:
            self.fail(names, "no exception")

    def kept_owner(self, owner: str | None) -> str | None:
        """Return the owner that ``get`` returns for a record with this owner."""
        return owner if self.capabilities.owners else None

    def is_kept(self, seen: float, given: float) -> bool:
        """Tell whether an expiry is a permitted rounding of the given one (EXPIRY-5)."""
        granularity = self.capabilities.expiry_granularity
        lowest = given - granularity if granularity else given - MICROSECOND
        above = seen > lowest if granularity else seen >= lowest
        return above and seen <= given + MICROSECOND

    # Requirements of a case

    def need(self, found: T | None, what: str) -> T:
        """Return the value that the harness gave, or skip the case."""
        if found is None:
            raise Skipped(what)
        return found

    def need_fork(self) -> None:
        """Skip the case if processes cannot be forked."""
        if not hasattr(os, "fork"):
            raise Skipped("this system cannot fork")

    def close(self, *, is_ours: bool = True) -> None:
        """Close all handles and the event loop.

        :param is_ours: whether the namespaces are known to be the kit's own. Only then are their
            records removed.
        """
        try:
            for _, handle in self._opened:
                _close(handle)
        finally:
            self.loop.close()
        for namespace in self._namespaces if is_ours else ():
            self.harness.remove(namespace)


def _close(handle: Handle) -> None:
    with suppress(Exception):  # LIFE-4 checks `close`; every case ends with it
        handle.perform("close")
