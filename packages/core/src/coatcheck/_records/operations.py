"""Define the operations that generators yield and runners execute.

A generator says ``record = yield Get(key)``, and a runner of :mod:`coatcheck._stores.runners` makes
the call on a sync or an async store. So rules are written once, and without I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeAlias, TypeVar

from ..store import ALWAYS, AsyncStore, Condition, Record, Store
from .writers import Writer

T = TypeVar("T")


class StoreCall:
    """Call an operation of the store. The result of the ``yield`` is the operation's."""

    __slots__ = ("args", "name")

    name: str
    args: tuple[Any, ...]


class Get(StoreCall):
    """Call ``store.get``."""

    __slots__ = ()

    def __init__(self, key: str) -> None:
        self.name = "get"
        self.args = (key,)


class Set(StoreCall):
    """Call ``store.set``."""

    __slots__ = ()

    def __init__(self, key: str, record: Record, only_if: Condition) -> None:
        self.name = "set"
        self.args = (key, record, only_if)


class Destroy(StoreCall):
    """Call ``store.destroy``."""

    __slots__ = ()

    def __init__(self, key: str, only_if: Condition = ALWAYS) -> None:
        self.name = "destroy"
        self.args = (key, only_if)


class Touch(StoreCall):
    """Call ``store.touch``."""

    __slots__ = ()

    def __init__(self, key: str, expires_at: float, owner: str | None) -> None:
        self.name = "touch"
        self.args = (key, expires_at, owner)


class Select:
    """Iterate with ``store.all`` or ``store.owned_by``, and return a list of items.

    :ivar keep: tells whether an item belongs into the result.
    :ivar first: whether to stop at the first item of the result.
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
    """Call an operation of the store, and finish the call even if the request is cancelled.

    The request is cancelled after the call.
    """

    __slots__ = ("call",)

    def __init__(self, call: StoreCall) -> None:
        self.call = call


class Elsewhere:
    """Call an operation of another store than that of the sessions.

    :ivar store_of: whose store it is: an :class:`~coatcheck.old_sessions.OldSessions`.
    """

    __slots__ = ("call", "store_of")

    def __init__(self, call: StoreCall, store_of: object) -> None:
        self.call = call
        self.store_of = store_of


class OnStore:
    """Run operations on another store. The result of the ``yield`` is the generator's.

    :ivar store: the store. Its writers take no turns with those of the session's own store.
    :ivar operations: a generator of operations.
    """

    __slots__ = ("operations", "store")

    def __init__(self, store: Store | AsyncStore, operations: Operations[Any]) -> None:
        self.store = store
        self.operations = operations


class Turn:
    """Wait for a writer's turn among those of this process that write the same session.

    The wait ends when the writer leads, when another writer has settled its change, or after
    ``seconds``.

    :ivar call: a call of the store that the writer makes at once if it meets no other writer. Then
        the result is that of the call, otherwise None. On a store that answers at once, the call
        is made without a place in line, because no other writer could wait for it.
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


Operation: TypeAlias = StoreCall | ToTheEnd | Elsewhere | OnStore | Select | Turn | Sleep

#: A generator of operations that returns a ``T``.
Operations: TypeAlias = Generator[Operation, Any, T]
