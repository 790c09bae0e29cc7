"""Check that documents, docstrings, comments and texts of this repository are plain English.

``python -m testing.prose`` reads all files that git tracks, names each line that breaks a rule,
and says what to write instead. The rules for words are in ``testing/prose.toml``, with examples.

Two more rules are for Markdown, outside code blocks and tables:

- a line holds one sentence, so that a change of a sentence is a change of one line;
- a sentence is on one line.

A line that must break a rule has its reason beside it: ``<!-- prose: REASON -->`` at its end, or in
Python the comment ``# prose: REASON``. For a table or a page there are exceptions in prose.toml.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
RULES: Final = Path(__file__).with_suffix(".toml")

_TEXT_TOKENS: Final = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)}
_FENCE: Final = re.compile(r" *(?:> *)*(`{3,}|~{3,})")
_INLINE_CODE: Final = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
_LINK_TARGET: Final = re.compile(r"(?<=\])\([^)\s]*\)|<https?:[^>]*>|https?://[^\s)>]*[^\s)>.,;:]")
_COMMENT_LINE: Final = re.compile(r"\n\s*#:? ")
_COMMENT: Final = re.compile(r"<!--.*?-->")
_EXCUSED: Final = re.compile(r"<!-- prose: \S.* -->|# prose: \S")
#: A list item, with what is before its text.
_ITEM: Final = re.compile(r"(?:> ?)* *(?:[-*+]|\d+[.)]) +(?:\[[ x]\] )?")
_OTHER: Final = re.compile(r" *(?:#{1,6} |\||<!--.*-->$|\[[^\]]+\]: |<\w|</|[-*_=]{3,}$)|    +\S")
#: Full stops that end no sentence.
_ABBREVIATIONS: Final = re.compile(r"\b(?:e\.g|i\.e|vs|cf|no|No|approx|etc|St|Dr|Mr|Mrs)\.(?= )")
_NEXT_SENTENCE: Final = re.compile(r"[.!?][\"')\]*_”]* +(?=\S)")
_END: Final = re.compile(r"[.!?:;…][\"')\]*_”`]*$")


@dataclass(frozen=True)
class Rule:
    """Words that are not to be written.

    :ivar name: its name, for exceptions.
    :ivar pattern: matches them, in any case.
    :ivar advice: what to write instead.
    :ivar bad: a sentence that breaks the rule.
    :ivar good: one that does not.
    """

    name: str
    pattern: re.Pattern[str]
    advice: str
    bad: str
    good: str


@dataclass(frozen=True)
class Rules:
    """The rules for words, and where they do not hold.

    :ivar words: the rules.
    :ivar exceptions: pairs of a pattern of paths and names of rules; none means all.
    """

    words: tuple[Rule, ...]
    exceptions: tuple[tuple[str, frozenset[str]], ...] = ()

    def for_path(self, path: str) -> list[Rule]:
        """Return the rules that a file must follow."""
        excused: set[str] = set()
        for pattern, names in self.exceptions:
            if fnmatchcase(path, pattern):
                excused |= names or {rule.name for rule in self.words}
        return [rule for rule in self.words if rule.name not in excused]


@dataclass(frozen=True)
class Finding:
    """A line that breaks a rule."""

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


def read_rules(path: Path = RULES) -> Rules:
    """Return the rules of a TOML file.

    :raises ValueError: an exception has no reason, or names no rule.
    """
    document: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    words = tuple(
        Rule(
            name,
            re.compile(re.sub(" ", r"\\s+", each["pattern"]), re.IGNORECASE),
            each["write"],
            each["bad"],
            each["good"],
        )
        for name, each in document["words"].items()
    )
    known = {rule.name for rule in words}
    exceptions = []
    for each in document["exceptions"]:
        names = frozenset(each.get("words", ()))
        if not each.get("reason") or names - known:
            raise ValueError(f"{each} must have a reason, and name rules of {sorted(known)}")
        exceptions += [(pattern, names) for pattern in each["paths"]]
    return Rules(words, tuple(exceptions))


def check_markdown(path: str, text: str, rules: Rules) -> list[Finding]:
    """Return what is wrong with a Markdown file."""
    lines = _without_code(text.splitlines())
    words = rules.for_path(path)
    found = [*_sentences(path, lines)]
    for number, line in enumerate(lines, 1):
        if not _EXCUSED.search(line):
            found += _words(path, number, _COMMENT.sub("", line), words)
    return sorted(found, key=lambda finding: finding.line)


def check_python(path: str, text: str, rules: Rules) -> list[Finding]:
    """Return what is wrong with docstrings, comments and strings of a Python file."""
    # Most files have none of the words anywhere, and reading tokens takes long.
    plain = _COMMENT_LINE.sub("\n", text)
    words = [rule for rule in rules.for_path(path) if rule.pattern.search(plain)]
    if not words:
        return []
    found = []
    excused = {n for n, line in enumerate(text.splitlines(), 1) if _EXCUSED.search(line)}
    for start, part in _python_texts(text):
        plain = _INLINE_CODE.sub(_blank, part)
        found += [each for each in _words(path, start, plain, words) if each.line not in excused]
    return found


def _python_texts(text: str) -> Iterator[tuple[int, str]]:
    """Yield comments, as one text if they follow each other, and strings, with their lines."""
    comment: list[str] = []
    start = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            if comment and start + len(comment) != token.start[0]:
                yield start, "\n".join(comment)
                comment = []
            if not comment:
                start = token.start[0]
            comment.append(" " + token.string.lstrip("#: "))
        elif token.type in _TEXT_TOKENS:
            yield token.start[0], token.string
    if comment:
        yield start, "\n".join(comment)


def _words(path: str, start: int, text: str, rules: Sequence[Rule]) -> Iterator[Finding]:
    """Yield the words of a text that rules do not allow; the text begins on line `start`."""
    for rule in rules:
        for match in rule.pattern.finditer(text):
            given = " ".join(match[0].split())
            line = start + text.count("\n", 0, match.start())
            yield Finding(path, line, f'"{given}": {rule.advice} ({rule.name})')


def _without_code(lines: Sequence[str]) -> list[str]:
    """Return the lines of a Markdown file, with blocks of code and inline code blanked out."""
    text, fence, is_context = [], "", False
    for line in lines:
        match = _FENCE.match(line)
        if fence:
            if match and match[1].startswith(fence) and not line.strip(" >").strip(fence[0]):
                fence = ""
            text.append("")
        elif is_context or line == "<!-- python":
            is_context = line != "-->"
            text.append("")
        elif match:
            fence = match[1]
            text.append("")
        else:
            text.append(_LINK_TARGET.sub(_blank, _INLINE_CODE.sub(_blank, line)))
    return text


def _blank(match: re.Match[str]) -> str:
    """Replace code by as much text that is no word; line breaks stay."""
    return re.sub(r"\S", "¤", match[0])


def _sentences(path: str, lines: Sequence[str]) -> Iterator[Finding]:
    """Yield the lines with more or less than a sentence."""
    for number, line in enumerate(lines, 1):
        if not _is_sentence(line) or _EXCUSED.search(line):
            continue
        body = _COMMENT.sub("", line).rstrip()
        content = _ABBREVIATIONS.sub("", _ITEM.sub("", body, count=1))
        if _NEXT_SENTENCE.search(content):
            yield Finding(path, number, "two sentences on one line: give each a line of its own")
        following = lines[number] if number < len(lines) else ""
        if _is_sentence(following) and not _ITEM.match(following) and not _END.search(body):
            yield Finding(path, number, "the sentence goes on in the next line: put it on one line")


def _is_sentence(line: str) -> bool:
    """Tell whether a line has to be a sentence: no heading, table, comment or empty line."""
    return bool(line.strip(" >")) and (_ITEM.match(line) is not None or not _OTHER.match(line))


def tracked(root: Path, *patterns: str) -> list[str]:
    """Return the paths of the files that git tracks, or is about to, and that exist."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns]
    result = subprocess.run(command, cwd=root, capture_output=True, check=True, text=True)
    return [path for path in sorted(set(result.stdout.split("\0"))) if (root / path).is_file()]


def check(root: Path = ROOT, rules: Rules | None = None) -> list[Finding]:
    """Return what is wrong with all files of a repository."""
    rules = rules or read_rules()
    found = []
    for path in tracked(root, "*.md", "*.py"):
        text = (root / path).read_text("utf-8")
        found += (check_markdown if path.endswith(".md") else check_python)(path, text, rules)
    return found


def main() -> int:
    """Print what is wrong, and return 1 if there is anything."""
    found = check()
    for finding in found:
        print(finding)
    if found:
        print(f"{len(found)} lines to rewrite: testing/prose.toml has the words, with examples.")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
