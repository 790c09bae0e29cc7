"""Check that a session store keeps the Store contract: begin with :class:`Harness`.

Names are imported when they are first used, because pytest loads this package in every project
that has it installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["ClientStore", "Clock", "Fault", "Harness", "HarnessError", "StoreConformance"]

if TYPE_CHECKING:
    from ._kit.clock import Clock
    from ._kit.failure import HarnessError
    from ._kit.harness import ClientStore, Fault, Harness
    from ._kit.pytest_front_end import StoreConformance
else:
    _MODULES = {
        "ClientStore": "harness",
        "Clock": "clock",
        "Fault": "harness",
        "Harness": "harness",
        "HarnessError": "failure",
        "StoreConformance": "pytest_front_end",
    }

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        return getattr(importlib.import_module(f"._kit.{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
