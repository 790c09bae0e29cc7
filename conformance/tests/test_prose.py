"""The check for plain English: each rule finds what it is for, and nothing beside it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from testing import prose
from testing.prose import Rule, Rules, check_markdown, check_python, read_rules

RULES = read_rules()
SENTENCES = Rules(())
each_rule = pytest.mark.parametrize("rule", RULES.words, ids=lambda rule: rule.name)


def wrong(text: str, rules: Rules = SENTENCES) -> list[tuple[int, str]]:
    """Return the lines of a Markdown file with findings, and the first words of each."""
    return [(each.line, each.text[:13]) for each in check_markdown("a.md", text, rules)]


@each_rule
def test_the_examples_of_a_rule(rule: Rule) -> None:
    """The bad sentence breaks this rule, and the good one breaks none."""
    assert len(check_markdown("a.md", rule.bad, Rules((rule,)))) >= 1
    assert check_markdown("a.md", re.sub(r"(?<=[.?]) (?=[A-Z])", "\n", rule.good), RULES) == []


@each_rule
def test_the_examples_of_a_rule_in_python(rule: Rule) -> None:
    """Docstrings, comments and strings are read; names in the code are not."""
    text = f"Yes. {rule.bad}"
    for code in (f'"""{rule.bad}"""\n', f"a = 1  # {text}\n", f"a = f'{{a}} {text}'\n"):
        assert check_python("a.py", code, Rules((rule,)))
    assert check_python("a.py", "sender = stands = seam\n", RULES) == []
    assert check_python("a.py", f'"""{rule.good}"""\n', RULES) == []


@pytest.mark.parametrize(
    "text",
    [
        "One sentence.\nAnother one.\n",
        "A line that introduces a list:\n\n- a fragment\n- another fragment\n",
        "- **A promise.**\n  Its reason.\n- A sentence (in parentheses).\n  The next one.",
        "A title without a full stop\n\nA sentence.",
        "# One. Two. Three\n\n| a. B | c. D |\n|---|---|\n",
        "Names, e.g. `a. B`, and [a link](https://x.y/a.b) end no sentence.",
        "```\nAny text. At all\nbroken\n```\n",
        "1. First.\n   Then.\n2. Second.\n",
        "> A quotation.\n> Its end.\n",
        "Is it? <!-- a comment. -->\nYes.\n",
        "<!-- a comment. Another -->\n",
        "<!-- python\nany = code. At all\n-->\nA sentence.\n",
        "Two. Here. <!-- prose: they are one name -->\n",
        "Version 1.0 of example.com ends with `x.y`.",
    ],
)
def test_right_markdown(text: str) -> None:
    """A sentence has a line; headings, tables, code and comments are left alone."""
    assert wrong(text) == []


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("One. Two.\n", 1, "two sentences"),
        ("One.\n\n- **Two.** Three.\n", 3, "two sentences"),
        ("Is it? `Yes`.\n", 1, "two sentences"),
        ("A sentence that\ngoes on.\n", 1, "the sentence "),
        ("- An item that\n  goes on.\n", 1, "the sentence "),
        ("Goes on, e.g.\n`here`, and\n> there.\n", 2, "the sentence "),
        ("```\ncode\n```\nOne. Two.\n", 4, "two sentences"),
        ("````\n```\n````\nOne. Two.\n", 4, "two sentences"),
        ("<!-- python\ncode\n-->\nOne. Two.\n", 4, "two sentences"),
    ],
)
def test_wrong_markdown(text: str, line: int, words: str) -> None:
    """Two sentences on a line and a broken sentence are found, on their line."""
    assert wrong(text) == [(line, words)]


def test_code_and_links_are_no_words() -> None:
    """Inline code, blocks and addresses may have any words, in Markdown and in docstrings."""
    text = "See `whoever`, [this](docs/whoever.md) and https://x.y/whoever here."
    assert check_markdown("a.md", f"{text}\n\n```\nwhoever\n```\n", RULES) == []
    assert check_python("a.py", '"""See ``whoever`` and `whoever`."""\n', RULES) == []


def test_the_line_of_a_finding() -> None:
    """It is the line of the words, also where a line break is between them."""
    docstring = 'a = 1\n\n"""One.\n\nThings, of\nwhich one is bad.\n"""\n'
    comment = "a = 1\n# One.\n#: Things, of\n#: which one is bad.\n"
    for text, line in ((docstring, 5), (comment, 3)):
        (found,) = check_python("a.py", text, RULES)
        assert str(found).startswith(f'a.py:{line}: "of which": begin a second sentence')


def test_an_excuse_needs_a_reason() -> None:
    """A marker without one excuses nothing."""
    assert check_python("a.py", "a = 'whoever'  # prose: it is a name\n", RULES) == []
    assert len(check_python("a.py", "a = 'whoever'  # prose:\n", RULES)) == 1


def rules_with(folder: Path, exception: str) -> Rules:
    """Return the rules with one exception, and no other."""
    text = prose.RULES.read_text("utf-8")
    first, _, rest = text.partition("[[exceptions]]")
    path = folder / "prose.toml"
    path.write_text(f"{first}[[exceptions]]\n{exception}\n\n{rest[rest.index('[words') :]}")
    return read_rules(path)


def test_exceptions(tmp_path: Path) -> None:
    """An exception is for the words that it names, in the files that it names."""
    rules = rules_with(tmp_path, 'paths = ["docs/*"]\nwords = ["whoever"]\nreason = "a name"')
    text = "Whoever stands here.\n"
    assert len(check_markdown("docs/a.md", text, rules)) == 1
    assert len(check_markdown("a.md", text, rules)) == 2
    for wrong_one in ('paths = ["a"]', 'paths = ["a"]\nwords = ["nobody"]\nreason = "why"'):
        with pytest.raises(ValueError, match="must have a reason, and name rules of"):
            rules_with(tmp_path, wrong_one)


def test_a_repository(tmp_path: Path) -> None:
    """Files that git knows or will know are read."""
    prose.subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    for name in ("a.md", "b.py", "c.txt", "ignored.md"):
        (tmp_path / name).write_text('"""Whoever."""\n')
    (tmp_path / ".gitignore").write_text("ignored.md\n")
    assert [each.path for each in prose.check(tmp_path, RULES)] == ["a.md", "b.py"]


def test_this_repository(capsys: pytest.CaptureFixture[str]) -> None:
    """It follows its own rules."""
    assert prose.main() == 0, capsys.readouterr().out
