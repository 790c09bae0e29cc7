"""How large modules, classes and functions may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MODULE: Final = 400
_CLASS: Final = 250
_FUNCTION: Final = 40


def too_large(folder: Path) -> Iterator[str]:
    """Yield each module with more than 400 lines, class with more than 250, function with 40.

    A module is named by its stem, a class or a function by the module's stem and its own name.
    """
    for path in folder.rglob("*.py"):
        text = path.read_text("utf-8")
        if len(text.splitlines()) > _MODULE:
            yield path.stem
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                limit = _CLASS
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                limit = _FUNCTION
            else:
                continue
            assert node.end_lineno is not None
            if node.end_lineno - node.lineno + 1 > limit:
                yield f"{path.stem} {node.name}"
