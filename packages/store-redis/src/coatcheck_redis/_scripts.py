"""The Lua scripts: one for each operation, sent by their SHA-1 digest."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Final, TypeAlias

from redis.exceptions import NoScriptError

#: The words of a command.
Command: TypeAlias = tuple[Any, ...]
#: Yields commands, is sent their replies, and returns a result.
Requests: TypeAlias = Generator[Command, Any, Any]


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script.

    :ivar source: the text.
    :ivar digest: the SHA-1 digest by which the server knows the script.
    """

    source: bytes = field(repr=False)
    digest: bytes

    @classmethod
    def of(cls, *names: str) -> Script:
        """Return the script that the named files make, one after the other."""
        folder = resources.files(__package__) / "_lua"
        source = b"".join((folder / f"{name}.lua").read_bytes() for name in names)
        return cls(source, hashlib.sha1(source, usedforsecurity=False).hexdigest().encode())

    def run(self, keys: Sequence[bytes], *arguments: bytes) -> Requests:
        """Run the script, by one command, or by two if the server does not know it yet."""
        operands = (len(keys), *keys, *arguments)
        try:
            return (yield ("EVALSHA", self.digest, *operands))
        except NoScriptError:
            return (yield ("EVAL", self.source, *operands))


GET: Final = Script.of("live", "reply", "get")
CREATE: Final = Script.of("create")
SET: Final = Script.of("live", "condition", "sorted_set", "index", "overwrite", "set")
DESTROY: Final = Script.of("live", "condition", "destroy")
TOUCH: Final = Script.of("live", "condition", "sorted_set", "index", "touch")
ADD: Final = Script.of("sorted_set", "index", "add")
OWNED: Final = Script.of("live", "reply", "owned")
