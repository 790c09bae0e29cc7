"""The conformance kit on real servers, in pytest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from coatcheck_conformance._kit.harnesses import harness_for


def harness_on(start: Callable[[], AbstractContextManager[str]], option: str = "") -> Any:
    """Return a fixture that gives a subclass of `StoreConformance` its harness.

    ::

        on_server = harness_on(server, "socket_timeout=0.5")


        @pytest.mark.usefixtures("on_server")
        class TestOneServer(StoreConformance):
            pass

    :param start: yields the URL of a store on a server.
    :param option: of the URL: usually a shorter time limit than the store's own, so that the
        cases with a server that does not answer end early.
    """

    @pytest.fixture(scope="class")
    def on_server(request: pytest.FixtureRequest) -> Iterator[None]:
        with start() as url:
            joint = "&" if "?" in url else "?"
            request.cls.harness = harness_for(f"{url}{joint}{option}" if option else url)
            yield

    return on_server


def at_night(items: list[pytest.Item], conftest: str, chosen: Callable[[str, str], bool]) -> None:
    """Mark cases of the kit as `slow`, among the tests of one folder.

    :param conftest: the path of the folder's conftest.py, whose hook gets the items of all folders.
    :param chosen: tells for a clause and an API, ``sync`` or ``async``, whether it runs at night.
    """
    folder = Path(conftest).parent
    for item in items:
        clause = item.get_closest_marker("clause")
        if clause is None or item.path.parent != folder:
            continue
        api = item.name.rpartition("-")[2].removesuffix("]")
        if chosen(clause.args[0], api):
            item.add_marker(pytest.mark.slow)
