"""Make the tables of options from the dataclasses that hold them.

``python -m testing.documents`` writes them where a page has ``<!-- options: SessionOptions -->``.
"""

from __future__ import annotations

import html
import inspect
import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, Final

from coatcheck import CookieOptions, SessionOptions

CLASSES: Final[Mapping[str, type[Any]]] = {
    "CookieOptions": CookieOptions,
    "SessionOptions": SessionOptions,
}
#: What express-session calls an option. It has no others of these.
_EXPRESS: Final = {
    "SessionOptions": {
        "secret": "secret", "store": "store", "name": "name", "cookie": "cookie",
        "generate_id": "genid", "trust_proxy": "proxy", "resave": "resave", "rolling": "rolling",
        "save_uninitialized": "saveUninitialized", "unset": "unset",
    },
    "CookieOptions": {
        "path": "path", "domain": "domain", "max_age": "maxAge", "expires": "expires",
        "http_only": "httpOnly", "secure": "secure", "same_site": "sameSite",
        "priority": "priority", "partitioned": "partitioned",
    },
}  # fmt: skip
#: Defaults that are objects, as one would write them.
_DEFAULTS: Final = {
    "clock": "`time.time`",
    "codec": "`JSONCodec()`",
    "cookie": "`CookieOptions()`",
    "cookie_format": "signed, `NativeCookieFormat()`",
    "generate_id": "192 random bits",
    "merge": "no rules",
}
#: The first release that has an option, for those that not the first release has.
_SINCE: Final[Mapping[str, str]] = {}
_FIRST: Final = "0.1"


def table(name: str) -> str:
    """Return the table of a class in Markdown: a line for each option.

    :raises KeyError: there is no such class.
    """
    kind = CLASSES[name]
    meanings = _meanings(kind)
    lines = [
        "| option | default | meaning | in express-session |",
        "|---|---|---|---|",
    ]
    for option in fields(kind):
        if not option.init:
            continue
        express = _EXPRESS[name].get(option.name)
        cells = (
            f"`{option.name}`<br>{_type(option)}<br>since {_SINCE.get(option.name, _FIRST)}",
            _default(option),
            meanings[option.name],
            f"`{express}`" if express else "",
        )
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _type(option: Field[Any]) -> str:
    return html.escape(" ".join(str(option.type).split()), quote=False)


def _default(option: Field[Any]) -> str:
    if option.name in _DEFAULTS:
        return _DEFAULTS[option.name]
    if option.default is MISSING:
        return "required"
    return f"`{option.default!r}`".replace("'", '"')


def _meanings(kind: type[Any]) -> dict[str, str]:
    """Return what the docstring of a class says of each of its attributes."""
    text = inspect.getdoc(kind) or ""
    found = re.findall(r"^:(?:ivar|param) (\w+): (.*(?:\n {4}.*)*)", text, re.MULTILINE)
    return {name: _markdown(" ".join(meaning.split())) for name, meaning in found}


def _markdown(text: str) -> str:
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?([\w]+)`", r"`\1`", text)
    text = text.replace("``", "`")
    return text[:1].upper() + text[1:]
