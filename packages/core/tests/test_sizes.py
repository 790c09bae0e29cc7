"""How large the modules, classes and functions of the core may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import coatcheck

SOURCE = Path(coatcheck.__file__).parent

MOST_LINES_OF_A_MODULE = 400
MOST_LINES_OF_A_CLASS = 250
MOST_LINES_OF_A_FUNCTION = 40

#: Why these are larger, by module, or by module and name.
REASONS = {
    "request_context RequestContext": "a third is what it has; the rest is a request step by step",
    "store": "a hundred lines are the example in its docstring",
}


def too_large() -> Iterator[str]:
    for path in SOURCE.rglob("*.py"):
        text = path.read_text("utf-8")
        if len(text.splitlines()) > MOST_LINES_OF_A_MODULE:
            yield path.stem
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                limit = MOST_LINES_OF_A_CLASS
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                limit = MOST_LINES_OF_A_FUNCTION
            else:
                continue
            assert node.end_lineno is not None
            if node.end_lineno - node.lineno + 1 > limit:
                yield f"{path.stem} {node.name}"


def test_what_is_larger_than_usual_has_a_reason() -> None:
    """A module has at most 400 lines, a class 250, a function 40; otherwise REASONS says why.

    A reason goes when its module, class or function has become small.
    """
    assert sorted(too_large()) == sorted(REASONS)
