"""EXPIRY: time."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from coatcheck import ABSENT, ALWAYS, PRESENT, Record, Unchanged

from ..case import case
from ..clock import DAY, Clock
from ..context import MICROSECOND, Context
from ..failure import Skipped
from ..handle import Handle

#: The first second of the year 2100, in POSIX seconds.
_YEAR_2100: Final = 4102444800.0

#: Middle European time by its rule, which needs no zone files.
_ZONE: Final = "CET-1CEST,M3.5.0,M10.5.0/3"

#: Seconds after its expiry in which a backend with a clock of its own may still show a record.
_LATE_REMOVAL: Final = 2.0

#: The coarsest granularity in seconds for which waiting by the clock on the wall is worth it.
_LONGEST_STEP: Final = 10.0

#: An Express session that says that it has expired, and one that says that it has not.
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


def _exact(context: Context, life: float) -> float:
    """Return about this many seconds from now, as an instant that is not rounded."""
    step = context.capabilities.expiry_granularity
    wanted = context.clock.now + life
    return math.ceil(wanted / step) * step if step else wanted


def _expect_boundary(context: Context, expires_at: float) -> None:
    """Expect that the record of ``key`` is live until an instant, and absent from then on."""
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
    """A record is live a moment before the expiry of its `set`, and absent at that instant."""
    expires_at = _exact(context, 120)
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
    """A record is live a moment before the expiry of its `touch`, and absent at that instant."""
    context.put(life=60)
    expires_at = _exact(context, 240)
    context.expect(context.store.touch("key", expires_at), True)
    _expect_boundary(context, expires_at)


@case(
    "EXPIRY-1",
    depends_on=("SET-13", "TOUCH-3", "DESTROY-3"),
    prerequisite=False,
    hint="a condition is decided by a comparison of its own, `<` where it must be `<=`.",
)
def conditions_at_the_boundary(context: Context) -> None:
    """At the instant of its expiry a record is absent for each condition and operation."""
    expires_at = _exact(context, 120)
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
def by_the_clock_on_the_wall(context: Context) -> None:
    """With `time.time` as its clock a record lives for as long as it was given."""
    granularity = context.capabilities.expiry_granularity
    if granularity > _LONGEST_STEP:
        return  # it would take minutes; the other cases of the clause do not wait
    store = context.open("real", namespace=f"{context.namespace}real", clock=time.time)
    expires_at = time.time() + 1
    if granularity:
        expires_at = (math.ceil(expires_at / granularity) + 1) * granularity
    context.expect(store.set("key", Record(b"data", expires_at)), True)
    found = store.get("key")
    if time.time() < expires_at - granularity:
        context.expect_that(found is not None, "a Record before its expiry", found)
    time.sleep(max(0.0, expires_at - time.time()) + 0.01)  # real time is what this is about
    late = expires_at + (_LATE_REMOVAL if context.capabilities.native_expiry else 0)
    while (found := store.get("key")) is not None and time.time() < late:
        time.sleep(0.05)  # nothing tells when a backend's own clock gets there
    context.expect(found, None, "after its expiry")


class _Ticking:
    """A clock on which a second passes whenever it is read: the call waits in between."""

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
    hint="the store computes a lifetime, and the backend counts it from when it arrives.",
)
def set_while_time_passes(context: Context) -> None:
    """Where time passes during the `set` the expiry is still the given one."""
    store = _on_a_ticking_clock(context)
    record = context.record()
    context.expect(store.set("key", record), True)
    context.expect_unchanged(record, store=store)


@case(
    "EXPIRY-2",
    depends_on=("GET-5", "TOUCH-1"),
    hint="the store computes a lifetime, and the backend counts it from when it arrives.",
)
def touch_while_time_passes(context: Context) -> None:
    """Where time passes during the `touch` the expiry is still the given one."""
    store = _on_a_ticking_clock(context)
    context.put(store=store)
    record = context.record(life=2 * DAY)
    context.expect(store.touch("key", record.expires_at), True)
    context.expect_unchanged(record, store=store)


@case(
    "EXPIRY-3",
    hint="the layout's field `expires` is taken out of the data's `cookie` member.",
)
def past_expiry_inside_the_data(context: Context) -> None:
    """A record whose data speak of an expiry long ago is live."""
    context.put(data=_PAST_INSIDE)
    found = context.store.get("key")
    context.expect_that(found is not None, "a Record: its own expiry is in a day", found)


@case(
    "EXPIRY-3",
    depends_on=("GET-3",),
    hint="the layout's field `expires` is taken out of the data's `cookie` member.",
)
def future_expiry_inside_the_data(context: Context) -> None:
    """A record whose data speak of an expiry in many years expires when it was told to."""
    context.put(data=_FUTURE_INSIDE, life=60)
    context.advance(61)
    context.expect_absent()


@case(
    "EXPIRY-3",
    depends_on=("TOUCH-1",),
    hint="a touch that moves one of two expiries leaves the other one to decide.",
)
def touch_beside_an_expiry_inside_the_data(context: Context) -> None:
    """A record whose data speak of an expiry long ago lives on when it is touched."""
    context.put(data=_PAST_INSIDE, life=60)
    context.expect(context.store.touch("key", context.clock.now + DAY), True)
    context.advance(61)
    found = context.store.get("key")
    context.expect_that(found is not None, "a Record: its own expiry is in a day", found)


def _far_expiries(context: Context) -> list[float]:
    """Return expiries beyond which 32 bits overflow, in the order of time."""
    days = [25, 50, 401]  # 2^31 milliseconds, 2^32 milliseconds, what a cookie may last
    instants = [2.0**31 + 60, _YEAR_2100 + 60, 2.0**32 + 60]
    return [_exact(context, days * DAY) for days in days] + [
        _exact(context, instant - context.clock.now) for instant in instants
    ]


@case(
    "EXPIRY-4",
    depends_on=(
        "GET-5",
        "GET-6",
    ),
    hint="a lifetime in milliseconds, or a time in seconds, is kept in 32 bits.",
)
def far_expiries_of_set(context: Context) -> None:
    """Expiries in 25, 50 and 401 days, in 2038, 2100 and 2106 are those that `get` shows."""
    for number, expires_at in enumerate(_far_expiries(context)):
        record = Record(b"data", expires_at)
        context.expect(context.store.set(f"key{number}", record), True)
        context.expect_unchanged(record, f"key{number}")


@case(
    "EXPIRY-4",
    depends_on=(
        "GET-5",
        "TOUCH-1",
        "GET-6",
    ),
    hint="a lifetime in milliseconds, or a time in seconds, is kept in 32 bits.",
)
def far_expiries_of_touch(context: Context) -> None:
    """A `touch` to 25, 50 and 401 days, to 2038, 2100 and 2106 is what `get` shows."""
    context.put()
    for expires_at in _far_expiries(context):
        context.expect(context.store.touch("key", expires_at), True)
        context.expect_unchanged(Record(b"data", expires_at))


@case(
    "EXPIRY-4",
    depends_on=(
        "GET-3",
        "GET-6",
    ),
    hint="a lifetime in milliseconds, or a time in seconds, is kept in 32 bits.",
)
def far_lives_last(context: Context) -> None:
    """Records that live for 25, 50 and 401 days, to 2038, 2100 and 2106 live until then."""
    expiries = _far_expiries(context)
    for number, expires_at in enumerate(expiries):
        context.expect(context.store.set(f"key{number}", Record(b"data", expires_at)), True)
    margin = max(1.0, context.capabilities.expiry_granularity)
    for number, expires_at in enumerate(expiries):
        context.advance(expires_at - 60 * margin - context.clock.now)
        context.expect_data(b"data", f"key{number}", about="a minute before its expiry")
        context.advance(61 * margin)
        context.expect_absent(f"key{number}", about="after its expiry")


def _expect_expiry(context: Context, given: float) -> None:
    """Expect that the stored expiry of ``key`` is what may become of the given one."""
    found = context.store.get("key")
    if not isinstance(found, Record) or not context.is_kept(found.expires_at, given):
        context.fail(context.steps.show(Record(b"data", given)), found)


_FRACTIONS: Final = (0.0, 0.000001, 0.123456, 0.25, 0.5, 0.654321, 0.999, 0.999999)


@case("EXPIRY-5", depends_on=("GET-5",), hint="integers are taken for another unit, or refused.")
def whole_numbers(context: Context) -> None:
    """An expiry that is an `int` is kept like the same number as a `float`."""
    for life in (120, DAY):
        expires_at = math.ceil(context.clock.now) + int(life)
        context.expect(context.store.set("key", Record(b"data", expires_at)), True)
        context.expect_unchanged(Record(b"data", float(expires_at)))
        context.expect(context.store.touch("key", expires_at + 60), True)
        context.expect_unchanged(Record(b"data", float(expires_at + 60)))


@case(
    "EXPIRY-5",
    depends_on=("GET-5",),
    hint="it is rounded to the nearest, or up, or to less than the declared granularity.",
)
def fractions_of_seconds_in_set(context: Context) -> None:
    """Of expiries with fractions of seconds what is stored is never later, and hardly earlier."""
    for fraction in _FRACTIONS:
        expires_at = context.clock.now + DAY + fraction
        context.expect(context.store.set("key", Record(b"data", expires_at)), True)
        _expect_expiry(context, expires_at)


@case(
    "EXPIRY-5",
    depends_on=(
        "TOUCH-1",
        "GET-5",
    ),
    hint="`touch` rounds otherwise than `set`.",
)
def fractions_of_seconds_in_touch(context: Context) -> None:
    """Of a `touch` with fractions of seconds what is stored is never later, and hardly earlier."""
    context.put()
    for fraction in _FRACTIONS:
        expires_at = context.clock.now + 2 * DAY + fraction
        context.expect(context.store.touch("key", expires_at), True)
        _expect_expiry(context, expires_at)


@contextmanager
def _far_from_greenwich() -> Iterator[None]:
    """Let this process live in Middle Europe, where clocks are put back in October."""
    set_zone: Callable[[], None] | None = getattr(time, "tzset", None)
    if set_zone is None:
        raise Skipped("this system cannot change the time zone of a process")
    former = os.environ.get("TZ")
    os.environ["TZ"] = _ZONE
    set_zone()
    try:
        yield
    finally:
        if former is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = former
        set_zone()


def _repeated_hour(after: float) -> tuple[float, float]:
    """Return the two instants of next year that Middle European clocks show as the same time."""
    year = datetime.fromtimestamp(after, UTC).year + 1
    last = datetime(year, 10, 31, 1, 30, tzinfo=UTC)
    second = last.timestamp() - (last.weekday() + 1) % 7 * DAY
    return second - 3600, second


@case(
    "EXPIRY-5",
    depends_on=(
        "EXPIRY-4",
        "GET-5",
    ),
    hint="a local time without a zone is stored.",
)
def in_a_time_zone(context: Context) -> None:
    """The time zone of the process does not move an expiry, nor does the end of summer time."""
    with _far_from_greenwich():
        for expires_at in (context.clock.now + DAY, *_repeated_hour(context.clock.now)):
            context.expect(context.store.set("key", Record(b"data", expires_at)), True)
            _expect_expiry(context, expires_at)


@case("EXPIRY-6", depends_on=("EXPIRY-5",), hint="half a step is taken off, to be safe.")
def multiples_of_the_granularity(context: Context) -> None:
    """An expiry that the backend can express is not rounded, in `set` and in `touch`."""
    step = context.capabilities.expiry_granularity
    first = math.ceil(context.clock.now / step) + math.ceil(DAY / step)
    for expires_at in ((first + count) * step for count in (0, 1, 2, 7)):
        context.expect(context.store.set("key", Record(b"data", expires_at)), True)
        _expect_exactly(context, expires_at)
        context.expect(context.store.touch("key", expires_at + 60 * step), True)
        _expect_exactly(context, expires_at + 60 * step)


def _expect_exactly(context: Context, expires_at: float) -> None:
    found = context.store.get("key")
    if not isinstance(found, Record) or abs(found.expires_at - expires_at) > MICROSECOND:
        context.fail(context.steps.show(Record(b"data", expires_at)), found)


@case(
    "EXPIRY-7",
    depends_on=(
        "GET-3",
        "SET-14",
    ),
    hint="the clock is kept in the class or the module, and the last store's one is everybody's.",
)
def each_store_has_its_clock(context: Context) -> None:
    """Of two stores with a clock each, time passes for the one whose clock is moved."""
    clock = Clock(context.clock.now)
    ahead = context.open("ahead", namespace=f"{context.namespace}ahead", clock=clock)
    context.put(life=1800)
    context.put(life=1800, store=ahead)
    clock.advance(3600)
    context.steps.note("3600 seconds pass for `ahead` alone")
    context.harness.advance(f"{context.namespace}ahead", 3600)
    context.expect_absent(store=ahead, about="on the clock that is ahead")
    if not context.capabilities.native_expiry:  # both may be on the one clock of their backend
        context.expect_data(b"data", about="on the clock that stands still")


@case("EXPIRY-7", depends_on=("SET-14",), hint="a lifetime is counted from the time of the system.")
def set_asks_the_clock(context: Context) -> None:
    """What is over on the store's clock is over, though the clock on the wall is not there yet."""
    context.advance(30 * DAY)
    context.expect(context.store.set("key", context.record(life=-DAY)), True)
    context.expect_absent()


def _expect_life_on(context: Context, now: float) -> None:
    """Expect that a record lives by a clock that is far from the one on the wall."""
    clock = Clock(now)
    store = context.open("distant", namespace=f"{context.namespace}distant", clock=clock)
    step = context.capabilities.expiry_granularity
    expires_at = math.ceil((now + 60) / step) * step if step else now + 60
    context.expect(store.set("key", Record(b"data", expires_at)), True)
    context.expect_data(b"data", store=store, about=f"at {now:.0f} by its clock")
    clock.advance(expires_at + 1 - now)
    context.steps.note("its time comes")
    context.expect_absent(store=store, about=f"at {expires_at + 1:.0f} by its clock")


@case(
    "EXPIRY-8",
    depends_on=(
        "GET-3",
        "GET-6",
    ),
    hint="a second look is taken at the system's time, by the store or by its backend.",
)
def long_ago(context: Context) -> None:
    """In the year 1970 by its clock a record lives its minute, and no longer."""
    _expect_life_on(context, 1000.0)


@case(
    "EXPIRY-8",
    depends_on=(
        "EXPIRY-4",
        "GET-3",
        "GET-6",
    ),
    hint="a second look is taken at the system's time, by the store or by its backend.",
)
def in_the_year_2100(context: Context) -> None:
    """In the year 2100 by its clock a record lives its minute, and no longer."""
    _expect_life_on(context, _YEAR_2100)


@case(
    "EXPIRY-8",
    depends_on=(
        "TOUCH-1",
        "GET-3",
        "GET-6",
    ),
    hint="`touch` and conditions are evaluated by the backend, on its own clock.",
)
def touch_long_ago(context: Context) -> None:
    """In the year 1970 by its clock a live record can be touched, and lives on."""
    clock = Clock(1020.0)
    store = context.open("distant", namespace=f"{context.namespace}distant", clock=clock)
    context.expect(store.set("key", Record(b"data", 1080.0)), True)
    context.expect(store.touch("key", 1200.0), True)
    clock.advance(70)
    context.expect_data(b"data", store=store)


@case("EXPIRY-9", hint="it is left to the backend, whose clock is another one.")
def late_backend(context: Context) -> None:
    """A record that has expired by the store's clock is absent before the backend removes it."""
    context.put(life=60)
    context.clock.advance(61)
    context.steps.note("61 seconds pass for the store, and not for its backend")
    context.expect_absent()


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
    """A `set` over a live record, whatever its condition, can make its life shorter."""
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
    """A `set` over a live record, whatever its condition, can make its life longer."""
    for number, only_if in enumerate((ALWAYS, PRESENT, Unchanged(b"data"))):
        context.put(f"key{number}", life=60)
        context.expect(context.store.set(f"key{number}", context.record(life=DAY), only_if), True)
    context.advance(61)
    for number in range(3):
        context.expect_data(b"data", f"key{number}")
