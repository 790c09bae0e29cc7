"""The toolbox for store authors: what it offers, and that stores need nothing else of the core."""

from __future__ import annotations

import ast
import importlib
import math
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from coatcheck import ABSENT, Capabilities, MemoryStore, Record, storekit
from coatcheck.errors import ConfigurationError, StoreClosed, StoreUnavailable
from coatcheck.storekit import (
    AsyncGeneratorStore,
    BorrowedClient,
    GeneratorStore,
    Listing,
    Requests,
    SingleLoopClient,
    SingleProcessClient,
    as_sync,
    choice_option,
    flag_option,
    integer_option,
    parse_options,
    seconds_option,
    split_url,
    text_option,
)

ROOT: Final = Path(__file__).parents[3]
#: What the stores, the example and the kit may import from the core. The codec is for stores that
#: bring one of their own.
PUBLIC: Final = {"coatcheck", "coatcheck.codec", "coatcheck.errors", "coatcheck.storekit"}
#: The kit also runs the middlewares.
PUBLIC_FOR_THE_KIT: Final = PUBLIC | {"coatcheck.asgi", "coatcheck.wsgi"}


def sources() -> Iterator[tuple[str, Collection[str]]]:
    for folder in ("packages/store-*/src", "examples/*/src", "conformance/src"):
        for path in sorted(ROOT.glob(f"{folder}/**/*.py")):
            name = str(path.relative_to(ROOT))
            yield name, PUBLIC_FOR_THE_KIT if name.startswith("conformance") else PUBLIC


@pytest.mark.parametrize(("path", "allowed"), list(sources()))
def test_stores_import_public_names_only(path: str, allowed: Collection[str]) -> None:
    """They come from modules for stores, and these say that the names are public."""
    found = []
    for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found += [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
    for module, name in found:
        if module.partition(".")[0] == "coatcheck":
            assert module in allowed
            if name is not None and f"{module}.{name}" not in allowed:
                assert name in importlib.import_module(module).__all__


def test_the_guide_for_store_authors_names_everything() -> None:
    guide = (ROOT / "docs" / "writing-a-store.md").read_text("utf-8")
    assert [name for name in storekit.__all__ if f"`{name}`" not in guide] == []


def test_the_names_are_there_and_sorted() -> None:
    assert [name for name in storekit.__all__ if not hasattr(storekit, name)] == []
    assert dir(storekit) == sorted(set(storekit.__all__))
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        storekit.missing  # type: ignore[attr-defined]  # noqa: B018  # reading it is the test


class Operations:
    """The operations of a store whose client is a store in memory: a request is a call of it."""

    def get(self, key: str) -> Requests:
        return (yield lambda memory: memory.get(key))

    def set(self, key: str, record: Record, only_if: Any) -> Requests:
        return (yield lambda memory: memory.set(key, record, only_if))

    def destroy(self, key: str, only_if: Any) -> Requests:
        return (yield lambda memory: memory.destroy(key, only_if))

    def touch(self, key: str, expires_at: float, owner: str | None) -> Requests:
        return (yield lambda memory: memory.touch(key, expires_at, owner))

    def all(self) -> Listing:
        yield list((yield lambda memory: memory.all()))

    def length(self) -> Requests:
        return (yield lambda memory: memory.length())

    def clear(self) -> Requests:
        yield lambda memory: memory.clear()

    def owned_by(self, owner: str) -> Listing:
        yield list((yield lambda memory: memory.owned_by(owner)))

    def ping(self) -> Requests:
        try:
            yield lambda memory: memory.no_such_method()
        except AttributeError as error:
            raise OSError("no answer") from error


CAPABILITIES: Final = Capabilities(enumerable=True, clearable=True, owners=True)


class SyncExample(GeneratorStore):
    backend = "Example"
    capabilities = CAPABILITIES

    def __init__(self, memory: MemoryStore) -> None:
        self.set_up(BorrowedClient(memory), Operations())

    def send_request(self, client: Any, request: Any) -> Any:
        return request(client)

    def translate_error(self, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(f"the example failed: {error}")


class AsyncExample(AsyncGeneratorStore):
    backend = "Example"
    capabilities = CAPABILITIES

    def __init__(self, memory: MemoryStore) -> None:
        self.set_up(SingleLoopClient(memory, "the example's client"), Operations())

    async def send_request(self, client: Any, request: Any) -> Any:
        return request(client)

    def translate_error(self, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(f"the example failed: {error}")


@pytest.mark.parametrize(
    "opened", [SyncExample, lambda memory: as_sync(AsyncExample(memory))], ids=["sync", "async"]
)
def test_both_apis_run_the_same_operations(opened: Any) -> None:
    memory = MemoryStore(clock=lambda: 1000.0)
    store = opened(memory)
    record = Record(b"data", 2000.0, "ann")
    assert store.set("key", record)
    assert store.get("key") == record
    assert store.touch("key", 3000.0, "ann")
    touched = Record(b"data", 3000.0, "ann")
    assert list(store.all()) == list(store.owned_by("ann")) == [("key", touched)]
    assert store.length() == 1
    with pytest.raises(ValueError, match="a key must have"):
        store.get("")
    with pytest.raises(StoreUnavailable, match="the example failed: no answer") as failed:
        store.ping()
    assert isinstance(failed.value.__cause__, OSError)
    assert store.destroy("key")
    store.clear()
    store.close()
    with pytest.raises(StoreClosed, match="this Example store is closed"):
        store.get("key")
    assert memory.length() == 0  # the caller's client stays open


def test_a_client_of_the_caller_stays_in_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    borrowed = SingleProcessClient("the client", "the example's client")
    assert borrowed.get() == "the client"
    borrowed.discard()
    borrowed.close()
    assert borrowed.get() == "the client"
    monkeypatch.setattr("os.getpid", lambda: -1)
    with pytest.raises(ConfigurationError, match="the example's client that was passed in"):
        borrowed.get()


def test_options_of_urls() -> None:
    _, options = split_url("x://host/?name=ann&size=3&limit=1.5&safe=no&mode=fast", "wrong form")
    parsers = {
        "name": text_option,
        "size": integer_option(1, 5),
        "limit": seconds_option,
        "safe": flag_option,
        "mode": choice_option(("fast", "slow")),
    }
    assert parse_options(options, parsers, "Example") == {
        "name": "ann", "size": 3, "limit": 1.5, "safe": False, "mode": "fast",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("x://host/?name=a&name=b", "duplicate option in the store URL"),
        ("x://host/?size", "wrong form"),
        (
            "x://host/?other=1",
            "the Example store's URL has no option 'other'; there are size, mode",
        ),
        (
            "x://host/?size=9",
            "'size' in the Example store's URL must be a whole number from 1 to 5",
        ),
        ("x://host/?mode=odd", "'mode' in the Example store's URL must be `fast` or `slow`"),
    ],
)
def test_options_that_are_refused(url: str, error: str) -> None:
    parsers = {"size": integer_option(1, 5), "mode": choice_option(("fast", "slow"))}
    with pytest.raises(ConfigurationError) as refused:
        parse_options(split_url(url, "wrong form")[1], parsers, "Example")
    assert str(refused.value) == error


@pytest.mark.parametrize(
    "opened",
    [lambda memory: memory, SyncExample, lambda memory: as_sync(AsyncExample(memory))],
    ids=["memory", "sync", "async"],
)
@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, None, "2000", 2000j])
def test_an_expiry_is_a_finite_number(opened: Any, wrong: Any) -> None:
    store = opened(MemoryStore(clock=lambda: 1000.0))
    record = Record(b"data", 2000.0)
    assert store.set("key", record)
    for call in (
        lambda: store.touch("key", wrong),
        lambda: store.set("key", Record(b"other", wrong)),
        lambda: store.set("new", Record(b"other", wrong), ABSENT),
    ):
        with pytest.raises((TypeError, ValueError), match="an expiry must be") as refused:
            call()
        assert isinstance(refused.value, ValueError) == isinstance(wrong, float)
    assert list(store.all()) == [("key", record)]
