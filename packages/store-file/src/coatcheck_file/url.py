"""The URLs of file stores."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import parse_qsl, unquote_to_bytes, urlsplit

from coatcheck.errors import ConfigurationError

_FORM = (
    "a file store's URL is `file:///folder?durability=full` or `?durability=process`, "
    "or `file:folder` for a folder below the working directory"
)


def parse(url: str) -> tuple[Path, dict[str, str]]:
    """Return the folder and the options of a URL (RFC 8089, and relative paths).

    :raises ConfigurationError: it has another form, or an option twice.
    """
    try:
        parts = urlsplit(url)
        options = parse_qsl(
            parts.query, keep_blank_values=True, strict_parsing=bool(parts.query), errors="strict"
        )
        path = os.fsdecode(unquote_to_bytes(parts.path))
    except ValueError:
        raise ConfigurationError(_FORM) from None
    is_local = parts.netloc.lower() in ("", "localhost")
    if not is_local or "#" in url or any(character in url for character in "\r\n\t"):
        raise ConfigurationError(_FORM)
    if os.name == "nt" and path[:1] == "/" and path[2:3] == ":":
        path = path[1:]  # file:///C:/folder
    if not path.strip("/") or "\0" in path:
        raise ConfigurationError(_FORM)
    if len(dict(options)) != len(options):
        raise ConfigurationError("an option stands twice in the file store's URL")
    return Path(path), dict(options)
