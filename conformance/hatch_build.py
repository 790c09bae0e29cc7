"""Put docs/contract.md, which lies outside this package, into the wheel and the sdist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_PACKAGE = "coatcheck_conformance"


class ContractHook(BuildHookInterface[Any]):
    """Include the contract of the repository, or keep the one that an unpacked sdist has."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Tell hatch where the document is.

        :param version: ``editable`` for an install that reads the repository itself.
        :raises FileNotFoundError: the document is in none of the two places.
        """
        if version == "editable":
            return
        root = Path(self.root)
        in_repository = root.parent / "docs" / "contract.md"
        in_sdist = root / "src" / _PACKAGE / "contract.md"
        if in_repository.is_file():
            folder = "src/" if self.target_name == "sdist" else ""
            build_data["force_include"][str(in_repository)] = f"{folder}{_PACKAGE}/contract.md"
        elif not in_sdist.is_file():
            raise FileNotFoundError(
                f"the Store contract is neither at {in_repository} nor at {in_sdist}: "
                "build from a checkout of the whole repository, or from an sdist"
            )
