"""LIFE: opening and closing."""

from __future__ import annotations

import inspect
import os
import select
import signal
import warnings
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

from coatcheck import AsyncStore, Store, open_async_store, open_store
from coatcheck.errors import ConfigurationError, StoreClosed
from coatcheck.storekit import as_async, as_sync

from ..case import case
from ..context import Context
from ..handle import Handle, Loop
from ..harness import ClientStore, resolve
from ..processes import RemoteHandle, Worker
from ..watch import IO_EVENTS, THREAD_EVENTS, watching

#: Seconds within which a forked child must have done its work.
_CHILD_SECONDS: Final = 20
#: Calls that parent and child make at the same time.
_CALLS: Final = 20


def opened_by_url(context: Context, url: str) -> Store | AsyncStore:
    """Open a URL as the registry does: by its scheme, or with the harness's opener."""
    context.steps.note(f"the {context.api} API is opened by its URL")
    if context.harness.opener is not None:
        store: Store | AsyncStore = resolve(context.harness.opener)(url, clock=context.clock)
        return store
    opens: Callable[..., Store | AsyncStore]
    opens = open_async_store if context.api == "async" else open_store
    return opens(url, clock=context.clock)


def handle_of(context: Context, name: str, store: Store | AsyncStore) -> Handle:
    """Return a handle of the API under test; the case has to close it."""
    native = as_async(store) if context.api == "async" else as_sync(store)
    return Handle(name, native, context.loop, context.steps)


def url_of(context: Context) -> str:
    """Return the URL of the context's namespace."""
    return context.need(context.harness.url(context.namespace), "the harness gives no URL")


@case(
    "LIFE-1",
    foundation=False,
    depends_on=("CAP-1",),
    hint="the constructor connects, makes its folder or table, or starts a thread.",
)
def opening_does_nothing(context: Context) -> None:
    """Opening a store for the second time touches no file, no network and no thread."""
    context.elsewhere("a")  # imports modules, and lets the harness prepare itself
    with watching(IO_EVENTS | THREAD_EVENTS) as watch:
        context.elsewhere("b")
    context.steps.note("a store is opened, and not used")
    context.expect_that(not watch.seen, "no I/O and no thread", watch.lines)


@case(
    "LIFE-2",
    foundation=False,
    needs=("url",),
    hint="the opener has no parameter `clock`, or returns something else.",
)
def opener_takes_a_clock(context: Context) -> None:
    """The opener accepts the URL and a clock, and returns a store."""
    try:
        store: object = opened_by_url(context, url_of(context))
    except (TypeError, ConfigurationError) as error:
        context.fail("a store", error)
    if not isinstance(store, Store | AsyncStore):
        context.fail("a store", type(store).__name__)
    handle_of(context, "opened", store).close()


def _wrong_urls(context: Context) -> dict[str, str]:
    url = url_of(context)
    joint = "&" if "?" in url else "?"
    wrong = {
        "an unknown option": f"{url}{joint}no_such_option=1",
        "an option without a name": f"{url}{joint}=1",
    }
    address = context.harness.address()
    if address is not None and f":{address[1]}" in url:
        wrong["a port that is no number"] = url.replace(f":{address[1]}", ":port", 1)
    return wrong


@case(
    "LIFE-3",
    foundation=False,
    needs=("url",),
    depends_on=("LIFE-2",),
    hint="unknown options are ignored, or passed on to a client that ignores them.",
)
def wrong_urls_are_refused(context: Context) -> None:
    """URLs with one mistake are refused at the opening."""
    for about, url in _wrong_urls(context).items():
        context.steps.note(f"the URL has {about}")
        try:
            store = opened_by_url(context, url)
        except ConfigurationError:
            continue
        except Exception as error:  # any other one is the fault
            context.fail(f"ConfigurationError for {about}", error)
        handle_of(context, "opened", store).close()
        context.fail(f"ConfigurationError for {about}", "a store")


@case("LIFE-4", foundation=False, hint="`close` fails if nothing was opened.")
def closing_an_unused_store(context: Context) -> None:
    """A store that was never used can be closed several times."""
    store = context.elsewhere()
    for _ in range(3):
        context.expect(store.call("close"), None)


@case("LIFE-4", hint="the second call closes a resource that is gone.")
def closing_a_used_store(context: Context) -> None:
    """A store that was used can be closed several times."""
    context.put(owner="owner")
    for _ in range(3):
        context.expect(context.store.call("close"), None)


def supported(context: Context, store: Handle) -> dict[str, Callable[[], Any]]:
    """Return a call of each operation that the store supports."""
    can, record = context.capabilities, context.record(owner="owner")
    operations: dict[str, Callable[[], Any]] = {
        "get": lambda: store.get("key"),
        "set": lambda: store.set("key", record),
        "destroy": lambda: store.destroy("key"),
        "touch": lambda: store.touch("key", record.expires_at, "owner"),
        "ping": lambda: store.ping(),
    }
    if can.enumerable:
        operations |= {"all": lambda: store.all(), "length": lambda: store.length()}
    if can.clearable:
        operations["clear"] = lambda: store.clear()
    if can.owners:
        operations["owned_by"] = lambda: store.owned_by("owner")
    if not can.native_expiry:
        operations["prune"] = lambda: store.prune()
    return operations


def _expect_closed(context: Context, operations: dict[str, Callable[[], Any]]) -> None:
    for operation, call in operations.items():
        try:
            returned = call()
        except StoreClosed:
            continue
        except Exception as error:  # any other one is the fault
            context.fail(f"StoreClosed from `{operation}`", error)
        context.fail(
            f"StoreClosed from `{operation}`", f"it returned {context.steps.show(returned)}"
        )


@case(
    "LIFE-5",
    depends_on=("LIFE-4",),
    hint="the client connects again by itself, or its own error is raised.",
)
def operations_of_a_closed_store(context: Context) -> None:
    """After `close` of a used store each operation raises."""
    context.put(owner="owner")
    operations = supported(context, context.store)
    context.store.close()
    _expect_closed(context, operations)


@case(
    "LIFE-5",
    foundation=False,
    depends_on=("LIFE-4",),
    hint="a store that connects at its first use does so even after `close`.",
)
def operations_of_a_closed_unused_store(context: Context) -> None:
    """After `close` of an unused store each operation raises."""
    store = context.elsewhere()
    operations = supported(context, store)
    store.close()
    _expect_closed(context, operations)


@case("LIFE-6", foundation=False, hint="`ping` returns the server's reply.")
def ping_returns_none(context: Context) -> None:
    """`ping` returns None, before the first use and after it."""
    for _ in range(3):
        context.expect(context.store.call("ping"), None)


@case(
    "LIFE-6", depends_on=("GET-5", "GET-7"), hint="`ping` writes a record, and does not restore it."
)
def ping_changes_no_record(context: Context) -> None:
    """`ping` changes no record, and creates none under a likely name."""
    record = context.put(owner="owner")
    for _ in range(2):
        context.store.ping()
    context.expect_unchanged(record)
    for key in ("ping", "coatcheck-ping", "healthcheck"):
        context.expect_absent(key)


@case(
    "LIFE-6",
    requires=("enumerable",),
    depends_on=("ENUM-1",),
    hint="`ping` leaves a record that it wrote as a trial.",
)
def ping_leaves_no_record(context: Context) -> None:
    """`ping` leaves no record of its own."""
    context.put()
    context.store.ping()
    context.expect_keys(context.store.all(), ["key"])


@case(
    "LIFE-7",
    hint="handles share a resource, and the first `close` closes or clears it.",
)
def closing_one_of_two(context: Context) -> None:
    """After one handle is closed, the record is stored, and another handle works."""
    other = context.second()
    context.put(store=other)
    context.expect_data(b"data")
    other.close()
    context.expect_data(b"data", about="by the handle that is open")
    context.put(data=b"new")
    context.expect_data(b"new", store=context.second(), about="by a third handle")
    context.store.ping()


@case(
    "LIFE-8",
    needs=("url",),
    hint="a write is acknowledged before the data are handed over.",
)
def killed_after_a_write(context: Context) -> None:
    """A record is stored after the process that wrote it was killed."""
    url = url_of(context)
    worker = Worker()
    try:
        writer = RemoteHandle(context, "process", worker)
        writer.open(url)
        record = context.record(owner="owner")
        for key in ("one", "two", "three"):
            context.expect(writer.call("set", key, record), True)
    finally:
        worker.end()
    context.steps.note("the process is killed")
    store = context.second()
    for key in ("one", "two", "three"):
        context.expect_data(record.data, key, store)


async def _resolved(value: bool | Awaitable[bool] | Awaitable[None] | None) -> bool | None:
    return await value if inspect.isawaitable(value) else value


def _run_client(
    context: Context, made: Callable[[], Coroutine[Any, Any, ClientStore | None]]
) -> None:
    """Use a store, close it, and tell whether its caller's client is open."""

    async def run() -> bool | None:
        given = context.need(await made(), "the harness makes no store of a client")
        try:
            store = as_async(given.store)
            await store.set("key", context.record())
            await store.close()
            return await _resolved(given.is_open())
        finally:
            await _resolved(given.close())

    context.steps.note("a store of the caller's client is used and closed")
    context.expect_that(bool(context.loop.run(run())), "an open client", "a closed one")


@case(
    "LIFE-9",
    apis=("sync",),
    needs=("client",),
    hint="`close` does not know who owns the client.",
)
def client_of_the_caller(context: Context) -> None:
    """`close` leaves a client open that the caller passed in."""

    async def made() -> ClientStore | None:
        return context.harness.with_client(context.namespace, context.clock)

    _run_client(context, made)


@case(
    "LIFE-9",
    apis=("async",),
    needs=("async_client",),
    hint="`close` does not know who owns the client.",
)
def async_client_of_the_caller(context: Context) -> None:
    """`close` leaves an asynchronous client open that the caller passed in."""
    _run_client(
        context, lambda: context.harness.with_async_client(context.namespace, context.clock)
    )


def _work(store: Handle, name: str) -> str:
    """Read and write; return a description of what was wrong, or an empty text."""
    for number in range(_CALLS):
        for key in ("parent", "child"):
            found = store.perform("get", key)
            if found is None or found.data != key.encode():
                return f"{name}: `get` of {key!r} returned {found!r}"
        record = store.perform("get", name)
        if store.perform("set", f"by {name}", record) is not True:
            return f"{name}: `set` number {number} did not return True"
    return ""


def _in_child(store: Handle, out: int) -> None:
    """Work in the forked child, send a description of what was wrong, and exit."""
    wrong = "the child could not tell what was wrong"
    try:
        own = Handle(store.name, store.native, Loop(), store._steps)
        wrong = _work(own, "child") or "nothing"
    except BaseException as error:
        wrong = f"child: {type(error).__name__}({str(error)!r})"
    finally:
        with suppress(OSError):
            os.write(out, wrong.encode()[:4000])
        os._exit(0)


def _answer(pid: int, source: int) -> str:
    """Return what the child sent, and kill a child that sends nothing."""
    try:
        ready, _, _ = select.select([source], [], [], _CHILD_SECONDS)
        told = os.read(source, 4096).decode() if ready else ""
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return told or "child: no end"


@case(
    "LIFE-10",
    depends_on=("LOOP-3",),
    hint="parent and child share a socket, or wait for a thread that does not exist there.",
)
def both_sides_of_a_fork(context: Context) -> None:
    """A handle that was used before a fork works in the child and in the parent."""
    context.need_fork()
    for key in ("parent", "child"):
        context.put(key, key.encode())
        context.expect_data(key.encode(), key)
    source, out = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # warns that other threads are not copied
        pid = os.fork()
    if pid == 0:
        _in_child(context.store, out)
    try:
        context.steps.note("the process forks; parent and child read and write")
        try:
            mine = _work(context.store, "parent")
        finally:
            theirs = _answer(pid, source)
    finally:
        os.close(source)
        os.close(out)
    context.expect(theirs, "nothing", "what was wrong in the child")
    context.expect(mine, "", "what was wrong in the parent")
    context.expect_data(b"child", "by child", about="what the child wrote")
    context.expect_data(b"parent", "by parent", about="afterwards")
