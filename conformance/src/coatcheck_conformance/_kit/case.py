"""Cases: each checks one clause, on one API at a time."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, TypeAlias

from .contract import Clause, clauses
from .handle import APIS, APIName
from .harness import FEATURES

if TYPE_CHECKING:
    from .context import Context

Check: TypeAlias = "Callable[[Context], None]"

#: Clauses that every other clause depends on.
FOUNDATION: Final = ("GET-1", "SET-1")


@dataclass(frozen=True, slots=True)
class Case:
    """A check of one clause.

    :ivar clause: the id of the clause.
    :ivar check: the function that checks it.
    :ivar depends_on: the prerequisites: clauses without which the case cannot be judged.
    :ivar apis: the APIs on which the case is run.
    :ivar needs: features of the harness; see :data:`~.harness.FEATURES`.
    :ivar requires: other capabilities that the case needs than that of its clause.
    :ivar hint: the most common cause of a failure.
    :ivar realtime: whether the case waits for the system's clock.
    :ivar limit: seconds after which the case counts as hanging.
    :ivar prerequisite: whether cases that depend on the clause also depend on this case. A case
        with a whole application uses many clauses, which must not depend on it in turn.
    """

    clause: str
    check: Check
    depends_on: tuple[str, ...]
    apis: tuple[APIName, ...]
    needs: tuple[str, ...]
    requires: tuple[str, ...]
    hint: str
    realtime: bool
    limit: float
    prerequisite: bool = True

    @property
    def id(self) -> str:
        """Return the clause's id and the function's name."""
        return f"{self.clause}.{self.check.__name__}"

    @property
    def sentence(self) -> str:
        """Return the docstring of the check as one line."""
        return " ".join((self.check.__doc__ or "").split())

    @property
    def of(self) -> Clause:
        """Return the clause."""
        return clauses()[self.clause]


_cases: dict[str, Case] = {}


def case(
    clause: str,
    *,
    depends_on: tuple[str, ...] = (),
    foundation: bool = True,
    apis: tuple[APIName, ...] = APIS,
    needs: tuple[str, ...] = (),
    requires: tuple[str, ...] = (),
    hint: str = "",
    realtime: bool = False,
    limit: float = 60.0,
    prerequisite: bool = True,
) -> Callable[[Check], Check]:
    """Register a function as a case.

    :param foundation: whether the case also depends on :data:`FOUNDATION`.
    :raises ValueError: the clause or a feature does not exist, or the case is registered twice.
    """

    def register(check: Check) -> Check:
        needed = (*(id for id in FOUNDATION if foundation and id != clause), *depends_on)
        made = Case(
            clause, check, needed, apis, needs, requires, hint, realtime, limit, prerequisite
        )
        for id in (clause, *needed):
            if id not in clauses():
                raise ValueError(f"{made.id}: the contract has no clause {id}")
        for feature in needs:
            if feature not in FEATURES:
                raise ValueError(f"{made.id}: there is no feature {feature!r}")
        if clause in needed:
            raise ValueError(f"{made.id} depends on its own clause")
        if made.id in _cases:
            raise ValueError(f"there are two cases {made.id}")
        if not made.sentence:
            raise ValueError(f"{made.id} has no docstring")
        _cases[made.id] = made
        return check

    return register


@cache
def all_cases() -> dict[str, Case]:
    """Return every case by its id, in the order of the contract."""
    from . import cases

    for module in pkgutil.iter_modules(cases.__path__):
        importlib.import_module(f"{cases.__name__}.{module.name}")
    order = list(clauses())
    return dict(sorted(_cases.items(), key=lambda item: order.index(item[1].clause)))


@cache
def cases_of(clause: str) -> tuple[Case, ...]:
    """Return the cases of a clause."""
    return tuple(case for case in all_cases().values() if case.clause == clause)
