"""The Store contract's values, its defaults, and the custom store that its docstring shows."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from webclient import Client, Clock, SyncClient, YieldingStore, asgi_app, wsgi_app

import coatcheck.store
from coatcheck import ABSENT, ALWAYS, PRESENT, Capabilities, Record, Store, Unchanged
from coatcheck.errors import (
    ConfigurationError,
    StoreClosed,
    StoreUnavailable,
    UnsupportedOperation,
)
from coatcheck.store import CONTRACT_VERSION, Condition

KEY = "k" * 64


def documented_store() -> Any:
    """Return the class that is, complete, in the docstring of `coatcheck.store`."""
    text = inspect.getdoc(coatcheck.store) or ""
    lines = text.partition("::\n")[2].splitlines()
    block = itertools.takewhile(lambda line: not line or line.startswith(" "), lines)
    namespace: dict[str, Any] = {"__name__": "documented"}
    exec(textwrap.dedent("\n".join(block)), namespace)
    return namespace["SQLiteStore"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


@pytest.fixture
def store(path: Path, clock: Clock) -> Iterator[Store]:
    store = documented_store()(str(path), clock=clock)
    yield store
    store.close()


def record(clock: Clock, data: bytes = b"data", life: float = 60) -> Record:
    return Record(data, clock() + life)


# The documented store keeps the contract


def test_the_documented_store_returns_what_was_set(store: Store, clock: Clock) -> None:
    """A record comes back as it was, without the owner, which this store does not declare."""
    written = Record(b"\x00\xff", clock() + 60, "ann")
    assert store.set(KEY, written) is True
    assert store.get(KEY) == dataclasses.replace(written, owner=None)


def test_the_documented_store_cleans_up(store: Store, clock: Clock) -> None:
    """Each write removes some of the expired records, so the file does not grow forever."""
    for number in range(5):
        store.set(f"{KEY}{number}", Record(b"x", clock() + 1))
    clock.advance(2)
    store.set(KEY, Record(b"x", clock() + 60))
    assert store.prune() == 0


def test_the_documented_store_refuses_options_that_it_does_not_have(store: Store) -> None:
    """A misspelt option is found at the start, and makes no file."""
    for url in ("sqlite:", "sqlite:demo.db", "sqlite:///", "sqlite:///demo.db?timeout=5"):
        with pytest.raises(ConfigurationError):
            type(store).from_url(url)  # type: ignore[attr-defined]  # openers are no operations


def test_making_the_documented_store_does_nothing(path: Path, store: Store) -> None:
    """Constructing a store does no I/O and creates nothing."""
    assert not path.exists()
    assert store.get(KEY) is None


@pytest.mark.parametrize("before", ["live", "missing", "expired"])
@pytest.mark.parametrize(
    ("only_if", "holds"),
    [
        (ALWAYS, {"live", "missing", "expired"}),
        (ABSENT, {"missing", "expired"}),
        (PRESENT, {"live"}),
        (Unchanged(b"old"), {"live"}),
        (Unchanged(b"other"), set()),
    ],
    ids=["always", "absent", "present", "unchanged", "changed"],
)
@pytest.mark.parametrize("operation", ["set", "destroy"])
def test_the_documented_store_evaluates_conditions(
    store: Store, clock: Clock, operation: str, only_if: Condition, holds: set[str], before: str
) -> None:
    """A condition sees a live record or none, and an expired one counts as none."""
    if before != "missing":
        store.set(KEY, record(clock, b"old", 60))
    if before == "expired":
        clock.advance(60)
    if operation == "set":
        done = store.set(KEY, record(clock, b"new"), only_if)
        after = b"new" if before in holds else b"old" if before == "live" else None
        assert done is (before in holds)
    else:
        done = store.destroy(KEY, only_if)
        removed = before == "live" and before in holds
        after = b"old" if before == "live" and not removed else None
        assert done is removed
    found = store.get(KEY)
    assert (found.data if found else None) == after


def test_the_documented_store_touches_live_records_only(store: Store, clock: Clock) -> None:
    """A touch moves the expiry both ways, leaves the data alone, and creates nothing."""
    assert store.touch(KEY, clock() + 60) is False
    store.set(KEY, Record(b"data", clock() + 60, "ann"))
    for life in (600, 10):
        assert store.touch(KEY, clock() + life, "ann") is True
        assert store.get(KEY) == Record(b"data", clock() + life)
    clock.advance(10)
    assert store.touch(KEY, clock() + 60) is False
    assert store.get(KEY) is None


def test_the_documented_store_accepts_an_expiry_in_the_past(store: Store, clock: Clock) -> None:
    """Writing what is over already is no error; the key is absent afterwards."""
    store.set(KEY, record(clock))
    assert store.set(KEY, record(clock, b"late", -1)) is True
    assert store.get(KEY) is None
    assert store.set(KEY, record(clock, b"late", -1), PRESENT) is False


def test_the_documented_store_prunes_a_bounded_number(store: Store, clock: Clock) -> None:
    """Pruning removes expired records only, and examines no more than it may."""
    for number in range(5):
        store.set(f"old-{number}", record(clock, life=1))
    store.set("young", record(clock, life=100))
    clock.advance(50)
    assert store.prune(2) == 2
    assert store.prune() == 3
    assert store.prune() == 0
    assert store.get("young") is not None


@pytest.mark.parametrize("key", ["../../etc/passwd", "a'; DROP TABLE sessions; --", "%", "_", "é"])
def test_the_documented_store_takes_keys_literally(store: Store, clock: Clock, key: str) -> None:
    """A key is neither a path nor a pattern nor SQL."""
    store.set("innocent", record(clock, b"other"))
    store.set(key, record(clock))
    assert store.destroy(key) is True
    assert store.get("innocent") == record(clock, b"other")


def test_the_documented_store_reports_a_broken_backend(tmp_path: Path, clock: Clock) -> None:
    """A failed read is an error with the client's exception as its cause, never an absence."""
    store = documented_store()(str(tmp_path), clock=clock)
    with pytest.raises(StoreUnavailable) as caught:
        store.get(KEY)
    assert caught.value.__cause__ is not None


def test_the_documented_store_is_closed_for_good(store: Store, clock: Clock) -> None:
    """Closing twice is closing once, and every operation says so afterwards."""
    store.close()
    store.close()
    for operation, args in OPERATIONS.items():
        with pytest.raises(StoreClosed):
            getattr(store, operation)(*args)


OPERATIONS: dict[str, tuple[Any, ...]] = {
    "get": (KEY,),
    "set": (KEY, Record(b"data", 2e9)),
    "destroy": (KEY,),
    "touch": (KEY, 2e9),
    "ping": (),
    "prune": (),
}


# ... and serves applications


def visits(session: Any, _: Any) -> int:
    session["visits"] = session.get("visits", 0) + 1
    return int(session["visits"])


def test_the_documented_store_serves_wsgi_applications(path: Path) -> None:
    """The store of the docstring keeps a WSGI application's sessions across restarts."""
    with SyncClient(wsgi_app(visits, store=documented_store()(str(path)))) as browser:
        assert [browser.get("/").text for _ in range(3)] == ["1", "2", "3"]
        with SyncClient(wsgi_app(visits, store=documented_store()(str(path)))) as later:
            later.cookies = browser.cookies
            assert later.get("/").text == "4"


@pytest.mark.anyio
async def test_the_documented_store_serves_asgi_applications(path: Path) -> None:
    """The same store, bridged, keeps an ASGI application's sessions and ends them."""

    def app(session: Any, scope: Any) -> int:
        if scope["path"] == "/logout":
            session.destroy()
            return 0
        return visits(session, scope)

    browser = Client(asgi_app(app, store=documented_store()(str(path))))
    thief = None
    assert (await browser.get("/")).text == "1"
    thief = browser.tab()
    assert (await browser.get("/")).text == "2"
    await browser.get("/logout")
    assert (await browser.get("/")).text == "1"
    assert (await thief.get("/")).text == "1"


# What is not declared


@pytest.mark.parametrize(
    ("operation", "args"), [("all", ()), ("length", ()), ("clear", ()), ("owned_by", ("ann",))]
)
def test_undeclared_operations_raise_at_the_call(
    store: Store, operation: str, args: tuple[str, ...]
) -> None:
    """An operation behind an undeclared capability fails when called, not when iterated."""
    with pytest.raises(UnsupportedOperation) as caught:
        getattr(store, operation)(*args)
    assert caught.value.operation == operation
    assert str(caught.value).startswith(f"`{operation}` needs the capability ")


@pytest.mark.parametrize(("operation", "args"), [("all", ()), ("owned_by", ("ann",))])
def test_undeclared_iterations_raise_at_the_call_of_an_asynchronous_store(
    operation: str, args: tuple[str, ...]
) -> None:
    """An asynchronous iteration that is not declared fails before anything is awaited."""
    with pytest.raises(UnsupportedOperation):
        getattr(YieldingStore(), operation)(*args)


@pytest.mark.anyio
@pytest.mark.parametrize("operation", ["length", "clear", "prune"])
async def test_undeclared_operations_of_an_asynchronous_store_raise(operation: str) -> None:
    """The awaitable operations that are not declared fail, too."""
    with pytest.raises(UnsupportedOperation):
        await getattr(YieldingStore(), operation)()


def test_a_store_without_its_verbs_cannot_be_made() -> None:
    """The four operations, ping and close have no defaults that could be unsafe."""

    class Lazy(Store):
        capabilities = Capabilities()

    with pytest.raises(TypeError, match="abstract"):
        Lazy()  # type: ignore[abstract]  # that is the point


# Values


@pytest.mark.parametrize(
    "value",
    [Record(b"secret", 1.0, "secret"), Unchanged(b"secret"), Capabilities()],
    ids=lambda value: type(value).__name__,
)
def test_values_are_frozen_and_keep_their_contents_to_themselves(value: Any) -> None:
    """A value cannot be changed, has no room for more, and its repr shows no data."""
    name = dataclasses.fields(value)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, name, None)
    assert not hasattr(value, "__dict__")
    assert "secret" not in repr(value)


def test_values_compare_by_what_they_hold() -> None:
    """Equal records are equal; data, expiry and owner each make a difference."""
    same = [Record(b"a", 1.0, "x"), Record(b"a", 1.0, "x")]
    assert same[0] == same[1]
    others = [Record(b"b", 1.0, "x"), Record(b"a", 2.0, "x"), Record(b"a", 1.0)]
    assert all(same[0] != other for other in others)
    assert Unchanged(b"a") == Unchanged(b"a") != Unchanged(b"b")


def test_a_store_promises_nothing_unless_it_says_so() -> None:
    """The defaults of the capabilities are the cautious ones."""
    assert dataclasses.asdict(Capabilities()) == {
        "blocking": True,
        "native_expiry": False,
        "enumerable": False,
        "clearable": False,
        "owners": False,
        "owner_lag": 0.0,
        "max_data_bytes": None,
        "multi_process": False,
        "durable": False,
        "expiry_granularity": 0.0,
    }


def test_the_contract_has_a_version() -> None:
    """Plugins state this version, MAJOR.MINOR."""
    assert CONTRACT_VERSION == "1.0"
