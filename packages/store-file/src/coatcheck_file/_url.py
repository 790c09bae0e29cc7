"""The URLs of file stores."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote_to_bytes

from coatcheck.errors import ConfigurationError
from coatcheck.storekit import split_url

_FORM = (
    "a file store's URL is `file:///folder?durability=full` or `?durability=process`, "
    "or `file:folder` for a folder below the working directory"
)


def parse(url: str) -> tuple[Path, dict[str, str]]:
    """Return the folder and the options of a URL (RFC 8089, and relative paths).

    :raises ConfigurationError: the URL has another form, or an option twice.
    """
    parts, options = split_url(url, _FORM)
    path = os.fsdecode(unquote_to_bytes(parts.path))
    if parts.netloc.lower() not in ("", "localhost"):
        raise ConfigurationError(_FORM)
    if os.name == "nt" and path[:1] == "/" and path[2:3] == ":":
        path = path[1:]  # file:///C:/folder
    if not path.strip("/") or "\0" in path:
        raise ConfigurationError(_FORM)
    if path.startswith("~"):
        raise ConfigurationError(
            "a file store's URL must not begin with `~`: write the whole path, `file:///home/...`, "
            "or `file:./~...` for a folder of that name"
        )
    return Path(path), options
