"""Read what proxies say about the client's connection: RFC 7239 and X-Forwarded-Proto."""

from __future__ import annotations

import re
from typing import Final

_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
#: A pair, or a separator of pairs and elements. Quoted values may have separators in them.
_PART: Final = re.compile(rf'\s*(?:({_WORD})=({_WORD}|"(?:[^"\\]|\\.)*")|([;,])|$)\s*')
_SECURE: Final = frozenset({"https", "wss"})


def is_https(x_forwarded_proto: str | None, forwarded: str | None) -> bool | None:
    """Tell whether the client's connection is secure, according to the proxies.

    If X-Forwarded-Proto is present it decides, because nearly every proxy sets it. A proxy that
    does not know Forwarded passes on the client's own header. The first entry is from the proxy
    next to the client.

    :returns: None if the proxies do not say it.
    """
    if x_forwarded_proto is not None:
        return x_forwarded_proto.split(",")[0].strip().lower() in _SECURE
    protocol = None if forwarded is None else _protocol(forwarded)
    return None if protocol is None else protocol.lower() in _SECURE


def _protocol(forwarded: str) -> str | None:
    """Return `proto` of the first element (RFC 7239, 4); None if it is missing or malformed."""
    place, found = 0, None
    while match := _PART.match(forwarded, place):
        name, value, separator = match.groups()
        if separator == "," or match.end() == place:
            return found
        if name is not None and name.lower() == "proto":
            found = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        place = match.end()
    return None
