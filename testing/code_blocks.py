"""Check the blocks of code in the documents, as ``python -m testing.code_blocks``.

mypy checks Python: each name must be defined, and each attribute and argument must exist. TOML,
JSON and YAML must be readable. Blocks that `testing.documents` writes come from files that are
checked themselves.

The blocks of a page are one program. A comment, which the page does not show, defines the names
that the reader is told to have and that no block defines. It also begins a new program, which
knows nothing of the blocks above::

    <!-- python
    from fastapi import FastAPI
    app = FastAPI()
    -->
"""

from __future__ import annotations

import json
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mypy import api

from .prose import ROOT, tracked

_READERS: Final[dict[str, Callable[[str], Any]]] = {
    "json": json.loads,
    "toml": tomllib.loads,
    "yaml": yaml.safe_load,
}
_MYPY: Final = (
    "--config-file=",
    "--check-untyped-defs",
    "--allow-redefinition-new",
    "--local-partial-types",
    "--disable-error-code=no-redef",  # the pages show variants of one function
    "--disable-error-code=annotation-unchecked",
    "--disable-error-code=empty-body",
    "--ignore-missing-imports",
    "--no-error-summary",
)
_CONTEXT: Final = "<!-- python\n"


def faults(root: Path, pages: Sequence[str]) -> list[str]:
    """Return a line for each fault in the blocks of pages."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        programs = {}
        for number, name in enumerate(pages):
            text = (root / name).read_text("utf-8")
            found += [f"{name}:{fault}" for fault in _unreadable(text)]
            if program := python_of(text):
                path = Path(folder, f"page_{number}.py")
                path.write_text(program, "utf-8")
                programs[str(path)] = name
        if programs:
            output, errors, _ = api.run([*_MYPY, *programs])
            found += [_named(line, programs) for line in (output + errors).splitlines()]
    return found


def python_of(text: str) -> str:
    """Return the Python of a page, on the same lines, as functions that are not called.

    Code of documents awaits outside functions, so it has to be moved into one.
    """
    lines = [""] * (text.count("\n") + 2)
    is_begun = False
    for token in _tokens(text):
        assert token.map is not None
        first, last = token.map
        if token.type == "html_block":
            code = token.content.removeprefix(_CONTEXT).rstrip().removesuffix("-->")
        else:
            code = token.content
        if token.type == "html_block" or not is_begun:
            lines[first] = f"async def from_line_{first + 1}():"
            is_begun = True
        for number, line in enumerate(code.splitlines(), first + 1):
            lines[number] = f"    {line}" if line else ""
        lines[last - 1] = "    pass"
    return "\n".join(lines) if is_begun else ""


def _tokens(text: str) -> Iterator[Token]:
    """Give the blocks of Python that no file contains, and the comments with their context."""
    is_included = False
    for token in MarkdownIt().parse(text):
        if token.type == "html_block":
            is_included = "<!-- include:" in token.content or (
                is_included and "<!-- end -->" not in token.content
            )
            if token.content.startswith(_CONTEXT):
                yield token
        elif token.type == "fence" and token.info == "python" and not is_included:
            yield token


def _unreadable(text: str) -> Iterator[str]:
    for token in MarkdownIt().parse(text):
        if token.type == "fence" and token.info in _READERS:
            assert token.map is not None
            try:
                _READERS[token.info](token.content)
            except (ValueError, yaml.YAMLError) as error:
                yield f"{token.map[0] + 1}: this is no {token.info}: {error}"


def _named(line: str, programs: dict[str, str]) -> str:
    """Return a line of mypy's with the name of the page."""
    path, colon, rest = line.partition(":")
    found = next((name for program, name in programs.items() if program.endswith(path)), path)
    return f"{found}{colon}{rest}"


def main(names: Sequence[str]) -> int:
    """Check the documents that are named, or all of them.

    :returns: the exit status.
    """
    found = faults(ROOT, names or tracked(ROOT, "*.md"))
    print("\n".join(found) or "the code of all documents is right")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
