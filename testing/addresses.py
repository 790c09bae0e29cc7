"""The addresses of the project, for links that leave the repository.

``python -m testing.addresses`` checks them in the package pages and in the packages' metadata. A
page on the Python Package Index has no files beside it, so its links have whole addresses.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from .prose import ROOT, tracked

REPOSITORY: Final = "https://github.com/coatcheck/coatcheck"
#: The documentation of the last release.
SITE: Final = "https://coatcheck.github.io/coatcheck/stable"
#: Each package's page on the site.
PAGES: Final = {
    "coatcheck": "index",
    "coatcheck-conformance": "writing-a-store",
    "coatcheck-demo": "index",
    "coatcheck-django": "django",
    "coatcheck-dynamodb": "dynamodb",
    "coatcheck-express": "from-express",
    "coatcheck-file": "file",
    "coatcheck-flask": "flask",
    "coatcheck-mongo": "mongo",
    "coatcheck-redis": "redis",
    "coatcheck-sql": "sql",
}


def urls_of(name: str, folder: str) -> dict[str, str]:
    """Return the table ``project.urls`` of a package.

    :param name: of the distribution.
    :param folder: of the package, in the repository.
    """
    return {
        "Documentation": f"{SITE}/{PAGES[name]}.html",
        "Source": f"{REPOSITORY}/tree/main/{folder}",
        "Changelog": f"{REPOSITORY}/blob/main/{folder}/CHANGELOG.md",
        "Issues": f"{REPOSITORY}/issues",
    }


def faults(root: Path = ROOT) -> Iterator[str]:
    """Yield a line for each address that leads nowhere."""
    for name in PAGES.values():
        if not (root / "docs" / f"{name}.md").exists():
            yield f"the site has no page {name}"
    for path in tracked(root, "packages/*/pyproject.toml", "conformance/pyproject.toml"):
        folder = path.removesuffix("/pyproject.toml")
        project: dict[str, Any] = tomllib.loads((root / path).read_text("utf-8"))["project"]
        if project.get("urls") != urls_of(project["name"], folder):
            yield f"{path}: project.urls must be {urls_of(project['name'], folder)}"
        if not project.get("authors"):
            yield f"{path}: there are no authors"
        page = root / folder / "README.md"
        for fault in _faults_of_page(page.read_text("utf-8"), root):
            yield f"{folder}/README.md: {fault}"


def _faults_of_page(text: str, root: Path) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("https://", "#")):
            yield f"{target} is no whole address"
    for name in re.findall(rf"{re.escape(SITE)}/([\w/-]+)\.html", text):
        if not (root / "docs" / f"{name}.md").exists():
            yield f"the site has no page {name}"
    for name in re.findall(rf"{re.escape(REPOSITORY)}/(?:blob|tree)/main/([\w./-]+)", text):
        if not (root / name).exists():
            yield f"the repository has no {name}"


if __name__ == "__main__":
    found = list(faults())
    print("\n".join(found) or "all addresses are right")
    sys.exit(bool(found))
