"""Check that mypy and pyright refuse each marked line of misuse.py, and no other."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

FILE = Path(__file__).with_name("misuse.py")


def mypy_lines() -> set[int]:
    run = subprocess.run(
        [sys.executable, "-m", "mypy", str(FILE)], capture_output=True, text=True, check=False
    )
    return {int(line) for line in re.findall(r"misuse\.py:(\d+): error", run.stdout)}


def pyright_lines() -> set[int]:
    run = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", str(FILE)],
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(run.stdout)["generalDiagnostics"]
    return {each["range"]["start"]["line"] + 1 for each in found if each["severity"] == "error"}


def main() -> int:
    lines = FILE.read_text().splitlines()
    marked = {number for number, line in enumerate(lines, 1) if "# refuse:" in line}
    status = 0
    for checker, refused in (("mypy", mypy_lines()), ("pyright", pyright_lines())):
        for number in sorted(marked ^ refused):
            verdict = "accepts" if number in marked else "refuses"
            print(f"{checker} {verdict} {FILE.name}:{number}: {lines[number - 1]}")
            status = 1
    print(f"{len(marked)} kinds of misuse checked")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
