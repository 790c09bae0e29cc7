"""FAULT-13 and FAULT-14: calls that are repeated because a reply was lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from coatcheck import ABSENT, ALWAYS, Unchanged

from ..case import case
from ..context import Context
from ..faults import attempt, expect_store_error_at_most, through_proxy


@dataclass(frozen=True, slots=True)
class _Write:
    """A write whose condition holds.

    :ivar name: describes it in texts.
    :ivar prepare: makes its condition hold.
    :ivar call: the operation and its arguments.
    :ivar again: another caller's write, after which the condition no longer holds.
    """

    name: str
    prepare: Callable[[], object]
    call: tuple[Any, ...]
    again: tuple[Any, ...]


def _conditional_writes(context: Context) -> Sequence[_Write]:
    new, other = context.record(b"new"), context.record(b"other")

    def ready() -> None:
        context.put(data=b"old")

    def nothing() -> None:
        context.store.destroy("key")

    over = ("set", "key", other)
    return (
        _Write("set with ABSENT", nothing, ("set", "key", new, ABSENT), over),
        _Write("set with Unchanged", ready, ("set", "key", new, Unchanged(b"old")), over),
        _Write("destroy with Unchanged", ready, ("destroy", "key", Unchanged(b"old")), ()),
        _Write("destroy", ready, ("destroy", "key"), ()),
    )


@case(
    "FAULT-13",
    depends_on=("SET-3", "SET-7", "DESTROY-6"),
    needs=("address",),
    limit=120,
    hint="a client library that repeats commands: because of the first attempt the condition "
    "no longer holds. Give each write a token that the repetition finds.",
)
def false_after_a_lost_reply(context: Context) -> None:
    """A write that was done returns True or raises, even if its reply was lost."""
    for write in _conditional_writes(context):
        outcome = _met_by_a_loss(context, write, "reply")
        _expect_not(context, outcome, False, f"the reply to {write.name} was lost")


@case(
    "FAULT-13",
    depends_on=("SET-3", "SET-7", "DESTROY-6"),
    needs=("address",),
    limit=120,
    hint="a repetition that recognises its own write only until somebody overwrites it.",
)
def false_after_a_lost_reply_and_another_write(context: Context) -> None:
    """A write that was done, and overwritten before it was repeated, returns True or raises."""
    for write in _conditional_writes(context):
        if write.again:
            outcome = _met_by_a_loss(context, write, "reply", write.again)
            _expect_not(
                context, outcome, False, f"the reply to {write.name} was lost, and another followed"
            )


@case(
    "FAULT-14",
    depends_on=("SET-3", "SET-7", "DESTROY-6"),
    needs=("address",),
    limit=120,
    hint="a repetition that takes another caller's equal data, or removal, for its own.",
)
def true_for_what_another_did(context: Context) -> None:
    """A write that was lost while another caller did the same returns False or raises."""
    for write in _conditional_writes(context):
        outcome = _met_by_a_loss(context, write, "request", write.call)
        _expect_not(
            context, outcome, True, f"{write.name} was lost on its way, and another did the same"
        )


def _met_by_a_loss(
    context: Context,
    write: _Write,
    what: Literal["request", "reply"],
    meanwhile: tuple[Any, ...] = (),
) -> Any:
    """Return what a write returns if its request or the reply is lost, once.

    :param meanwhile: what another caller does before the client notices the loss.
    """
    with through_proxy(context) as (store, proxy):
        proxy = context.need(proxy, "there is no proxy")
        # The first writes prepare what the store needs: connections, scripts, indexes.
        for number in range(2):
            attempt(store, "set", f"other{number}", context.record(b"old"), ABSENT)
            attempt(store, "set", f"other{number}", context.record(b"new"), Unchanged(b"old"))
        for condition in (Unchanged(b"new"), ALWAYS):
            attempt(store, "destroy", "other0", condition)
        write.prepare()
        other = context.open("another", api="sync")  # the proxy calls it in another thread

        def act() -> None:
            if meanwhile:
                attempt(other, *meanwhile)

        context.steps.note(f"the next {what} is lost, once")
        with proxy.losing(what, act):
            return attempt(store, *write.call)


def _expect_not(context: Context, outcome: object, wrong: bool, about: str) -> None:
    if isinstance(outcome, Exception):
        expect_store_error_at_most(context, outcome)
    elif outcome is wrong:
        context.fail(f"after this: {about}: {not wrong} or StoreError", outcome)
