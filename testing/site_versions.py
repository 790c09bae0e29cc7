"""Put a built site beside those of other versions, as ``python -m testing.site_versions``.

The published folder has a folder for each release, ``stable`` for the newest of them, and
``latest`` for the main branch::

    python -m testing.site_versions .nox/docs/site published --version 0.2.0
"""

from __future__ import annotations

import argparse
import html
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

#: The name of what is not released.
MAIN: Final = "latest"
STABLE: Final = "stable"
_RELEASE: Final = r"\d+\.\d+\.\d+"
_PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
{head}<h1>{title}</h1>
{body}
</html>
"""


def publish(site: Path, published: Path, version: str) -> None:
    """Put a site into the published folder, in place of an older one of the same version.

    :param version: a release such as ``0.2.0``, or ``latest``.
    :raises ValueError: the version is neither.
    """
    if version != MAIN and not re.fullmatch(_RELEASE, version):
        raise ValueError(f"the version must be a release such as 0.2.0, or {MAIN}")
    published.mkdir(exist_ok=True)
    _replace(site, published / version)
    releases = releases_in(published)
    if releases and releases[0] == version:
        _replace(site, published / STABLE)
    (published / ".nojekyll").touch()  # GitHub Pages leaves out folders with an underscore
    (published / "versions.html").write_text(_versions(releases), "utf-8")
    first = STABLE if releases else MAIN
    head = f'<meta http-equiv="refresh" content="0; url={first}/">\n'
    link = f'<p><a href="{first}/">The documentation</a></p>'
    page = _PAGE.format(title="coatcheck", head=head, body=link)
    (published / "index.html").write_text(page, "utf-8")


def releases_in(published: Path) -> list[str]:
    """Return the releases that are published, the newest first."""
    names = [path.name for path in published.iterdir() if re.fullmatch(_RELEASE, path.name)]
    return sorted(names, key=lambda name: [*map(int, name.split("."))], reverse=True)


def _replace(site: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(site, target)


def _versions(releases: Sequence[str]) -> str:
    names = [MAIN, *releases]
    rows = [f'<li><a href="{html.escape(name)}/">{html.escape(name)}</a></li>' for name in names]
    return _PAGE.format(
        title="Versions of the documentation", head="", body=f"<ul>{''.join(rows)}</ul>"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    :returns: the exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m testing.site_versions", description="Publish a built site."
    )
    parser.add_argument("site", type=Path, help="the folder that Sphinx has written")
    parser.add_argument("published", type=Path, help="the folder with the sites of all versions")
    parser.add_argument("--version", required=True, help=f"a release such as 0.2.0, or {MAIN}")
    given = parser.parse_args(arguments)
    try:
        publish(given.site, given.published, given.version)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
