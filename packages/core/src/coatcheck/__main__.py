"""Run the command line: ``python -m coatcheck``."""

import sys

from ._command_line.commands import main

if __name__ == "__main__":
    sys.exit(main())
