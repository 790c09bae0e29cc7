"""The site: ``python -m nox -s docs`` builds it, with warnings as errors."""

from __future__ import annotations

import re
from importlib.metadata import version as version_of
from typing import Any, Final

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

project = "coatcheck"
copyright = "the coatcheck contributors"
release = version_of("coatcheck")
version = ".".join(release.split(".")[:2])

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "sphinx_llms_txt",
]
root_doc = "index"
nitpicky = True

html_theme = "furo"
html_title = f"coatcheck {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]

myst_enable_extensions = ["attrs_block", "colon_fence", "fieldlist"]
myst_heading_anchors = 4

autodoc_typehints = "description"
autodoc_member_order = "bysource"

#: Where files of the repository are that are not pages.
REPOSITORY: Final = "https://github.com/coatcheck/coatcheck/blob/main/"


def link_to_repository(_: Sphinx, name: str, source: list[str]) -> None:
    """Turn relative links that leave the folder of the pages into links to the repository."""
    up = "../" * (name.count("/") + 1)
    source[0] = re.sub(rf"\]\({re.escape(up)}(?!\.\./)", f"]({REPOSITORY}", source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register what this file adds to Sphinx."""
    app.connect("source-read", link_to_repository)
    app.add_lexer("mermaid", TextLexer)  # GitHub draws it; the site shows its text
    return {"parallel_read_safe": True, "parallel_write_safe": True}
