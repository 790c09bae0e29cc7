"""What the generators of the lifecycle and the http engine yield.

A generator says ``record = yield Get(key)`` and a runner does it, on a synchronous or an
asynchronous store. Rules are written once, and without I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeAlias, TypeVar

from .store import ALWAYS, Condition, Record
from .writers import Writer

T = TypeVar("T")


class StoreCall:
    """Call an operation of the store; the result is the operation's."""

    __slots__ = ("args", "name")

    name: str
    args: tuple[Any, ...]


class Get(StoreCall):
    """``store.get``."""

    __slots__ = ()

    def __init__(self, key: str) -> None:
        self.name = "get"
        self.args = (key,)


class Set(StoreCall):
    """``store.set``."""

    __slots__ = ()

    def __init__(self, key: str, record: Record, only_if: Condition) -> None:
        self.name = "set"
        self.args = (key, record, only_if)


class Destroy(StoreCall):
    """``store.destroy``."""

    __slots__ = ()

    def __init__(self, key: str, only_if: Condition = ALWAYS) -> None:
        self.name = "destroy"
        self.args = (key, only_if)


class Touch(StoreCall):
    """``store.touch``."""

    __slots__ = ()

    def __init__(self, key: str, expires_at: float, owner: str | None) -> None:
        self.name = "touch"
        self.args = (key, expires_at, owner)


class Select:
    """Iterate with ``store.all`` or ``store.owned_by``; the result is the list of what was kept.

    :ivar keep: tells whether an item belongs into the result.
    :ivar first: stop at the first one.
    """

    __slots__ = ("args", "first", "keep", "name")

    def __init__(
        self,
        name: str,
        *args: str,
        keep: Callable[[tuple[str, Record]], bool] = lambda _: True,
        first: bool = False,
    ) -> None:
        self.name = name
        self.args = args
        self.keep = keep
        self.first = first


class ToTheEnd:
    """Call an operation of the store, and let nothing cut the call short.

    A request that is cancelled meanwhile is cancelled afterwards.
    """

    __slots__ = ("call",)

    def __init__(self, call: StoreCall) -> None:
        self.call = call


class Turn:
    """Wait for a writer's turn among those of this process that write the same session.

    It is over when the writer leads, when another one has settled its change, or after ``seconds``.

    :ivar call: what a writer does that meets nobody; the result is the call's then, else None. On a
        store that answers at once it is done without standing in line, where nobody could wait.
    :ivar is_called: whether the call was begun.
    """

    __slots__ = ("call", "is_called", "key", "seconds", "writer")

    def __init__(
        self, key: str, writer: Writer, seconds: float, call: StoreCall | None = None
    ) -> None:
        self.key = key
        self.writer = writer
        self.seconds = seconds
        self.call = call
        self.is_called = False


class Sleep:
    """Wait for a number of seconds."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


Operation: TypeAlias = StoreCall | ToTheEnd | Select | Turn | Sleep

#: A generator of operations that returns a ``T``.
Operations: TypeAlias = Generator[Operation, Any, T]
