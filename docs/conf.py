"""How Sphinx builds these pages: `make docs`, where every warning is an error."""

import re
from importlib.metadata import version as installed_version

from sphinx.application import Sphinx

project = "Zart"
author = "The Zart developers"
project_copyright = author
version = release = installed_version("zart-durable")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"Zart {version}"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3  # so that pages can point to each other's sections

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"

# A single backquote is a name in the code, and not to be looked up: docstrings are written for people who read the source.
default_role = "code"

# Nothing is fetched while building, so only names of this project can be looked up. Type variables have no page, and neither
# has what a signature shows of the engine.
nitpick_ignore_regex = [
    ("py:.*", r"(?!zart\.).*"),
    ("py:class", r"zart\.[\w.]+\.(T|T_co|U|D|O|R|Data|Output)"),
    ("py:class", r"zart\.(codec|operations)\.[\w.]+"),
]

SOURCE = re.compile(r"^\| \[`(zart[\w.]+)`\]\(\.\./\.\./zart/[\w/]+\.py\)", re.MULTILINE)
"""A name in an overview of the reference. In a checkout it leads to the source, on the built page to its own entry."""


def lead_to_entries(_app: Sphinx, _docname: str, content: list[str]) -> None:
    """Let the overviews of a page lead to what stands below them."""
    content[0] = SOURCE.sub(r"| {py:obj}`\1`", content[0])


def setup(app: Sphinx) -> None:
    """Change pages as they are read."""
    app.connect("source-read", lead_to_entries)
