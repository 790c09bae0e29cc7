"""All faults of a context's backend, and a store that meets them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from coatcheck.errors import StoreError
from coatcheck.storekit import as_async, as_sync

from .context import Context
from .disk import disk_faults
from .failure import CheckFailed
from .handle import Handle
from .harness import Fault
from .proxy import Mode, Proxy

#: Seconds that a client library may need to notice that the server works again.
_RECOVERY: Final = 8.0

#: Faults of the network: the proxy's mode, the kind of fault, and a description.
_NETWORK: Final[tuple[tuple[Mode, str, str], ...]] = (
    ("refuse", "unavailable", "the server refuses connections"),
    ("reset", "unavailable", "the server resets the connection"),
    ("cut", "unavailable", "the connection is reset in the middle of a reply"),
    ("lost", "unavailable", "the server carries out requests, and replies are lost"),
    ("stall", "stall", "the server does not reply"),
    ("late", "stall", "the server replies when nobody waits any more"),
    ("half-close", "garbage", "a reply ends in the middle"),
    ("garbage", "garbage", "a proxy says that the server is down"),
    ("noise", "garbage", "the reply is noise"),
)


class FaultyStore:
    """A store, and the faults that it can meet.

    :ivar store: the handle that meets the faults. Other handles may not meet them.
    :ivar faults: the faults that can be caused.
    :ivar proxy: the proxy in front of the server, if there is a server.
    """

    def __init__(
        self, context: Context, store: Handle, faults: Sequence[Fault], proxy: Proxy | None
    ) -> None:
        self._context = context
        self.store = store
        self.faults = faults
        self.proxy = proxy

    @contextmanager
    def during(self, fault: Fault) -> Iterator[None]:
        """Cause the fault for the block."""
        self._context.steps.note(f"from now on {fault.name}")
        with fault.during():
            yield
        self._context.steps.note("the fault is over")

    def attempt(self, operation: str, *args: Any) -> Any:
        """Return what a call of the store returns, or the exception that it raises."""
        return attempt(self.store, operation, *args)


def attempt(store: Handle, operation: str, *args: Any) -> Any:
    """Return what a call returns, or the exception that it raises."""
    try:
        if operation in ("all", "owned_by"):
            return getattr(store, operation)(*args)
        return store.call(operation, *args)
    except CheckFailed:
        raise
    except Exception as error:  # the case judges it
        return error


@contextmanager
def faulty_store(context: Context, *kinds: str) -> Iterator[FaultyStore]:
    """Give a store with its faults of these kinds; skip the case if there are none."""
    with through_proxy(context) as (store, proxy):
        found = [fault for fault in _all_faults(context, proxy) if fault.kind in kinds]
        context.need(found or None, f"the harness has no fault of the kind {' or '.join(kinds)}")
        yield FaultyStore(context, store, found, proxy)


def each_fault(context: Context, *kinds: str) -> Iterator[tuple[FaultyStore, Fault]]:
    """Yield each fault, with a store that has met no fault before."""
    number, count = 0, 1
    while number < count:
        with faulty_store(context, *kinds) as faulty:
            count = len(faulty.faults)
            yield faulty, faulty.faults[number]
        number += 1


@contextmanager
def through_proxy(context: Context) -> Iterator[tuple[Handle, Proxy | None]]:
    """Give a store that talks through a proxy, or the context's own if it has no server."""
    address = context.harness.address()
    if address is None:
        yield context.store, None
        return
    proxy = Proxy(address)
    store = _opened_at(context, proxy.port)
    try:
        yield store, proxy
    finally:
        with suppress(StoreError):
            store.perform("close")
        proxy.close()


def _opened_at(context: Context, port: int) -> Handle:
    harness = context.harness.at("127.0.0.1", port)
    opens = harness.open_async if context.api == "async" else harness.open
    native = opens(context.namespace, context.clock)
    as_api = as_async if context.api == "async" else as_sync
    return Handle("distant", as_api(native), context.loop, context.steps)


def _all_faults(context: Context, proxy: Proxy | None) -> list[Fault]:
    found = list(context.harness.faults(context.namespace))
    if proxy is not None:
        found += [_network_fault(proxy, *way) for way in _NETWORK]
    folder = context.harness.folder(context.namespace)
    if folder is not None:
        found += disk_faults(folder)
    return found


def _network_fault(proxy: Proxy, mode: Mode, kind: str, name: str) -> Fault:
    return Fault(kind, name, lambda: proxy.doing(mode))


def expect_store_error_at_most(context: Context, outcome: object, about: str = "") -> None:
    """Expect a result or a StoreError, and no other exception."""
    if isinstance(outcome, Exception) and not isinstance(outcome, StoreError):
        lead = f"while {about}: " if about else ""
        context.fail(f"{lead}a result or a StoreError", outcome)


def expect_recovered(context: Context, store: Handle, fault: Fault) -> None:
    """Wait until a read succeeds.

    Connection pools notice dead connections one by one, and monitors need some time.
    """
    deadline = time.monotonic() + _RECOVERY
    while isinstance(outcome := attempt(store, "get", "nothing"), Exception):
        if time.monotonic() > deadline:
            context.fail(f"a store that works again after this: {fault.name}", outcome)
        time.sleep(0.05)  # there is no signal when the backend works again
