"""Give store authors the parts that every store needs.

A store package imports from ``coatcheck``, :mod:`coatcheck.errors` and this module, and from
no other module of the core. A codec of its own may need :mod:`coatcheck.codec`. This module has:

- Checks of arguments and conditions: :func:`check_key`, :func:`check_owner`, :func:`check_record`,
  :func:`check_expiry`, :func:`is_text`, :func:`condition_holds`.
- One description of a store's operations for its sync API and its async API:
  :class:`GeneratorStore` and :class:`AsyncGeneratorStore`.
- Clients, one for each process and event loop: :class:`ClientPerProcess`,
  :class:`ClientPerLoop`, :class:`BorrowedClient`, :class:`SingleProcessClient`,
  :class:`SingleLoopClient`.
- Options in store URLs: :func:`split_url`, :func:`parse_options`, and a parser for each kind of
  value, such as :func:`integer_option`.
- Exceptions of signal handlers: :func:`interruption`, :func:`raise_interruption`, and
  :class:`Places`, a semaphore that they cannot break.
- :class:`Transaction`, for stores whose calls can be part of a transaction of the application's.
- The bridges between the two APIs: :func:`as_sync` and :func:`as_async`.

docs/writing-a-store.md shows how the pieces fit together, and
docs/decisions/2026-11-30-storekit.md has the reasons.
"""

from typing import TYPE_CHECKING

from .._stores.bridge import THREADS as WORKER_THREADS
from .._stores.bridge import AsyncBridge, SyncBridge, as_async, as_sync
from .._stores.interruptions import Place, Places, interruption, raise_interruption
from ..store import (
    MAX_KEY_LENGTH,
    Presence,
    Transaction,
    check_expiry,
    check_key,
    check_owner,
    check_record,
    condition_holds,
    is_text,
)
from ._clients import BorrowedClient, ClientPerProcess, SingleProcessClient
from ._generators import (
    AsyncClientProvider,
    AsyncGeneratorStore,
    BaseGeneratorStore,
    ClientProvider,
    GeneratorStore,
    Listing,
    Requests,
    StoreOperations,
)
from ._url_options import (
    choice_option,
    flag_option,
    integer_option,
    parse_options,
    seconds_option,
    split_url,
    text_option,
)

if TYPE_CHECKING:
    from ._loop_clients import ClientPerLoop, SingleLoopClient, close_socket

__all__ = [
    "MAX_KEY_LENGTH",
    "WORKER_THREADS",
    "AsyncBridge",
    "AsyncClientProvider",
    "AsyncGeneratorStore",
    "BaseGeneratorStore",
    "BorrowedClient",
    "ClientPerLoop",
    "ClientPerProcess",
    "ClientProvider",
    "GeneratorStore",
    "Listing",
    "Place",
    "Places",
    "Presence",
    "Requests",
    "SingleLoopClient",
    "SingleProcessClient",
    "StoreOperations",
    "SyncBridge",
    "Transaction",
    "as_async",
    "as_sync",
    "check_expiry",
    "check_key",
    "check_owner",
    "check_record",
    "choice_option",
    "close_socket",
    "condition_holds",
    "flag_option",
    "integer_option",
    "interruption",
    "is_text",
    "parse_options",
    "raise_interruption",
    "seconds_option",
    "split_url",
    "text_option",
]

#: These need asyncio. Its import takes longer than all others here, and sync stores do not need it.
_WITH_ASYNCIO = ("ClientPerLoop", "SingleLoopClient", "close_socket")


def __getattr__(name: str) -> object:
    if name in _WITH_ASYNCIO:
        from . import _loop_clients as loop_clients

        return getattr(loop_clients, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
