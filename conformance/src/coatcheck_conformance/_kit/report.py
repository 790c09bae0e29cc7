"""The results of a run as a document, in these forms: JSON, Markdown, HTML, JUnit, a badge."""

from __future__ import annotations

import json
import platform
import re
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import (
    Distribution,
    PackageNotFoundError,
    distribution,
    packages_distributions,
    version,
)
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

from coatcheck import Capabilities

from . import contract
from .case import all_cases
from .run import Run
from .verdicts import Conformance, Outcome, Verdict, conformance, outcomes

#: The version of report.json's schema, ``report.schema.json``.
SCHEMA: Final = 1

_COLORS: Final = {
    Conformance.CONFORMANT: "brightgreen",
    Conformance.PARTIAL: "yellow",
    Conformance.NOT_CONFORMANT: "red",
    Conformance.ERROR: "lightgrey",
}
#: A password, or a user's name, in a URL on the command line.
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/@\s]*@")
#: Characters that XML 1.0 does not allow (section 2.2).
_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def describe(run: Run, command: Sequence[str], seconds: float) -> dict[str, Any]:
    """Return the results of a run as a document of plain values, which report.json holds.

    :param command: the arguments of the command line; credentials are removed.
    :param seconds: how long the run took.
    """
    capabilities = run.capabilities or Capabilities()
    judged = outcomes(run.results(), capabilities)
    return {
        "schema": SCHEMA,
        "verdict": conformance(judged).value,
        "contract": contract.version(),
        "kit": _version_of("coatcheck-conformance"),
        "core": _version_of("coatcheck"),
        "store": _store(run),
        "backend": run.harness.backend(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": redacted(command),
        "seed": run.seed,
        "seconds": round(seconds, 3),
        "capabilities": asdict(capabilities),
        "unsupported": dict(run.harness.unsupported),
        "deviations": [asdict(deviation) for deviation in run.deviations],
        "counts": _counts(judged),
        "clauses": [_clause(outcome) for outcome in judged],
    }


def redacted(command: Sequence[str]) -> str:
    """Return a command line without credentials."""
    shown = (_CREDENTIALS.sub("***@", part) for part in command)
    return shlex.join(("python", "-m", "coatcheck_conformance", *shown))


def write(document: Mapping[str, Any], folder: Path) -> None:
    """Write all forms of a report into a folder, which is created if it does not exist.

    :raises OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    forms: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "report.json": as_json,
        "report.md": as_markdown,
        "report.html": as_html,
        "junit.xml": as_junit,
        "badge.json": as_badge,
    }
    for name, form in forms.items():
        (folder / name).write_text(form(document), "utf-8")


def as_json(document: Mapping[str, Any]) -> str:
    """Return report.json."""
    return json.dumps(document, indent=2, ensure_ascii=True) + "\n"


def as_badge(document: Mapping[str, Any]) -> str:
    """Return an endpoint of shields.io (its schema version 1)."""
    verdict = document["verdict"]
    message = verdict if verdict != "conformant" else f"conformant {document['contract']}"
    color = _COLORS[Conformance(verdict)]
    badge = {"schemaVersion": 1, "label": "coatcheck", "message": message, "color": color}
    return json.dumps(badge) + "\n"


def as_markdown(document: Mapping[str, Any]) -> str:
    """Return the report as a table for people."""
    return _rendered("report.md.j2", document, escaped=False)


def as_html(document: Mapping[str, Any]) -> str:
    """Return the report as one page that loads nothing else."""
    return _rendered("report.html.j2", document, escaped=True)


def as_junit(document: Mapping[str, Any]) -> str:
    """Return the report in the form that CI servers display."""
    results = [(clause, case) for clause in document["clauses"] for case in clause["cases"]]
    verdicts = Counter(case["verdict"] for _, case in results)
    suite = ET.Element(
        "testsuite",
        name=f"coatcheck conformance: {document['store']['class']}",
        tests=str(len(results)),
        failures=str(verdicts["failed"] + verdicts["dependency_failed"]),
        errors=str(verdicts["harness_error"]),
        skipped=str(verdicts["not_supported"] + verdicts["skipped"] + verdicts["deviation"]),
        time=str(document["seconds"]),
        timestamp=document["time"],
    )
    for clause, case in results:
        _junit_case(suite, clause, case)
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return ET.tostring(root, "unicode", xml_declaration=True) + "\n"


def _junit_case(suite: ET.Element, clause: Mapping[str, Any], case: Mapping[str, Any]) -> None:
    element = ET.SubElement(
        suite, "testcase", classname=f"{clause['id']}.{case['api']}", name=case["id"],
        time=str(case["seconds"]),
    )  # fmt: skip
    kinds = {"failed": "failure", "dependency_failed": "failure", "harness_error": "error"}
    if case["verdict"] == "passed":
        return
    kind = kinds.get(case["verdict"], "skipped")
    text = f"{case['verdict']}: {case['text']}"
    child = ET.SubElement(element, kind, message=_xml(text))
    child.text = _xml(case["details"])


def _xml(text: str) -> str:
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def _rendered(name: str, document: Mapping[str, Any], *, escaped: bool) -> str:
    # Only a run with a report needs templates; pytest does not.
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__),
        autoescape=escaped,  # Markdown has its own escapes, in the filter `cell`
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["cell"] = _cell
    return environment.get_template(name).render(document)


def _cell(text: str) -> str:
    """Return text that stays within one cell of a Markdown table."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _clause(outcome: Outcome) -> dict[str, Any]:
    clause = outcome.clause
    return {
        "id": clause.id,
        "level": clause.level,
        "capability": clause.capability,
        "obligation": clause.obligation,
        "binding": outcome.binding,
        "verdict": outcome.verdict.value,
        "text": _text(outcome),
        "cases": [
            {
                "id": result.case,
                "sentence": all_cases()[result.case].sentence,
                "api": result.api,
                "verdict": result.verdict.value,
                "text": result.text,
                "details": result.details,
                "seconds": round(result.seconds, 4),
            }
            for result in outcome.results
        ],
    }


def _text(outcome: Outcome) -> str:
    """Return the first reason for the verdict on a clause."""
    for result in outcome.results:
        if result.verdict is outcome.verdict:
            return result.text
    return f"declared: the clause is for stores with {outcome.clause.capability}"


def _counts(judged: Sequence[Outcome]) -> dict[str, Any]:
    binding = [outcome for outcome in judged if outcome.binding]
    passed = sum(outcome.verdict is Verdict.PASSED for outcome in binding)
    by_verdict = Counter(outcome.verdict.value for outcome in judged)
    return {
        "binding": len(binding),
        "binding_passed": passed,
        **{verdict.value: by_verdict[verdict.value] for verdict in Verdict},
    }


def _store(run: Run) -> dict[str, str]:
    package = run.store_module.partition(".")[0]
    found = _distribution_of(package) if package else None
    return {
        "class": run.store_name,
        "distribution": found.metadata["Name"] if found else "",
        "version": found.version if found else "",
    }


def _distribution_of(package: str) -> Distribution | None:
    """Return the distribution that brought an import package, or None."""
    # An editable install lists no modules: its distribution is the one of the same name.
    names = packages_distributions().get(package, (package,))
    try:
        return distribution(names[0])
    except PackageNotFoundError:
        return None


def _version_of(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""
