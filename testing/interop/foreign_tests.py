"""Run the tests of another project's source distribution, with a pytest plugin of ours."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]


def sources_of(distribution: str, folder: Path, release: str | None = None) -> Path:
    """Download the source distribution of a project, and return its folder.

    :param folder: where to put it.
    :param release: which release; default: the one that is installed.
    """
    release = release or version(distribution)
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary",
         distribution, f"{distribution}=={release}"],
        cwd=folder, check=True, timeout=300,
    )  # fmt: skip
    (packed,) = folder.glob("*.tar.gz")
    with tarfile.open(packed) as archive:
        archive.extractall(folder, filter="data")
    return folder / packed.name.removesuffix(".tar.gz")


def run_tests(
    sources: Path, plugin: str, paths: Collection[str], left_out: Collection[str] = ()
) -> dict[str, int]:
    """Run tests, and return how many had each outcome, as pytest's last line has it.

    :param sources: the folder of the source distribution.
    :param plugin: the module of the pytest plugin.
    :param paths: the tests to run, as files.
    :param left_out: the tests that do not apply, as files and names.
    """
    options = [f"--deselect={test}" for test in left_out]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", plugin, "-p", "no:cacheprovider",
         "-c", os.devnull, "--rootdir", ".", *options, *paths],
        cwd=sources, env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}."},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    counts = re.findall(r"(\d+) (\w+)", done.stdout.splitlines()[-1].partition(" in ")[0])
    return {word: int(number) for number, word in counts}
