"""EXPIRY-4 to EXPIRY-6: which instants are stored, and how they are rounded."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from coatcheck import Record

from ..case import case
from ..clock import DAY, YEAR_2100
from ..context import MICROSECOND, Context
from ..failure import Skipped
from .expiry import exact_expiry

#: Central European time by its rule, which needs no zone files.
_ZONE: Final = "CET-1CEST,M3.5.0,M10.5.0/3"


def _far_expiries(context: Context) -> list[float]:
    """Return expiries that overflow 32 bits in several units, in the order of time."""
    days = [25, 50, 401]  # 2^31 milliseconds, 2^32 milliseconds, what a cookie may last
    instants = [2.0**31 + 60, YEAR_2100 + 60, 2.0**32 + 60]
    return [exact_expiry(context, days * DAY) for days in days] + [
        exact_expiry(context, instant - context.clock.now) for instant in instants
    ]


@case(
    "EXPIRY-4",
    depends_on=(
        "GET-5",
        "GET-6",
    ),
    hint="a lifetime in milliseconds, or a time in seconds, is stored in 32 bits.",
)
def far_expiries_of_set(context: Context) -> None:
    """`set` keeps expiries in 25, 50 and 401 days, and in 2038, 2100 and 2106."""
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
    hint="a lifetime in milliseconds, or a time in seconds, is stored in 32 bits.",
)
def far_expiries_of_touch(context: Context) -> None:
    """`touch` keeps expiries in 25, 50 and 401 days, and in 2038, 2100 and 2106."""
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
    hint="a lifetime in milliseconds, or a time in seconds, is stored in 32 bits.",
)
def far_lives_last(context: Context) -> None:
    """Records live until expiries in 25, 50 and 401 days, and in 2038, 2100 and 2106."""
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
    """Expect that the stored expiry of ``key`` is a permitted rounding of the given one."""
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
    hint="the expiry is rounded up, to the nearest, or more coarsely than declared.",
)
def fractions_of_seconds_in_set(context: Context) -> None:
    """`set` stores a fractional expiry never later, and earlier by less than the granularity."""
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
    hint="`touch` rounds differently from `set`.",
)
def fractions_of_seconds_in_touch(context: Context) -> None:
    """`touch` stores a fractional expiry never later, and earlier by at most its granularity."""
    context.put()
    for fraction in _FRACTIONS:
        expires_at = context.clock.now + 2 * DAY + fraction
        context.expect(context.store.touch("key", expires_at), True)
        _expect_expiry(context, expires_at)


@contextmanager
def _far_from_greenwich() -> Iterator[None]:
    """Put this process into the time zone of Central Europe, with its end of summer time."""
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
    """Return the two instants of next year that clocks in Central Europe show as the same time."""
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
    hint="a local time is stored without its zone.",
)
def in_a_time_zone(context: Context) -> None:
    """The process's time zone and the end of summer time do not move an expiry."""
    with _far_from_greenwich():
        for expires_at in (context.clock.now + DAY, *_repeated_hour(context.clock.now)):
            context.expect(context.store.set("key", Record(b"data", expires_at)), True)
            _expect_expiry(context, expires_at)


@case("EXPIRY-6", depends_on=("EXPIRY-5",), hint="half a step is subtracted, to be safe.")
def multiples_of_the_granularity(context: Context) -> None:
    """`set` and `touch` do not round an expiry that the backend can store exactly."""
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
