"""The links in the documents lead to a file that exists, and to a heading in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from testing.prose import tracked

ROOT = Path(__file__).parents[2]
DOCUMENTS = tracked(ROOT, "*.md")


def prose_of(document: Path) -> str:
    """Return the text of a document without blocks of code."""
    return re.sub(r"(?ms)^(`{3,}).*?^\1", "", document.read_text("utf-8"))


def anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a document."""
    headings = re.findall(r"^#{1,6} (.+)$", prose_of(document), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def dead(target: str, document: Path) -> bool:
    """Tell whether a relative link leads nowhere."""
    path, _, anchor = target.partition("#")
    file = document.parent / path if path else document
    return not file.exists() or bool(anchor and anchor not in anchors(file))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_link_is_dead(name: str) -> None:
    document = ROOT / name
    targets = re.findall(r"\]\(([^)\s]+)\)", prose_of(document))
    relative = [target for target in targets if "://" not in target]
    assert [target for target in relative if dead(target, document)] == []


def test_each_decision_is_on_the_tour() -> None:
    """The tour of the code links them all, and each has its date and the three parts."""
    tour = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    for path in sorted((ROOT / "docs" / "decisions").glob("2*.md")):
        assert f"](decisions/{path.name})" in tour, path.name
        parts = r"# .+\n\n(\d{4}-\d\d-\d\d)\n\n## Context\n.+\n## Decision\n.+\n## Consequences\n.+"
        dated = re.fullmatch(parts, path.read_text("utf-8"), re.DOTALL)
        assert dated is not None, path.name
        assert path.name.startswith(dated[1])


def test_a_dead_link_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `code` and [a link](other.md)\n\n```\n# none\n```\n")
    assert not dead("page.md#a-code-and-a-link", page)
    assert not dead("#a-code-and-a-link", page)
    assert dead("#none", page)
    assert dead("other.md", page)
