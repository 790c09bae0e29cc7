"""A worker process: it carries out orders from stdin; see :mod:`.processes`."""

from __future__ import annotations

import os
import pickle
import sys
import time
from contextlib import suppress
from typing import BinaryIO, Final

from coatcheck import AsyncStore, Store, open_async_store, open_store
from coatcheck.storekit import as_async, as_sync

from .clock import Clock
from .handle import Handle, Loop, Steps
from .harness import resolve
from .processes import Answer, Opening, Order

#: Seconds before the instant in which it polls the clock: sleep is not exact.
_AWAKE: Final = 0.002


class _OpenStore:
    """The store that this process holds, and its clock."""

    def __init__(self) -> None:
        self._clock = Clock()
        self._loop = Loop()
        self._handle: Handle | None = None

    def carry_out(self, order: Order) -> Answer:
        self._clock.now, self._clock.pause = order.now, order.pause
        try:
            if order.operation == "open":
                self._open(order.args[0])
                return Answer()
            assert self._handle is not None, "a store is opened first"
            _wait_until(order.instant)
            return Answer(self._handle.perform(order.operation, *order.args))
        except Exception as error:
            return Answer(error=error)

    def _open(self, opening: Opening) -> None:
        store = _opened(opening, self._clock)
        native = as_async(store) if opening.api == "async" else as_sync(store)
        self._handle = Handle("store", native, self._loop, Steps(self._clock))


def _opened(opening: Opening, clock: Clock) -> Store | AsyncStore:
    if opening.opener is not None:
        store: Store | AsyncStore = resolve(opening.opener)(opening.url, clock=clock)
        return store
    opens = open_async_store if opening.api == "async" else open_store
    return opens(opening.url, clock=clock)


def _wait_until(instant: float) -> None:
    ahead = instant - time.monotonic()
    if ahead > _AWAKE:
        time.sleep(ahead - _AWAKE)
    while time.monotonic() < instant:
        pass


def _packed(answer: Answer) -> bytes:
    try:
        packed = pickle.dumps(answer)
        pickle.loads(packed)  # some exceptions can be pickled but not unpickled
    except Exception:
        shown = RuntimeError(repr(answer.error or answer.value))
        return pickle.dumps(Answer(error=shown))
    return packed


def serve(orders: BinaryIO, answers: BinaryIO) -> None:
    """Carry out orders until there are no more."""
    store = _OpenStore()
    with suppress(EOFError, BrokenPipeError):
        while True:
            answers.write(_packed(store.carry_out(pickle.load(orders))))
            answers.flush()


if __name__ == "__main__":
    # A store's own output must not mix with the answers.
    own = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, own)
