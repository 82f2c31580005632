"""How Sphinx builds these pages: `make docs`, where every warning is an error."""

from importlib.metadata import version as installed_version

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
