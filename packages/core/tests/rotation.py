"""A secret is replaced while old and new processes serve the same visitors.

The rules are told once, for coatcheck's own sessions and for those of other programs.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from webclient import Clock, SyncClient

from coatcheck import MemoryStore, SessionOptions

DOCUMENT = Path(__file__).parents[3] / "docs" / "how-to" / "rotate-secret.md"
SECRETS = {
    "old": "the old secret, of 32 bytes or more",
    "new": "the new secret, of 32 bytes or more",
}
LIFETIME = 3600


def documented_steps() -> list[list[str]]:
    """Return the values of `secret`, step by step, as the page has them."""
    section = DOCUMENT.read_text().partition("## The steps\n")[2].partition("\n## ")[0]
    steps = re.findall(r"^\d\. `secret=\[([a-z, ]+)\]`", section, re.MULTILINE)
    return [["old"], *(step.split(", ") for step in steps)]


def act(session: Any, request: Any) -> str:
    """Log in, or say who is logged in."""
    path = request.get("path") or request["PATH_INFO"]
    if path.startswith("/login/"):
        session.regenerate()
        session["user"] = path.removeprefix("/login/")
    return str(session.get("user"))


class Site:
    """Processes with different secrets, one store and one clock."""

    def __init__(self, make: Callable[..., Any], options: Callable[..., SessionOptions]) -> None:
        self.make, self.options = make, options
        self.clock = Clock(time.time())  # the jar drops cookies whose Expires is past
        self.store = MemoryStore(clock=self.clock)
        self.visitors: list[SyncClient] = []

    def process(self, names: list[str]) -> Any:
        secret = [SECRETS[name] for name in names]
        options = self.options(secret=secret, store=self.store, clock=self.clock)
        return self.make(act, options=options, secret=options.secret)

    def login(self, process: Any) -> None:
        visitor = SyncClient(process)
        visitor.get(f"/login/user{len(self.visitors)}")
        self.visitors.append(visitor)

    def seen(self, process: Any) -> list[str]:
        """Return who each visitor is to a process. Each takes along the cookie that it gets."""
        users = []
        for number, visitor in enumerate(self.visitors):
            there = SyncClient(process, cookies=visitor.cookies)
            users.append(there.get("/").text)
            self.visitors[number] = there
        return users

    def known(self) -> list[str]:
        return [f"user{number}" for number in range(len(self.visitors))]


class RotationRules:
    """The rules, for subclasses whose names begin with ``Test``; they have a fixture ``site``."""

    def test_the_documented_order_logs_nobody_out(self, site: Site) -> None:
        """At each step processes of before and after serve all visitors, in turn and new ones."""
        steps = documented_steps()
        assert [len(step) for step in steps] == [1, 2, 2, 1]
        for before, after in pairwise(steps):
            if len(after) == 1:
                # One lifetime between the last two steps, in which the visitors who stay come by.
                for _ in range(4):
                    site.clock.advance(LIFETIME / 3)
                    assert site.seen(site.process(before)) == site.known()
            fleet = [site.process(before), site.process(after)]
            for process in fleet:
                site.login(process)
            for process in fleet * 2:
                assert site.seen(process) == site.known()
        [names] = steps[-1:]
        assert (names, site.seen(site.process(names))) == (["new"], site.known())

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (["old"], ["new", "old"]),
            (["old"], ["new"]),
            (["old", "new"], ["new"]),
        ],
        ids=str,
    )
    def test_another_order_logs_people_out(
        self, site: Site, before: list[str], after: list[str]
    ) -> None:
        """The walk sees it: somebody is unknown to one of the processes."""
        fleet = [site.process(before), site.process(after)]
        for process in fleet:
            site.login(process)
        seen = [site.seen(process) for process in fleet * 2]
        assert any(users != site.known() for users in seen)

    def test_a_stranger_that_never_came_back_is_over_anyway(self, site: Site) -> None:
        """One lifetime after the new secret has come first, no live session needs the old one."""
        site.login(site.process(["old", "new"]))
        site.clock.advance(LIFETIME + 1)
        assert site.seen(site.process(["new", "old"])) == ["None"]
