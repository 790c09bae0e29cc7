"""The site: ``python -m nox -s docs`` builds it, with warnings as errors."""

from __future__ import annotations

import importlib
import re
import sys
from functools import cache
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, Final

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

sys.path.insert(0, str(Path(__file__).parents[1]))

from testing.addresses import REPOSITORY, SITE  # after the path
from testing.public_api import MODULES

project = "coatcheck"
copyright = "the coatcheck contributors"
release = version_of("coatcheck")
version = ".".join(release.split(".")[:2])

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton", "sphinx_llms_txt"]
root_doc = "index"
nitpicky = True
#: What other projects document, and what no page documents.
nitpick_ignore_regex = [
    ("py:.*", r"(?!coatcheck).*\..*"),
    ("py:(class|exc)", r"\w+"),  # annotations, as the source has them
    ("py:class", r"coatcheck\w*\.(.*\._.*|_.*|.*\.[A-Z])"),  # private classes, type variables
]

html_baseurl = f"{SITE}/"
html_theme = "furo"
html_theme_options = {
    "source_repository": REPOSITORY,
    "source_branch": "main",
    "source_directory": "docs/",
}
html_title = f"coatcheck {version}"
html_static_path = ["static"]
html_css_files = ["site.css", "pictures.css"]

linkcheck_timeout = 15
#: What is not published yet, and servers of the reader's own.
linkcheck_ignore = [
    rf"{re.escape(REPOSITORY)}.*",
    r"https://coatcheck\.github\.io/.*",
    r"http://127\.0\.0\.1.*",
]
linkcheck_anchors = False

myst_enable_extensions = ["attrs_block", "colon_fence"]
myst_heading_anchors = 4

autodoc_typehints = "description"
autodoc_member_order = "bysource"


#: The rule of a picture that gives it the colours of dark pages ...
DARK: Final = re.compile(
    r"@media \(prefers-color-scheme: dark\) \{ svg\.picture (?P<colours>\{[^}]*\}) \}"
)
#: ... and what is in its place: the theme notes in `data-theme` what the reader has chosen.
FOLLOWS: Final = r"""body[data-theme="dark"] svg.picture \g<colours>
@media (prefers-color-scheme: dark) {
body:not([data-theme="light"]) svg.picture \g<colours>
}"""

#: A picture scrolls where there is less room than it needs, and grows a little where there is more.
WIDTH: Final = r'\1 width="100%" style="min-width: \2px; max-width: calc(1.125 * \2px)"'


def link_to_repository(_: Sphinx, name: str, source: list[str]) -> None:
    """Turn relative links that leave the folder of the pages into links to the repository."""
    up = "../" * (name.count("/") + 1)
    source[0] = re.sub(rf"\]\({re.escape(up)}(?!\.\./)", f"]({REPOSITORY}/blob/main/", source[0])


@cache
def documented() -> dict[int, str]:
    """Return the name under which the reference has each public object, by the object's id."""
    names = [name for modules in MODULES.values() for name in modules if name != "coatcheck"]
    found: dict[int, str] = {}
    for name in names:
        module = importlib.import_module(name)
        for public in module.__all__:
            found.setdefault(id(getattr(module, public)), f"{name}.{public}")
    return found


def resolve_alias(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """Find the page of a name that several modules have, such as ``coatcheck.Sessions``."""
    package, *names = node["reftarget"].split(".")
    value: Any = sys.modules.get(package)
    found, tail = "", []
    for name in names:
        value = getattr(value, name, None)
        tail.append(name)
        if id(value) in documented():
            found, tail = documented()[id(value)], []
    if not found:
        return None
    target = ".".join([found, *tail])
    domain = env.domains.python_domain
    return domain.resolve_xref(
        env, node["refdoc"], app.builder, node["reftype"], target, node, content
    )


def put_pictures_inline(app: Sphinx, document: nodes.document, _: str) -> None:
    """Put the pictures of docs/pictures into their pages, where they follow the theme's switch."""
    if app.builder.format != "html":
        return
    for image in list(document.findall(nodes.image)):
        path = Path(app.srcdir, image["uri"])
        if path.parent.name != "pictures" or path.suffix != ".svg":
            continue
        svg, changes = DARK.subn(FOLLOWS, path.read_text("utf-8"))
        svg, widths = re.subn(r'(?<=aria-labelledby)(.*?) width="(\d+)"', WIDTH, svg, count=1)
        if changes != 1 or widths != 1:
            logging.getLogger(__name__).warning(
                "%s has no colours for dark pages, or no width", path
            )
        # It scrolls where it is wider than the page, so it has to be reached by the keyboard.
        box = f'<div class="picture-box" tabindex="0">{svg.strip()}</div>'
        image.replace_self(nodes.raw("", box, format="html"))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register what this file adds to Sphinx."""
    app.connect("source-read", link_to_repository)
    app.connect("missing-reference", resolve_alias)
    app.connect("doctree-resolved", put_pictures_inline)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
