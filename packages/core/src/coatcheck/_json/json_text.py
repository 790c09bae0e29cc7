"""Write and read JSON text at any depth of the data and of the caller's stack.

The functions of :mod:`json` recurse, and under Python 3.11 they fail near the end of the caller's
stack. Where they fail, the slower functions of :mod:`coatcheck._json.nesting` do the same without a
stack.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from .nesting import decode_deep, encode_deep

#: The exceptions that Python's decoders raise for bytes that no codec of ours has written.
#: RecursionError is not among them, because it depends on the caller and not on the bytes.
DECODING_ERRORS: Final = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    ArithmeticError,
)

_encode: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode


def encode_json(value: Any, encode: Callable[[Any], str] = _encode) -> str:
    """Return the JSON of a value that consists of JSON's own types.

    :raises ValueError: NaN, an infinity, or an integer of more than 4,300 digits.
    """
    try:
        return encode(value)
    except RecursionError:  # the stack is nearly used up, or the value is deep
        return encode_deep(value, encode)


def decode_json(text: str, decoder: json.JSONDecoder) -> Any:
    """Return what JSON text says, however little is left of the stack.

    :raises ValueError: the text is not JSON, or has more than ``DEEPEST`` levels.
    """
    try:
        return decoder.decode(text)
    except RecursionError:  # the stack is nearly used up, or the text is deep
        return decode_deep(text, decoder)


def refuse_constant(name: str) -> Any:
    """Refuse NaN and infinities: the ``parse_constant`` of a JSON decoder.

    :raises ValueError: always.
    """
    raise ValueError(f"{name} is not JSON")
