"""Run the command line of ``testing.pictures``.

The exit status is 0 if all is current or was drawn, 1 if a picture is not current, 2 for an error.
"""

from __future__ import annotations

import sys

from . import PictureError, check, write


def main(arguments: list[str]) -> int:
    """Draw the pictures, or check them with ``--check``."""
    try:
        if arguments == ["--check"]:
            lines = check()
            print("\n".join(lines), end="\n" if lines else "")
            return int(bool(lines))
        if arguments:
            print("usage: python -m testing.pictures [--check]", file=sys.stderr)
            return 2
        for name in write():
            print(f"docs/pictures/{name}: drawn")
    except PictureError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
