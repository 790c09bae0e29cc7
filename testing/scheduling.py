"""Decide which tests pytest-xdist runs in the same process."""

from __future__ import annotations

import re
from typing import Final

from xdist.scheduler import LoadScopeScheduling

_WITH_A_FAILING_SERVER: Final = re.compile(
    r"(?P<store>.+)::test_clause\[(FAULT|SECRET)-.+-(?P<api>a?sync)\]"
)


class KitScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Run the kit's cases with a failing server in one process for each store and API.

    They depend on each other, and each process repeats the cases on which its cases depend. All
    other tests run in any process.
    """

    def _split_scope(self, nodeid: str) -> str:
        """Return the name of the group that a test belongs to."""
        found = _WITH_A_FAILING_SERVER.fullmatch(nodeid)
        return f"{found['store']} {found['api']}" if found else nodeid
