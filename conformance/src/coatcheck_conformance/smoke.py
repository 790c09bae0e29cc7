"""What is checked before any judgement: that the harness does what the kit takes it to do.

A harness whose namespaces share data, whose second handle is on other data, or whose time does not
pass makes any store look wrong. What is found here is said to be the harness's.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from coatcheck.errors import CoatcheckError, StoreError, StoreTimeout, StoreUnavailable

from .bench import Bench
from .failure import HarnessWrong
from .handle import FACES, FaceName
from .harness import FACILITIES, Harness

#: Seconds by the clock on the wall in which a record that lives for less must have expired.
_PATIENCE = 2.0


def check_harness(harness: Harness, new_bench: Callable[[FaceName], Bench]) -> None:
    """Return if the harness can be worked with.

    :raises HarnessWrong: it cannot; the text says why, and what to do.
    """
    name = type(harness).__name__
    for facility, reason in harness.absent.items():
        if facility not in FACILITIES:
            raise HarnessWrong(
                f"`{name}.absent` names {facility!r}; there are {', '.join(FACILITIES)}"
            )
        if not reason.strip():
            raise HarnessWrong(f"`{name}.absent` gives no reason for {facility!r}")
    for face in FACES:
        try:
            _check_face(new_bench(face), name)
        except (HarnessWrong, StoreUnavailable, StoreTimeout):
            raise
        except CoatcheckError as error:
            raise HarnessWrong(
                f"the store cannot be used at all: {type(error).__name__}: {error}"
                f"{f' (from {error.__cause__!r})' if error.__cause__ else ''}"
            ) from error


def _check_face(bench: Bench, name: str) -> None:
    is_ours = False
    try:
        # First what cannot harm: a store that ignores its namespace may be somebody's own.
        _check_empty(bench, name)
        bench.store.set("smoke", bench.record(b"smoke", life=1000))
        if bench.store.get("smoke") is None:
            return  # the store's own fault: the cases will say so
        try:
            _check_apart(bench, name)
        except HarnessWrong:
            bench.store.destroy("smoke")
            raise
        is_ours = True
        _check_together(bench, name)
        _check_time(bench, name)
    finally:
        bench.close(is_ours=is_ours)


def _check_apart(bench: Bench, name: str) -> None:
    if bench.elsewhere().get("smoke") is not None:
        raise HarnessWrong(
            f"two namespaces share their records: what was set in {bench.namespace!r} is seen in "
            f"another one. `{name}.open` must use its argument `namespace`; so must the store"
        )


def _check_together(bench: Bench, name: str) -> None:
    if bench.second().get("smoke") is None:
        raise HarnessWrong(
            f"a second handle on the namespace {bench.namespace!r} does not see what the first "
            f"one wrote. `{name}.open` must open the same data for the same namespace"
        )
    if bench.other_face().get("smoke") is None:
        raise HarnessWrong(
            f"the other face does not see what the {bench.face} one wrote. `{name}.open` "
            "and `open_async` must open the same data for the same namespace"
        )


def _check_empty(bench: Bench, name: str) -> None:
    if bench.store.get("smoke") is not None:
        raise HarnessWrong(
            f"a namespace that was never used has records: `{name}` must not keep them"
        )
    if bench.capabilities.enumerable and bench.store.length() != 0:
        raise HarnessWrong(
            f"the namespace {bench.namespace!r} is new and holds {bench.store.length()} records "
            "already: the kit works only where nobody's sessions are. Does the URL, or "
            f"`{name}.open`, use the namespace?"
        )


def _check_time(bench: Bench, name: str) -> None:
    store = bench.store
    bench.elapse(10)
    if store.get("smoke") is None:
        raise HarnessWrong(
            f"after `elapse` of 10 seconds a record that lives for 1000 is gone: `{name}.elapse` "
            "lets too much time pass"
        )
    store.set("smoke", bench.record(b"smoke", life=60))
    readings = bench.clock.readings
    bench.elapse(120)
    if store.get("smoke") is None:
        return
    # Either the store never expires anything, or no time has passed for it.
    if _expires_by_itself(bench):
        about = (
            f"`{name}.elapse` must let it pass in the backend, too"
            if bench.capabilities.native_expiry
            else f"`{name}.open` must pass its argument `clock` on to the store"
        )
        raise HarnessWrong(
            "for the kit two minutes have passed, for the store they have not, though it does "
            f"expire records by the clock on the wall: {about}"
        )
    if not bench.capabilities.native_expiry and bench.clock.readings == readings == 0:
        raise HarnessWrong(
            f"the store has never read the kit's clock: `{name}.open` must pass its argument "
            "`clock` on; a store that takes it and does not use it breaks EXPIRY-7"
        )


def _expires_by_itself(bench: Bench) -> bool:
    """Tell whether a record expires by the clock on the wall: the harness is wrong, then."""
    life = max(0.2, bench.capabilities.expiry_granularity)
    real = bench.open("real", clock=time.time)
    try:
        real.set("real", bench.record().__class__(b"smoke", time.time() + life))
        if real.get("real") is None:
            return False
        deadline = time.monotonic() + life + _PATIENCE
        while time.monotonic() < deadline:
            if real.get("real") is None:
                return True
            time.sleep(0.05)  # nothing tells when a backend's own clock gets there
    except StoreError:
        pass
    return False
