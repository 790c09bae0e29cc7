"""Calls of a store that a signal handler interrupts: ``python -m testing.interrupts URL TIMES``.

Handlers that raise exist: Celery's and RQ's time limits, and Ctrl-C. The exception comes between
any two instructions of the main thread. This program raises one at random moments of a store's
calls. It ends with an error if a call turns the exception into another one, if a call gets the
reply of another one, or if two threads cannot use the store afterwards.
"""

from __future__ import annotations

import gc
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Final

from coatcheck import ABSENT, PRESENT, Record, Store, Unchanged, open_store
from coatcheck._stores.registry import Registry
from coatcheck.storekit import SyncBridge

from .servers.programs import ROOT

#: The most seconds until the handler raises, for a fast store.
_LONGEST: Final = 0.004


class TimeIsUp(Exception):
    """Raised by the handler; Celery's is an Exception, too."""


def interrupted(url: str, times: int, *options: str) -> None:
    """Run this program, which must end without an error and in time.

    :param url: of a store.
    :param times: how often its calls are interrupted.
    """
    command = (sys.executable, "-m", "testing.interrupts", url, str(times), *options)
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.stdout, done.returncode) == ("it works\n", 0), done.stdout + done.stderr


def _raise(*_: object) -> None:
    raise TimeIsUp


def _raise_as_the_system(*_: object) -> None:
    raise TimeoutError("the handler's own")


def _round(store: Store, number: int) -> None:
    """Write and read two sessions, whose contents say to whom they belong."""
    for name in ("a", "b"):
        key, data = f"key-{name}-{number % 8}", f"{name}-{number % 8}".encode()
        record = Record(data, time.time() + 300, f"owner-{name}")
        store.set(key, record)
        found = store.get(key)
        if found is None or found.data != data:
            sys.exit(f"{key} has {found and found.data!r}")
        store.set(key, record, Unchanged(data))
        store.set(key, record, PRESENT)
        if not store.touch(key, time.time() + 400):
            sys.exit(f"{key} is live and was not touched")
    store.destroy(key)
    store.set(key, record, ABSENT)
    store.destroy(key)
    store.set(key, Record(data, time.time() + 300, "another"))


def _interrupt(store: Store, times: int, kind: type[Exception], longest: float) -> None:
    numbers = count()
    left = times
    while left:
        try:
            # It raises again after a second, because an exception in a `__del__` is lost.
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00002, longest), 1)
            while True:
                _round(store, next(numbers))
        except Exception as error:
            if type(error) is not kind and not _was_replaced(error):
                raise
            left -= 1
    signal.setitimer(signal.ITIMER_REAL, 0)


def _was_replaced(error: Exception) -> bool:
    """Tell whether PyMongo's decoder, written in C, raised its own exception instead of ours."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    is_ours = trace is not None and trace.tb_frame.f_code is _raise.__code__
    return is_ours and type(error).__name__ == "InvalidBSON"


def _works(store: Store) -> None:
    """Use the store from two threads at once, and check the results."""

    def use(name: str) -> None:
        for number in range(50):
            key = f"after-{name}-{number % 5}"
            store.set(key, Record(key.encode(), time.time() + 300, "after"))
            found = store.get(key)
            assert found is not None
            assert found.data == key.encode()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(use, ("a", "b")))
    assert len(list(store.owned_by("after"))) == 10
    for name in ("a", "b"):
        owner = f"owner-{name}"
        owned = {key for key, _ in store.owned_by(owner)}
        assert owned == {key for key, record in store.all() if record.owner == owner}


def main(url: str, times: int, *options: str) -> None:
    """Do what the module says.

    :param options: ``bridged``: the asynchronous store, used synchronously. ``system``: the
        handler raises an exception of a type that the operating system's errors have. ``slow``:
        the store's calls take milliseconds.
    """
    store = SyncBridge(Registry().open_async(url)) if "bridged" in options else open_store(url)
    kind: type[Exception] = TimeIsUp
    handler: Callable[..., None] = _raise
    if "system" in options:
        kind, handler = TimeoutError, _raise_as_the_system
    store.set("warm", Record(b"x", time.time() + 300))
    signal.signal(signal.SIGALRM, handler)
    before = _descriptors()
    _interrupt(store, times, kind, 10 * _LONGEST if "slow" in options else _LONGEST)
    _works(store)
    gc.collect()  # closes abandoned clients
    if _descriptors() > before + 50:
        sys.exit(f"{_descriptors() - before} files were left open")
    store.close()
    print("it works")


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


if __name__ == "__main__":
    import faulthandler

    faulthandler.dump_traceback_later(100, exit=True)
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
