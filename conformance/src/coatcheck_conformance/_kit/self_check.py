"""The self-check before any case: the harness does what the kit expects of it.

Any store looks wrong with a harness whose namespaces share data, whose second handle has other
data, or whose time does not pass. An error that is found here is reported as the harness's.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from coatcheck.errors import CoatcheckError, StoreError, StoreTimeout, StoreUnavailable

from .context import Context
from .failure import HarnessError
from .handle import APIS, APIName
from .harness import FEATURES, Harness

#: Seconds of real time after its expiry for which a record is watched.
_TIMEOUT = 2.0


def check_harness(harness: Harness, new_context: Callable[[APIName], Context]) -> None:
    """Return if the harness can be used.

    :raises HarnessError: it cannot be used; the text says why, and what to do.
    """
    name = type(harness).__name__
    for feature, reason in harness.unsupported.items():
        if feature not in FEATURES:
            raise HarnessError(
                f"`{name}.unsupported` names {feature!r}; there are {', '.join(FEATURES)}"
            )
        if not reason.strip():
            raise HarnessError(f"`{name}.unsupported` gives no reason for {feature!r}")
    for api in APIS:
        try:
            _check_api(new_context(api), name)
        except (HarnessError, StoreUnavailable, StoreTimeout):
            raise
        except CoatcheckError as error:
            raise HarnessError(
                f"the store cannot be used at all: {type(error).__name__}: {error}"
                f"{f' (from {error.__cause__!r})' if error.__cause__ else ''}"
            ) from error


def _check_api(context: Context, name: str) -> None:
    is_ours = False
    try:
        # Only read at first: a store that ignores its namespace may hold somebody's own sessions.
        _check_empty(context, name)
        context.store.set("self-check", context.record(b"self-check", life=1000))
        if context.store.get("self-check") is None:
            return  # the store is wrong, and the cases will report it
        try:
            _check_apart(context, name)
        except HarnessError:
            context.store.destroy("self-check")
            raise
        is_ours = True
        _check_together(context, name)
        _check_time(context, name)
    finally:
        context.close(is_ours=is_ours)


def _check_apart(context: Context, name: str) -> None:
    if context.elsewhere().get("self-check") is not None:
        raise HarnessError(
            f"two namespaces share their records: a record of {context.namespace!r} is found in "
            f"another one. `{name}.open` and the store must use the argument `namespace`"
        )


def _check_together(context: Context, name: str) -> None:
    if context.second().get("self-check") is None:
        raise HarnessError(
            f"a second handle on the namespace {context.namespace!r} does not see what the first "
            f"one wrote. `{name}.open` must open the same data for the same namespace"
        )
    if context.other_api().get("self-check") is None:
        raise HarnessError(
            f"the other API does not see what the {context.api} one wrote. `{name}.open` "
            "and `open_async` must open the same data for the same namespace"
        )


def _check_empty(context: Context, name: str) -> None:
    if context.store.get("self-check") is not None:
        raise HarnessError(
            f"a namespace that was never used has records: `{name}` must not keep them"
        )
    if context.capabilities.enumerable and context.store.length() != 0:
        raise HarnessError(
            f"the namespace {context.namespace!r} is new and holds {context.store.length()} "
            "records already. The kit works only in an empty namespace. Does the URL, or "
            f"`{name}.open`, use the namespace?"
        )


def _check_time(context: Context, name: str) -> None:
    store = context.store
    context.advance(10)
    if store.get("self-check") is None:
        raise HarnessError(
            f"after `advance` of 10 seconds a record that lives for 1000 is gone: `{name}.advance` "
            "lets too much time pass"
        )
    store.set("self-check", context.record(b"self-check", life=60))
    readings = context.clock.readings
    context.advance(120)
    if store.get("self-check") is None:
        return
    # Either the store never expires a record, or no time has passed for it.
    if _expires_by_itself(context):
        about = (
            f"`{name}.advance` must let time pass in the backend, too"
            if context.capabilities.native_expiry
            else f"`{name}.open` must pass its argument `clock` on to the store"
        )
        raise HarnessError(
            "two minutes have passed for the kit but not for the store, which expires records by "
            f"the system's clock: {about}"
        )
    if not context.capabilities.native_expiry and context.clock.readings == readings == 0:
        raise HarnessError(
            f"the store has never read the kit's clock: `{name}.open` must pass its argument "
            "`clock` on. A store that accepts it and does not use it breaks EXPIRY-7"
        )


def _expires_by_itself(context: Context) -> bool:
    """Tell whether a record expires by the system's clock; then the harness is wrong."""
    life = max(0.2, context.capabilities.expiry_granularity)
    real = context.open("real", clock=time.time)
    try:
        real.set("real", context.record().__class__(b"self-check", time.time() + life))
        if real.get("real") is None:
            return False
        deadline = time.monotonic() + life + _TIMEOUT
        while time.monotonic() < deadline:
            if real.get("real") is None:
                return True
            time.sleep(0.05)  # a backend's own clock cannot be watched
    except StoreError:
        pass
    return False
