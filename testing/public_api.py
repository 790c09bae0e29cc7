"""The public API of the distributions as text, so that no change of it goes unnoticed.

Beside the tests of a distribution, ``public_api.txt`` has each public module, name and signature,
and the public methods and attributes of each class. ``python -m testing.public_api`` writes these
files again; the difference is what users will see.

The text has annotations as the source has them. So it is the same on each Python, and a class may
move to another module inside the package.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import importlib
import importlib.util
import inspect
import re
import sys
import types
import typing
from collections.abc import Iterable, Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]

#: The public modules of each distribution.
MODULES: Final = {
    "packages/core": (
        "coatcheck",
        "coatcheck.aiohttp",
        "coatcheck.aiohttp_session",
        "coatcheck.asgi",
        "coatcheck.wsgi",
        "coatcheck.fastapi",
        "coatcheck.errors",
        "coatcheck.events",
        "coatcheck.options",
        "coatcheck.logins",
        "coatcheck.merge_rules",
        "coatcheck.codec",
        "coatcheck.cookie",
        "coatcheck.cookie_format",
        "coatcheck.pyramid",
        "coatcheck.sanic",
        "coatcheck.session",
        "coatcheck.session_lifecycle",
        "coatcheck.sessions",
        "coatcheck.litestar",
        "coatcheck.memory",
        "coatcheck.old_sessions",
        "coatcheck.old_sessions.aiohttp_session",
        "coatcheck.old_sessions.django",
        "coatcheck.old_sessions.flask",
        "coatcheck.old_sessions.flask_session",
        "coatcheck.old_sessions.litestar",
        "coatcheck.old_sessions.starlette",
        "coatcheck.old_sessions.starsessions",
        "coatcheck.store",
        "coatcheck.hookspecs",
        "coatcheck.integration",
        "coatcheck.storekit",
        "coatcheck.testing",
        "coatcheck.testing.fixtures",
        "coatcheck.typed",
    ),
    "packages/demo": ("coatcheck_demo",),
    "packages/django": (
        "coatcheck_django",
        "coatcheck_django.middleware",
    ),
    "packages/express": ("coatcheck_express",),
    "packages/flask": ("coatcheck_flask", "coatcheck_flask.quart"),
    "packages/store-dynamodb": ("coatcheck_dynamodb",),
    "packages/store-file": ("coatcheck_file",),
    "packages/store-mongo": ("coatcheck_mongo", "coatcheck_mongo.express"),
    "packages/store-redis": ("coatcheck_redis",),
    "packages/store-sql": ("coatcheck_sql",),
    "conformance": ("coatcheck_conformance",),
}

_PACKAGES: Final = {name.partition(".")[0] for names in MODULES.values() for name in names}
#: Methods that the language calls by themselves and that users rely on.
_SPECIAL: Final = frozenset(
    ["__init__", "__call__", "__enter__", "__exit__", "__aenter__", "__aexit__", "__await__"]
)
_STARS: Final[dict[Any, str]] = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
}
_INDENT: Final = "    "


def file_of(distribution: str) -> Path:
    """Return the file that has the public API of a distribution."""
    return ROOT / distribution / "tests" / "public_api.txt"


def text_of(distribution: str) -> str:
    """Return the public API of a distribution as it is now."""
    lines: list[str] = []
    explained: dict[int, str] = {}
    for name in MODULES[distribution]:
        module = importlib.import_module(name)
        lines += ["", "", name, "=" * len(name), ""]
        for public in sorted(module.__all__):
            value = getattr(module, public)
            first = explained.setdefault(id(value), f"{name}.{public}")
            if _is_ours(value) and first != f"{name}.{public}":
                lines.append(f"{public}: see {first}")
            else:
                lines += _lines(module, public, value)
    return "\n".join(lines[2:]) + "\n"


def write() -> list[Path]:
    """Write the files of all distributions, and return those that have changed."""
    changed = []
    for distribution in MODULES:
        path, text = file_of(distribution), text_of(distribution)
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            changed.append(path)
    return changed


def _is_ours(value: Any) -> bool:
    """Tell whether a class or a function belongs to one of our distributions."""
    return callable(value) and _is_our_module(getattr(value, "__module__", None))


def _is_our_module(name: str | None) -> bool:
    return (name or "").partition(".")[0] in _PACKAGES


@cache
def _public_classes() -> frozenset[type]:
    modules = [importlib.import_module(name) for names in MODULES.values() for name in names]
    values = (getattr(module, name) for module in modules for name in module.__all__)
    return frozenset(value for value in values if isinstance(value, type))


def _lines(module: types.ModuleType, name: str, value: Any) -> Iterator[str]:
    """Return the lines of one public name."""
    if isinstance(value, type) and _is_ours(value):
        yield f"class {name}({', '.join(_bases(value))})"
        yield from sorted((f"{_INDENT}{line}" for line in _members(value)), key=_by_name)
    elif inspect.isfunction(value):
        yield from _functions(name, value)
    elif type(value).__module__ == "_pytest.fixtures":
        yield from _functions(name, inspect.unwrap(value))
    elif _is_ours(type(value)) and "__call__" in vars(type(value)):  # a function with more to it
        yield from _functions(name, type(value).__call__, bound=True)
    else:
        yield f"{name} = {_source(module, name)}"


def _bases(kind: type) -> list[str]:
    """Return the names of the base classes, without those that nobody can import."""
    names: list[str] = []
    for base in kind.__bases__:
        if _is_ours(base) and base not in _public_classes():
            names += _bases(base)
        elif base is not object:
            names.append(base.__name__)
    return names


def _members(kind: type) -> set[str]:
    """Return the lines of a class: what it defines itself, or in a base that is not public."""
    if typing.is_typeddict(kind):
        optional = kind.__optional_keys__  # type: ignore[attr-defined]  # it has them
        return {
            f"{key}{'?' if key in optional else ''}: {_annotation(annotation)}"
            for key, annotation in inspect.get_annotations(kind).items()
        }
    lines: set[str] = set()
    seen: set[str] = set()
    told = [base for base in kind.__mro__[1:] if base in _public_classes()]
    for each in kind.__mro__:
        if not _is_our_module(each.__module__) or any(issubclass(base, each) for base in told):
            continue
        fields = getattr(each, "_fields", ()) if issubclass(each, tuple) else ()
        for name in fields:  # those of a named tuple
            annotation = inspect.get_annotations(each).get(name)
            default = getattr(each, "_field_defaults", {}).get(name, inspect.Parameter.empty)
            lines.add(f"{name}: {_annotation(annotation)}{_default(default)}")
        seen.update(fields)
        for name, annotation in inspect.get_annotations(each).items():
            if _is_public(name) and name not in seen:
                seen.add(name)
                lines.add(f"{name}: {_annotation(annotation)}")
        for name, member in vars(each).items():
            if _is_public(name) and name not in seen:
                seen.add(name)
                lines.update(_member(each, name, member))
    return lines


def _by_name(line: str) -> str:
    """Return a line of a class without the words before the name."""
    return re.sub(r"^\s*(?:(?:async|classmethod|staticmethod) )*", "", line)


def _is_public(name: str) -> bool:
    return name in _SPECIAL or not name.startswith("_")


def _member(kind: type, name: str, member: Any) -> Iterator[str]:
    """Return the lines of one member of a class."""
    if name == "__init__" and getattr(kind, "_is_protocol", False):
        return
    if isinstance(member, property):
        settable = ", settable" if member.fset else ""
        yield f"{name}: {_returned(member.fget)} (property{settable})"
    elif isinstance(member, cached_property):
        yield f"{name}: {_returned(member.func)} (property)"
    elif isinstance(member, classmethod):
        yield from _functions(f"classmethod {name}", member.__func__, bound=True)
    elif isinstance(member, staticmethod):
        yield from _functions(f"staticmethod {name}", member.__func__)
    elif inspect.isfunction(member):
        yield from _functions(name, member, bound=True)
    elif isinstance(member, enum.Enum):
        yield f"{name} (member)"
    else:
        yield name


def _functions(name: str, function: Any, *, bound: bool = False) -> Iterator[str]:
    """Return a line for a function, or one for each of its overloads.

    :param bound: leave out the first parameter, which is the object or the class.
    """
    awaited = "async " if inspect.iscoroutinefunction(function) else ""
    for overload in typing.get_overloads(function) or [function]:
        yield f"{awaited}{name}{_signature(inspect.signature(overload), bound)}"


def _returned(function: Any) -> str:
    return _annotation(inspect.signature(function).return_annotation)


def _signature(signature: inspect.Signature, bound: bool) -> str:
    parameters = list(signature.parameters.values())[bound:]
    parts: list[str] = []
    kinds = inspect.Parameter
    starred = False
    for index, each in enumerate(parameters):
        if each.kind is kinds.VAR_POSITIONAL:
            starred = True
        elif each.kind is kinds.KEYWORD_ONLY and not starred:
            starred = True
            parts.append("*")
        stars = _STARS.get(each.kind, "")
        annotation = "" if each.annotation is kinds.empty else f": {_annotation(each.annotation)}"
        parts.append(f"{stars}{each.name}{annotation}{_default(each.default)}")
        following = parameters[index + 1 : index + 2]
        if each.kind is kinds.POSITIONAL_ONLY and (
            not following or following[0].kind is not kinds.POSITIONAL_ONLY
        ):
            parts.append("/")
    end = signature.return_annotation
    returned = "" if end is inspect.Signature.empty else f" -> {_annotation(end)}"
    return f"({', '.join(parts)}){returned}"


def _annotation(annotation: Any) -> str:
    """Return an annotation as the source has it."""
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, typing.ForwardRef):
        return annotation.__forward_arg__
    if annotation is None or annotation is type(None):
        return "None"
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__qualname__
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", repr(annotation))


def _default(value: Any) -> str:
    """Return a default as the source may have it, after a sign of equality."""
    if value is inspect.Parameter.empty:
        return ""
    if isinstance(value, enum.Enum):
        return f" = {type(value).__name__}.{value.name}"
    if isinstance(value, type) or inspect.isroutine(value):
        return f" = {value.__qualname__}"
    if dataclasses.is_dataclass(value) or _is_our_module(type(value).__module__):
        return f" = {type(value).__name__}(...)"
    return f" = {value!r}"


def _source(module: types.ModuleType, name: str) -> str:
    """Return the right side of the assignment that makes a constant or an alias."""
    body = ast.parse(inspect.getsource(module)).body
    for node in [*body, *(each for part in body if isinstance(part, ast.If) for each in part.body)]:
        if isinstance(node, ast.Assign) and name in map(ast.unparse, node.targets):
            return ast.unparse(node.value)
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name and node.value:
            return ast.unparse(node.value)
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    source = f"{'.' * node.level}{node.module or ''}"
                    found = importlib.util.resolve_name(source, module.__package__)
                    return _source(importlib.import_module(found), alias.name)
    raise LookupError(f"{module.__name__} does not say what `{name}` is")


def main(arguments: Iterable[str] | None = None) -> int:
    """Write all files, and name those that have changed."""
    if list(sys.argv[1:] if arguments is None else arguments):
        print("usage: python -m testing.public_api", file=sys.stderr)
        return 2
    for path in write():
        print(f"{path.relative_to(ROOT)}: written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
