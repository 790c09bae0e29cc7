"""EXPIRY-7 to EXPIRY-9: a record expires by the clock of its store."""

from __future__ import annotations

import math

from coatcheck import Record

from ..case import case
from ..clock import DAY, YEAR_2100, Clock
from ..context import Context


@case(
    "EXPIRY-7",
    depends_on=(
        "GET-3",
        "SET-14",
    ),
    hint="the clock is kept in the class or the module, so the newest store's clock counts "
    "for all.",
)
def each_store_has_its_clock(context: Context) -> None:
    """If one of two stores' clocks moves, records expire in that store alone."""
    clock = Clock(context.clock.now)
    ahead = context.open("ahead", namespace=f"{context.namespace}ahead", clock=clock)
    context.put(life=1800)
    context.put(life=1800, store=ahead)
    clock.advance(3600)
    context.steps.note("3600 seconds pass for `ahead` alone")
    context.harness.advance(f"{context.namespace}ahead", 3600)
    context.expect_absent(store=ahead, about="on the clock that is ahead")
    if not context.capabilities.native_expiry:  # otherwise the backend has one clock for both
        context.expect_data(b"data", about="on the clock that stands still")


@case("EXPIRY-7", depends_on=("SET-14",), hint="a lifetime is counted from the system's time.")
def set_asks_the_clock(context: Context) -> None:
    """A record that has expired by the store's clock is absent, whatever the system's time is."""
    context.advance(30 * DAY)
    context.expect(context.store.set("key", context.record(life=-DAY)), True)
    context.expect_absent()


def _expect_life_on(context: Context, now: float) -> None:
    """Expect that a record lives by a clock that is far from the system's time."""
    clock = Clock(now)
    store = context.open("distant", namespace=f"{context.namespace}distant", clock=clock)
    step = context.capabilities.expiry_granularity
    expires_at = math.ceil((now + 60) / step) * step if step else now + 60
    context.expect(store.set("key", Record(b"data", expires_at)), True)
    context.expect_data(b"data", store=store, about=f"at {now:.0f} by its clock")
    clock.advance(expires_at + 1 - now)
    context.steps.note("its expiry passes")
    context.expect_absent(store=store, about=f"at {expires_at + 1:.0f} by its clock")


@case(
    "EXPIRY-8",
    depends_on=(
        "GET-3",
        "GET-6",
    ),
    hint="the store or its backend also compares with the system's time.",
)
def long_ago(context: Context) -> None:
    """If the store's clock says 1970, a record lives for its minute and no longer."""
    _expect_life_on(context, 1000.0)


@case(
    "EXPIRY-8",
    depends_on=(
        "EXPIRY-4",
        "GET-3",
        "GET-6",
    ),
    hint="the store or its backend also compares with the system's time.",
)
def in_the_year_2100(context: Context) -> None:
    """If the store's clock says 2100, a record lives for its minute and no longer."""
    _expect_life_on(context, YEAR_2100)


@case(
    "EXPIRY-8",
    depends_on=(
        "TOUCH-1",
        "GET-3",
        "GET-6",
    ),
    hint="the backend evaluates `touch` and conditions by its own clock.",
)
def touch_long_ago(context: Context) -> None:
    """If the store's clock says 1970, a live record can be touched, and lives on."""
    clock = Clock(1020.0)
    store = context.open("distant", namespace=f"{context.namespace}distant", clock=clock)
    context.expect(store.set("key", Record(b"data", 1080.0)), True)
    context.expect(store.touch("key", 1200.0), True)
    clock.advance(70)
    context.expect_data(b"data", store=store)


@case("EXPIRY-9", hint="the store leaves expiry to the backend, which has a clock of its own.")
def late_backend(context: Context) -> None:
    """An expired record is absent even before the backend removes it."""
    context.put(life=60)
    context.clock.advance(61)
    context.steps.note("61 seconds pass for the store, and not for its backend")
    context.expect_absent()
