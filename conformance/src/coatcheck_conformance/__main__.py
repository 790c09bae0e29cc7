"""Run the kit with ``python -m coatcheck_conformance``."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line with the arguments of this process."""
    from ._kit.command import main as run

    return run(sys.argv[1:])


if __name__ == "__main__":
    raise SystemExit(main())
