"""Mutation tests of the kit: each mutant is a store with one fault, and names its clauses.

``python conformance/tests/mutation.py [NAME|CLAUSE ...]`` shows what the kit finds in mutants.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from coatcheck import AsyncStore, Store
from coatcheck_conformance import Harness
from coatcheck_conformance._kit.case import Case, all_cases
from coatcheck_conformance._kit.handle import APIName
from coatcheck_conformance._kit.harnesses import MemoryHarness
from coatcheck_conformance._kit.run import Run
from coatcheck_conformance._kit.verdicts import Result, Verdict


@dataclass(frozen=True)
class Mutant:
    """A store with one fault.

    :ivar clauses: the clauses that must fail.
    :ivar make_harness: returns a harness that opens the store.
    :ivar seeds: how many seeds are tried at most. It is more than one if chance must find the
        fault: another release of Hypothesis may choose differently, and threads do not always race.
    :ivar by_chance: clauses whose cases find the fault now and then, because they race. They are
        not run.
    """

    name: str
    clauses: frozenset[str]
    make_harness: Callable[[], Harness]
    seeds: int = 1
    by_chance: frozenset[str] = frozenset()


class StoreClassHarness(MemoryHarness):
    """Open a subclass of the memory store, or another store with the same constructor."""

    def __init__(self, store_class: Callable[..., Store | AsyncStore]) -> None:
        super().__init__()
        self.store_class = store_class

    def url(self, namespace: str) -> str:
        return "memory:"

    def open(self, namespace: str, clock: Callable[[], float]) -> Any:
        if namespace not in self._stores:
            self._stores[namespace] = self.store_class(clock=clock)
        return self._stores[namespace]


_mutants: list[Mutant] = []


def mutant(
    *clauses: str,
    harness: Callable[[Any], Harness] = StoreClassHarness,
    seeds: int = 1,
    by_chance: tuple[str, ...] = (),
) -> Callable[[Any], Any]:
    """Make a class a mutant.

    :param clauses: the clauses that must fail.
    :param harness: makes the harness from the class.
    :param seeds: how many seeds are tried at most.
    :param by_chance: clauses that fail now and then.
    """

    def register(store_class: Any) -> Any:
        name, makes = store_class.__name__, lambda: harness(store_class)
        _mutants.append(Mutant(name, frozenset(clauses), makes, seeds, frozenset(by_chance)))
        return store_class

    return register


def all_mutants() -> list[Mutant]:
    """Return every mutant."""
    import mutants as package

    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"mutants.{module.name}")
    return _mutants


def problem_with(mutant: Mutant, *, every: int) -> str:
    """Run the kit on a mutant, and return what it missed or wrongly found; empty if nothing.

    :param every: how many of the cases that must not find anything are tried: 1 means all of them,
        2 every second one, and so on. The choice differs between mutants. Cases that find the fault
        are tried until it is found, and with 1 all of them.
    """
    problem = ""
    for seed in range(mutant.seeds):
        problem = _problem_with(mutant, seed, every)
        if not problem:
            break
    return problem


def _finders(mutant: Mutant) -> Iterator[tuple[Case, APIName]]:
    """Yield the cases that must find the fault."""
    for case in all_cases().values():
        if case.clause in mutant.clauses:
            for api in case.apis:
                yield case, api


def _others(mutant: Mutant, every: int) -> Iterator[tuple[Case, APIName]]:
    """Yield cases that must not find anything.

    They run on one API each, because there are many mutants. The case that waits for the system's
    clock is left out.
    """
    for number, case in enumerate(all_cases().values(), zlib.crc32(mutant.name.encode())):
        chosen = number // 2 % every == 0 and not case.realtime
        if chosen and case.clause not in mutant.clauses | mutant.by_chance:
            yield case, case.apis[number % len(case.apis)]


def _problem_with(mutant: Mutant, seed: int, every: int) -> str:
    run = Run(mutant.make_harness(), seed=seed)
    results = []
    for case, api in _finders(mutant):
        results.append(run.result(case, api))
        if every > 1 and _failed(results) == mutant.clauses:
            break  # the fault is found
    results += [run.result(case, api) for case, api in _others(mutant, every)]
    run.finish()
    wrong = [result for result in results if result.verdict is Verdict.HARNESS_ERROR]
    if wrong:
        return f"harness error: {wrong[0].case}: {wrong[0].details or wrong[0].text}"
    failed = _failed(results)
    if failed == mutant.clauses:
        return ""
    texts = [
        f"{result.case} ({result.api}): {result.text[:300]}"
        for result in results
        if result.verdict is Verdict.FAILED and result.clause not in mutant.clauses
    ]
    missed = sorted(mutant.clauses - failed)
    counted = Counter(
        (result.clause, result.verdict.value) for result in results if result.clause in missed
    )
    return f"not found: {missed} {dict(counted)}; found as well:\n    " + "\n    ".join(texts)


def _failed(results: list[Result]) -> set[str]:
    return {result.clause for result in results if result.verdict is Verdict.FAILED}


def main() -> int:
    """Run the command line, and return the exit status."""
    wanted = set(sys.argv[1:])
    known = {name for one in all_mutants() for name in (one.name, *one.clauses)}
    if unknown := wanted - known:
        print(f"error: no mutant and no clause is {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    count = 0
    for one in all_mutants():
        if wanted and one.name not in wanted and not wanted & one.clauses:
            continue
        problem = problem_with(one, every=1)
        count += bool(problem)
        print(f"{one.name} ({', '.join(sorted(one.clauses))}): {problem or 'ok'}", flush=True)
    return 1 if count else 0


if __name__ == "__main__":
    # The mutants import this module by its name.
    from mutation import main as main_of_module

    raise SystemExit(main_of_module())
