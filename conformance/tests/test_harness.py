"""The kit tells a wrong harness from a wrong store."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from mutation import StoreClassHarness

from coatcheck import Capabilities, MemoryStore, Record, Store
from coatcheck.errors import StoreUnavailable
from coatcheck_conformance import Harness
from coatcheck_conformance._kit import self_check
from coatcheck_conformance._kit.case import cases_of
from coatcheck_conformance._kit.failure import HarnessError
from coatcheck_conformance._kit.harnesses import MemoryHarness, harness_for
from coatcheck_conformance._kit.run import Run
from coatcheck_conformance._kit.verdicts import Verdict


def verdict_of(harness: Harness, clause: str = "GET-1") -> tuple[Verdict, str]:
    """Return the verdict and the text of the first case of a clause."""
    result = Run(harness).result(cases_of(clause)[0], "sync")
    return result.verdict, result.text


class Opening(MemoryHarness):
    """A memory harness, from which wrong ones are derived."""

    def open(self, namespace: str, clock: Callable[[], float]) -> Store:
        return super().open(namespace, clock)


class OneForAll(Opening):
    """All namespaces are the same store."""

    def open(self, namespace: str, clock: Callable[[], float]) -> Store:
        return super().open("one", clock)


class Leftover(Opening):
    """A new namespace holds a record."""

    def open(self, namespace: str, clock: Callable[[], float]) -> Store:
        is_new = namespace not in self._stores
        store = super().open(namespace, clock)
        if is_new:
            from coatcheck import Record

            store.set("left", Record(b"over", clock() + 1000))
        return store


class Apart(Opening):
    """Each handle has data of its own, although the store declares several processes."""

    def open(self, namespace: str, clock: Callable[[], float]) -> Store:
        store = MemoryStore(clock=clock)
        store.capabilities = Capabilities(multi_process=True)
        return store


class Hasty(Opening):
    """More time passes in the backend than the kit asked for."""

    def advance(self, namespace: str, seconds: float) -> None:
        self._stores[namespace]._clock.advance(10_000)  # type: ignore[attr-defined]


class OwnTime(Opening):
    """The store does not get the kit's clock."""

    def open(self, namespace: str, clock: Callable[[], float]) -> Store:
        return super().open(namespace, time.time)


class NoStore(Opening):
    """The harness opens an object that is not a store."""

    def open(self, namespace: str, clock: Callable[[], float]) -> Any:
        return {"not": "a store"}


class Raising(Opening):
    """Opening fails with an error of the harness's own."""

    def open(self, namespace: str, clock: Callable[[], float]) -> Store:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("harness", "text"),
    [
        (OneForAll, "share their records"),
        (Leftover, "holds 1 records"),
        (Apart, "a second handle"),
        (Hasty, "lets too much time pass"),
        (OwnTime, "must pass its argument `clock` on"),
        (NoStore, "which is not a store"),
        (Raising, "ZeroDivisionError"),
    ],
)
def test_a_wrong_harness_is_named(harness: type[Harness], text: str) -> None:
    """The verdict is a harness error with advice, and no clause fails."""
    verdict, seen = verdict_of(harness())
    assert verdict is Verdict.HARNESS_ERROR
    assert text in seen


class NeverExpires(MemoryStore):
    """A faulty store, in which no record expires."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        super().__init__(clock=lambda: clock() * 0)


class Forgetful(MemoryStore):
    """A faulty store, which keeps nothing."""

    def set(self, *args: Any) -> bool:
        return True


@pytest.mark.parametrize("kind", [NeverExpires, Forgetful])
def test_a_wrong_store_is_no_wrong_harness(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cases find the store's faults, and the harness passes its check."""
    # The kit waits so long for a record that never expires.
    monkeypatch.setattr(self_check, "_TIMEOUT", 0.3)

    class Opens(MemoryHarness):
        def open(self, namespace: str, clock: Callable[[], float]) -> Store:
            return self._stores.setdefault(namespace, kind(clock=clock))

    run = Run(Opens())
    verdicts = {
        run.result(case, "sync").verdict for id in ("GET-1", "GET-3") for case in cases_of(id)
    }
    assert Verdict.HARNESS_ERROR not in verdicts
    assert Verdict.FAILED in verdicts


def test_cases_are_skipped_without_a_backend() -> None:
    """A store without its server is not judged."""

    class Unreachable(MemoryStore):
        def get(self, key: str) -> None:
            raise StoreUnavailable("refused")

    class Opens(MemoryHarness):
        def open(self, namespace: str, clock: Callable[[], float]) -> Store:
            return Unreachable(clock=clock)

    verdict, text = verdict_of(Opens())
    assert verdict is Verdict.SKIPPED
    assert "the backend is not there" in text


def test_a_store_in_use_is_never_written_to() -> None:
    """If the namespace is ignored and holds records, nothing is changed or cleared."""
    from coatcheck import Record

    class StaysOpen(MemoryStore):
        def close(self) -> None:
            """Be used by others meanwhile."""

    production = StaysOpen()
    record = Record(b"somebody's", time.time() + 9000)
    production.set("session", record)

    class Production(MemoryHarness):
        def open(self, namespace: str, clock: Callable[[], float]) -> Store:
            return production

        def remove(self, namespace: str) -> None:
            Harness.remove(self, namespace)

    verdict, text = verdict_of(Production())
    assert verdict is Verdict.HARNESS_ERROR
    assert "only in an empty namespace" in text
    assert production.get("session") == record


def test_what_is_declared_unsupported_is_checked() -> None:
    """`unsupported` has existing features, each with a reason."""

    class Unknown(MemoryHarness):
        unsupported = {"everything": "no"}

    class Silent(MemoryHarness):
        unsupported = {"client": " "}

    assert "there are url" in verdict_of(Unknown())[1]
    assert "no reason" in verdict_of(Silent())[1]


@pytest.mark.parametrize("url", ["elsewhere://host/0", "nothing:"])
def test_urls_say_where_the_namespace_goes(url: str) -> None:
    """A URL without a place for the namespace is refused."""
    with pytest.raises(HarnessError, match="namespace"):
        harness_for(url)
    with pytest.raises(HarnessError, match="namespace"):
        Harness(url)


def test_cases_are_skipped_without_what_the_harness_does_not_give() -> None:
    """Cases are skipped where a feature is neither written nor declared unsupported."""

    class Undecided(MemoryHarness):
        unsupported = {}

    verdict, text = verdict_of(Undecided(), "GET-4")
    assert verdict is Verdict.SKIPPED
    assert "give it `malformed`, or declare `malformed` in `unsupported`" in text
    assert verdict_of(MemoryHarness(), "GET-4")[0] is Verdict.NOT_SUPPORTED


def test_a_store_that_raises_is_no_wrong_harness() -> None:
    """An exception inside an operation is the store's, and is judged."""

    class Raising(MemoryStore):
        def get(self, key: str) -> Record | None:
            raise OSError("the disk")

    verdict, text = verdict_of(StoreClassHarness(Raising), "GET-1")
    assert verdict is Verdict.FAILED
    assert "OSError" in text
