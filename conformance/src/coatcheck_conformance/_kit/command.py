"""The kit on the command line: ``python -m coatcheck_conformance URL``."""

from __future__ import annotations

import argparse
import logging
import signal
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from coatcheck import Capabilities
from coatcheck.errors import CoatcheckError

from . import contract, report
from .case import cases_of
from .deviations import deviations_of, read_deviations
from .failure import HarnessError
from .harness import Harness, resolve
from .harnesses import harness_for
from .run import Run, every_job
from .verdicts import Conformance, Outcome, Verdict, conformance, outcomes

#: Characters of a line of the table if the output is not a terminal.
_WIDTH: Final = 160
#: The exit status of each verdict; 2 also means a wrong command line.
_STATUS: Final = {
    Conformance.CONFORMANT: 0,
    Conformance.PARTIAL: 1,
    Conformance.NOT_CONFORMANT: 1,
    Conformance.ERROR: 2,
}
_STYLES: Final = {
    Verdict.PASSED: "green",
    Verdict.FAILED: "bold red",
    Verdict.HARNESS_ERROR: "bold red",
    Verdict.DEPENDENCY_FAILED: "red",
    Verdict.DEVIATION: "yellow",
    Verdict.SKIPPED: "yellow",
    Verdict.NOT_SUPPORTED: "dim",
}


def main(arguments: Sequence[str]) -> int:
    """Run the command line.

    :returns: 0 if the store is conformant, 1 if it is not, 2 if it was not judged.
    """
    parsed = _parser().parse_args(arguments)
    if parsed.explain is not None:
        return _explain(parsed.explain)
    if parsed.url is None and parsed.harness is None:
        _parser().error("a URL is needed, or --harness")
    _check_selection(parsed.only)
    # SIGTERM ends a run like Ctrl-C: harnesses stop their servers.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A store's log lines about faults that the kit causes are not interesting.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        run = _prepared(parsed)
    except (HarnessError, CoatcheckError, OSError) as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False)
        return 2
    return _judge(run, parsed, arguments)


def _prepared(parsed: argparse.Namespace) -> Run:
    """Return the run that the command line asks for."""
    harness = _harness(parsed.url, parsed.harness)
    deviations = (
        deviations_of(harness) if parsed.deviations is None else read_deviations(parsed.deviations)
    )
    if parsed.report is not None:
        parsed.report.mkdir(parents=True, exist_ok=True)  # a wrong path fails at once
    return Run(harness, deviations=deviations, seed=parsed.seed)


def _judge(run: Run, parsed: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Run the cases, show and write the results, and return the exit status."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)  # a file or a log has no width
    started = time.perf_counter()
    try:
        _perform(run, console, parsed.only)
    except KeyboardInterrupt:
        Console(stderr=True).print("ended by a signal: not judged", style="red")
        return _STATUS[Conformance.ERROR]
    finally:
        run.finish()
    judged = outcomes(run.results(), run.capabilities or Capabilities())
    _show(judged, run, console, everything=parsed.verbose)
    if parsed.report is not None:
        document = report.describe(run, arguments, time.perf_counter() - started)
        report.write(document, parsed.report)
        console.print(f"report: {parsed.report / 'report.html'}", markup=False, highlight=False)
    return _STATUS[conformance(judged)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m coatcheck_conformance",
        description="Check a session store against the Store contract of coatcheck.",
        epilog="Exit status: 0 conformant, 1 not conformant or not wholly verified, 2 not judged.",
    )
    add = parser.add_argument
    add(
        "url",
        nargs="?",
        help="the URL of the store, as an application opens it; the kit works in namespaces of "
        "its own, whose names replace `{namespace}` if the package has no harness",
    )
    report = "write report.json, .md, .html, junit.xml, badge.json"
    add("--report", type=Path, metavar="DIR", help=report)
    add("--harness", metavar="MODULE:CLASS", help="use this harness, and not the package's")
    deviations = "the clauses that the store does not meet (TOML)"
    add("--deviations", type=Path, metavar="FILE", help=deviations)
    add("--seed", type=int, default=0, help="the seed of random choices")
    only = "check only this clause or group; may be given several times"
    add("--only", action="append", default=[], metavar="CLAUSE", help=only)
    add("--verbose", action="store_true", help="also list the clauses that passed")
    add("--explain", metavar="CLAUSE", help="explain a clause, and how it is checked")
    return parser


def _check_selection(names: Sequence[str]) -> None:
    known = {name for clause in contract.clauses().values() for name in (clause.id, clause.group)}
    for name in names:
        if name.upper() not in known:
            _parser().error(f"the contract has no clause and no group {name}")


def _explain(id: str) -> int:
    clause = contract.clauses().get(id.upper())
    if clause is None:
        Console(stderr=True).print(f"error: the contract has no clause {id}", markup=False)
        return 2
    wrapped: Callable[[str], str] = lambda text: textwrap.fill(  # noqa: E731  # used below alone
        text, 96, initial_indent="  ", subsequent_indent="  "
    )
    bound = "every store" if clause.capability == "-" else f"stores with {clause.capability}"
    lines = [
        f"{clause.id} ({clause.level}, {bound}), contract {contract.version()}",
        "",
        wrapped(clause.obligation),
        wrapped(f"Why: {clause.reason}"),
        "",
        *(f"  checked by {case.id}: {case.sentence}" for case in cases_of(clause.id)),
    ]
    hints = dict.fromkeys(case.hint for case in cases_of(clause.id) if case.hint)
    lines += ["", *(f"  usual cause: {hint}" for hint in hints)] if hints else []
    Console().print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
    return 0


def _harness(url: str | None, reference: str | None) -> Harness:
    if reference is None:
        assert url is not None, "the command line has been checked"
        return harness_for(url)
    harness = resolve(reference)
    if not (isinstance(harness, type) and issubclass(harness, Harness)):
        raise HarnessError(f"`{reference}` is not a subclass of Harness")
    return harness(url) if url is not None else harness()


def _perform(run: Run, console: Console, only: Sequence[str]) -> None:
    wanted = {name.upper() for name in only}
    jobs = [
        (case, api)
        for case, api in every_job()
        if not wanted or wanted & {case.clause, case.of.group}
    ]
    columns = (
        TextColumn("{task.description:<48}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("the harness", total=len(jobs))
        run.check_harness()
        for case, api in jobs:
            progress.update(task, description=f"{case.id}"[:48])
            result = run.result(case, api)
            progress.advance(task)
            if result.verdict is Verdict.HARNESS_ERROR and run.check_harness()[1]:
                break  # none of the following cases can be judged


def _show(judged: Sequence[Outcome], run: Run, console: Console, *, everything: bool) -> None:
    verdict, why = run.check_harness()
    if verdict is not Verdict.PASSED:
        console.print(f"[bold red]{verdict.value}[/]: {escape(why)}")
    else:
        _show_details(judged, console)
        console.print(_table(judged, everything=everything))
    _show_sum(judged, run, console)


def _show_details(judged: Sequence[Outcome], console: Console) -> None:
    for outcome in judged:
        for result in outcome.results:
            if result.details and result.verdict in (Verdict.FAILED, Verdict.HARNESS_ERROR):
                console.print(
                    result.details, markup=False, highlight=False, end="\n\n", soft_wrap=True
                )


def _table(judged: Sequence[Outcome], *, everything: bool) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("clause", "level", "verdict", "remark"):
        table.add_column(heading, no_wrap=heading != "remark")
    quiet = () if everything else (Verdict.PASSED, Verdict.NOT_SUPPORTED)
    for outcome in judged:
        if outcome.verdict in quiet or not outcome.results:
            continue  # nothing to report, or left out by `--only`
        remark = next(
            (result.text for result in outcome.results if result.verdict is outcome.verdict), ""
        )
        style = _STYLES[outcome.verdict]
        clause = outcome.clause
        table.add_row(
            clause.id, clause.level, f"[{style}]{outcome.verdict.value}[/]", escape(remark[:300])
        )
    return table


def _show_sum(judged: Sequence[Outcome], run: Run, console: Console) -> None:
    binding = [outcome for outcome in judged if outcome.binding]
    passed = sum(outcome.verdict is Verdict.PASSED for outcome in binding)
    verdict = conformance(judged)
    style = "bold green" if verdict is Conformance.CONFORMANT else "bold red"
    counted = ", ".join(
        f"{count} {kind.value}"
        for kind in Verdict
        if (count := sum(outcome.verdict is kind for outcome in judged))
    )
    console.print(f"clauses: {counted}", highlight=False, soft_wrap=True)
    console.print(
        f"[{style}]{verdict.value}[/]: {run.store_name}, {passed} of {len(binding)} binding "
        f"clauses of contract {contract.version()} verified (seed {run.seed})",
        highlight=False,
        soft_wrap=True,
    )
