"""EXPIRY-1 to EXPIRY-3 and EXPIRY-10: when a record expires."""

from __future__ import annotations

import json
import math
import time
from typing import Final

from coatcheck import ABSENT, ALWAYS, PRESENT, Record, Unchanged

from ..case import case
from ..clock import DAY
from ..context import Context
from ..handle import Handle

#: Seconds after its expiry in which a backend with a clock of its own may still show a record.
_LATE_REMOVAL: Final = 2.0

#: The coarsest granularity, in seconds, for which the case waits in real time.
_LONGEST_STEP: Final = 10.0

#: Data that claim an expiry in the past, and data that claim one in the future.
_PAST_INSIDE: Final = json.dumps(
    {
        "cookie": {"expires": "2001-01-01T00:00:00.000Z", "originalMaxAge": 1, "maxAge": 1},
        "expires": 1,
        "expires_at": 1,
        "expiresAt": 1,
        "exp": 1,
        "ttl": 1,
    }
).encode()
_FUTURE_INSIDE: Final = json.dumps(
    {
        "cookie": {"expires": "2099-01-01T00:00:00.000Z", "originalMaxAge": 10**12},
        "expires": 4e9,
        "expires_at": 4e9,
        "expiresAt": 4e12,
        "exp": 4e9,
        "ttl": 10**9,
    }
).encode()


def exact_expiry(context: Context, life: float) -> float:
    """Return an instant about ``life`` seconds from now that the store does not round."""
    step = context.capabilities.expiry_granularity
    wanted = context.clock.now + life
    return math.ceil(wanted / step) * step if step else wanted


def _expect_boundary(context: Context, expires_at: float) -> None:
    """Expect that the record of ``key`` is live before an instant, and absent from then on."""
    margin = max(1.0, context.capabilities.expiry_granularity)
    context.advance(expires_at - margin - context.clock.now)
    context.expect_data(b"data", about="just before its expiry")
    context.advance(expires_at - context.clock.now)
    context.expect_absent(about="at the instant of its expiry")


@case(
    "EXPIRY-1",
    depends_on=(
        "GET-3",
        "GET-6",
    ),
    hint="the comparison is `<` where it must be `<=`, or the other way round.",
)
def boundary_after_set(context: Context) -> None:
    """A record is live just before the expiry of its `set`, and absent at that instant."""
    expires_at = exact_expiry(context, 120)
    context.expect(context.store.set("key", Record(b"data", expires_at)), True)
    _expect_boundary(context, expires_at)


@case(
    "EXPIRY-1",
    depends_on=(
        "TOUCH-1",
        "GET-3",
        "GET-6",
    ),
    hint="the comparison is `<` where it must be `<=`, or the other way round.",
)
def boundary_after_touch(context: Context) -> None:
    """A record is live just before the expiry of its `touch`, and absent at that instant."""
    context.put(life=60)
    expires_at = exact_expiry(context, 240)
    context.expect(context.store.touch("key", expires_at), True)
    _expect_boundary(context, expires_at)


@case(
    "EXPIRY-1",
    depends_on=("SET-13", "TOUCH-3", "DESTROY-3"),
    prerequisite=False,
    hint="a condition has a comparison of its own, with `<` where it must be `<=`.",
)
def conditions_at_the_boundary(context: Context) -> None:
    """At the instant of its expiry a record is absent for each condition and operation."""
    expires_at = exact_expiry(context, 120)
    for number in range(6):
        context.expect(context.store.set(f"key{number}", Record(b"data", expires_at)), True)
    context.advance(expires_at - context.clock.now)
    store, new = context.store, context.record(b"new")
    context.expect(store.set("key0", new, PRESENT), False)
    context.expect(store.set("key1", new, Unchanged(b"data")), False)
    context.expect(store.touch("key2", new.expires_at), False)
    context.expect(store.destroy("key3"), False)
    context.expect(store.destroy("key4", Unchanged(b"data")), False)
    context.expect(store.set("key5", new, ABSENT), True)
    for number in range(5):
        context.expect_absent(f"key{number}")


@case(
    "EXPIRY-1",
    depends_on=(
        "GET-3",
        "GET-6",
    ),
    realtime=True,
    prerequisite=False,
    hint="seconds are taken for milliseconds, or local time for UTC.",
)
def by_the_system_clock(context: Context) -> None:
    """With `time.time` as its clock a record lives exactly as long as it should."""
    granularity = context.capabilities.expiry_granularity
    if granularity > _LONGEST_STEP:
        return  # too long to wait; the other cases of the clause need no real time
    store = context.open("real", namespace=f"{context.namespace}real", clock=time.time)
    expires_at = time.time() + 1
    if granularity:
        expires_at = (math.ceil(expires_at / granularity) + 1) * granularity
    context.expect(store.set("key", Record(b"data", expires_at)), True)
    found = store.get("key")
    if time.time() < expires_at - granularity:
        context.expect_that(found is not None, "a Record before its expiry", found)
    time.sleep(max(0.0, expires_at - time.time()) + 0.01)  # this case needs real time
    late = expires_at + (_LATE_REMOVAL if context.capabilities.native_expiry else 0)
    while (found := store.get("key")) is not None and time.time() < late:
        time.sleep(0.05)  # a backend's own clock cannot be watched
    context.expect(found, None, "after its expiry")


class _Ticking:
    """A clock on which a second passes at each reading, as if the call had to wait."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        self.now += 1
        return self.now


def _on_a_ticking_clock(context: Context) -> Handle:
    return context.open(
        "ticking", namespace=f"{context.namespace}ticking", clock=_Ticking(context.clock.now)
    )


@case(
    "EXPIRY-2",
    depends_on=("GET-5",),
    hint="the store computes a lifetime, and the backend counts it from the arrival of the "
    "request.",
)
def set_while_time_passes(context: Context) -> None:
    """If time passes during a `set`, the expiry is still the given one."""
    store = _on_a_ticking_clock(context)
    record = context.record()
    context.expect(store.set("key", record), True)
    context.expect_unchanged(record, store=store)


@case(
    "EXPIRY-2",
    depends_on=("GET-5", "TOUCH-1"),
    hint="the store computes a lifetime, and the backend counts it from the arrival of the "
    "request.",
)
def touch_while_time_passes(context: Context) -> None:
    """If time passes during a `touch`, the expiry is still the given one."""
    store = _on_a_ticking_clock(context)
    context.put(store=store)
    record = context.record(life=2 * DAY)
    context.expect(store.touch("key", record.expires_at), True)
    context.expect_unchanged(record, store=store)


@case(
    "EXPIRY-3",
    hint="the field `expires` is filled from the `cookie` member of the data.",
)
def past_expiry_inside_the_data(context: Context) -> None:
    """A past expiry inside the data does not end the record."""
    context.put(data=_PAST_INSIDE)
    found = context.store.get("key")
    context.expect_that(found is not None, "a Record: its own expiry is in a day", found)


@case(
    "EXPIRY-3",
    depends_on=("GET-3",),
    hint="the field `expires` is filled from the `cookie` member of the data.",
)
def future_expiry_inside_the_data(context: Context) -> None:
    """A future expiry inside the data does not keep an expired record alive."""
    context.put(data=_FUTURE_INSIDE, life=60)
    context.advance(61)
    context.expect_absent()


@case(
    "EXPIRY-3",
    depends_on=("TOUCH-1",),
    hint="`touch` moves one of two expiries, and the other one is checked.",
)
def touch_beside_an_expiry_inside_the_data(context: Context) -> None:
    """A record with a past expiry inside its data can be touched, and lives on."""
    context.put(data=_PAST_INSIDE, life=60)
    context.expect(context.store.touch("key", context.clock.now + DAY), True)
    context.advance(61)
    found = context.store.get("key")
    context.expect_that(found is not None, "a Record: its own expiry is in a day", found)


@case(
    "EXPIRY-10",
    depends_on=(
        "GET-3",
        "SET-5",
        "SET-7",
    ),
    hint="the backend keeps the later of two expiries.",
)
def shorter_life(context: Context) -> None:
    """A `set` over a live record can shorten its life, on any condition."""
    for number, only_if in enumerate((ALWAYS, PRESENT, Unchanged(b"data"))):
        context.put(f"key{number}", life=DAY)
        context.expect(context.store.set(f"key{number}", context.record(life=60), only_if), True)
    context.advance(61)
    for number in range(3):
        context.expect_absent(f"key{number}")


@case(
    "EXPIRY-10",
    depends_on=(
        "GET-3",
        "SET-5",
        "SET-7",
    ),
    hint="the backend keeps the earlier of two expiries.",
)
def longer_life(context: Context) -> None:
    """A `set` over a live record can lengthen its life, on any condition."""
    for number, only_if in enumerate((ALWAYS, PRESENT, Unchanged(b"data"))):
        context.put(f"key{number}", life=60)
        context.expect(context.store.set(f"key{number}", context.record(life=DAY), only_if), True)
    context.advance(61)
    for number in range(3):
        context.expect_data(b"data", f"key{number}")
