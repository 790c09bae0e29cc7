"""The kit's wheel and source distribution contain the contract."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "contract.md"
IN_WHEEL = "coatcheck_conformance/contract.md"


def test_a_wheel_holds_the_document(tmp_path: Path) -> None:
    """A wheel that is built in the repository has docs/contract.md."""
    assert _document_of(_built("wheel", ROOT / "conformance", tmp_path)) == DOCUMENT.read_bytes()


def test_a_wheel_of_the_sdist_holds_the_document(tmp_path: Path) -> None:
    """A wheel that is built from the sdist has the document, too."""
    sdist = _unpacked(_built("sdist", ROOT / "conformance", tmp_path), tmp_path)
    assert _document_of(_built("wheel", sdist, tmp_path)) == DOCUMENT.read_bytes()


def test_no_wheel_is_built_without_the_document(tmp_path: Path) -> None:
    """Outside the repository the build fails, and says what is missing."""
    alone = tmp_path / "conformance"
    shutil.copytree(ROOT / "conformance", alone)
    with pytest.raises(subprocess.CalledProcessError) as caught:
        _built("wheel", alone, tmp_path)
    assert (
        f"the Store contract is neither at {tmp_path}/docs/contract.md nor at "
        f"{alone}/src/coatcheck_conformance/contract.md: build from a checkout of the whole "
        "repository, or from an sdist"
    ) in caught.value.stderr


def _built(target: str, project: Path, folder: Path) -> Path:
    """Build a wheel or an sdist, and return the file."""
    made = folder / target
    command = (sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(made))
    subprocess.run(command, cwd=project, check=True, capture_output=True, text=True, timeout=120)
    (file,) = made.iterdir()
    return file


def _unpacked(sdist: Path, folder: Path) -> Path:
    with tarfile.open(sdist) as packed:
        packed.extractall(folder, filter="data")
    return folder / sdist.name.removesuffix(".tar.gz")


def _document_of(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as packed:
        assert packed.namelist().count(IN_WHEEL) == 1
        return packed.read(IN_WHEEL)
