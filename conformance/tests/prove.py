"""Show what the kit finds in broken stores: ``python prove.py [NAME|CLAUSE ...]``."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator

from breaking import Broken, all_broken

from coatcheck_conformance.case import Case, all_cases
from coatcheck_conformance.handle import FaceName
from coatcheck_conformance.run import Run
from coatcheck_conformance.verdicts import Verdict


def prove(broken: Broken, *, every: int = 1) -> str:
    """Return what is wrong with the proof; empty if the kit finds exactly what is broken.

    :param every: how many of the cases that must not find anything are tried: all of them, every
        second one, and so on. Which ones differs from store to store.
    """
    problem = ""
    for seed in range(broken.seeds):
        problem = _tried(broken, seed, every)
        if not problem:
            break
    return problem


def _jobs(broken: Broken, every: int) -> Iterator[tuple[Case, FaceName]]:
    """Yield the cases that can find what is broken, and those that must not find anything.

    The latter with one of their faces each, in turn and with another store the other one, and
    without the case that waits: there are many broken stores.
    """
    for number, case in enumerate(all_cases().values(), len(broken.name)):
        if case.clause in broken.clauses:
            for face in case.faces:
                yield case, face
        elif not case.realtime and number // 2 % every == 0:
            yield case, case.faces[number % len(case.faces)]


def _tried(broken: Broken, seed: int, every: int) -> str:
    run = Run(broken.make_harness(), seed=seed)
    results = [run.result(case, face) for case, face in _jobs(broken, every)]
    run.finish()
    wrong = [result for result in results if result.verdict is Verdict.HARNESS_ERROR]
    if wrong:
        return f"harness error: {wrong[0].case}: {wrong[0].details or wrong[0].text}"
    failed = {result.clause for result in results if result.verdict is Verdict.FAILED}
    if failed == broken.clauses:
        return ""
    texts = [
        f"{result.case} ({result.face}): {result.text[:300]}"
        for result in results
        if result.verdict is Verdict.FAILED and result.clause not in broken.clauses
    ]
    missed = sorted(broken.clauses - failed)
    counted = Counter(
        (result.clause, result.verdict.value) for result in results if result.clause in missed
    )
    return f"not found: {missed} {dict(counted)}; found as well:\n    " + "\n    ".join(texts)


def main() -> int:
    wanted = sys.argv[1:]
    count = 0
    for one in all_broken():
        if wanted and one.name not in wanted and not set(wanted) & one.clauses:
            continue
        problem = prove(one)
        count += bool(problem)
        print(f"{one.name} ({', '.join(sorted(one.clauses))}): {problem or 'ok'}", flush=True)
    return 1 if count else 0


if __name__ == "__main__":
    raise SystemExit(main())
