"""What every session store of coatcheck must pass: see :class:`Harness` to begin with.

Names are imported when they are asked for, because pytest loads this package in every project
that has it installed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .clock import Clock as Clock
    from .harness import ClientStore as ClientStore
    from .harness import Fault as Fault
    from .harness import Harness as Harness
    from .pytest_front_end import StoreConformance as StoreConformance

_WHERE: Final = {
    "ClientStore": "harness",
    "Clock": "clock",
    "Fault": "harness",
    "Harness": "harness",
    "StoreConformance": "pytest_front_end",
}

__all__ = ["ClientStore", "Clock", "Fault", "Harness", "StoreConformance"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_WHERE[name]}", __name__), name)
