"""Sphinx's configuration of the site: MyST for the pages, Furo for the look."""

from importlib.metadata import version as version_of

project = "cacheserver"
author = "the cacheserver authors"
copyright = "the cacheserver authors, Apache License 2.0"
version = release = version_of("cacheserver")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "index"
exclude_patterns = ["monitoring"]
html_theme = "furo"
html_title = "cacheserver"
html_copy_source = False
html_show_sphinx = False
pygments_style, pygments_dark_style = "friendly", "monokai"

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
# Examples of JSON leave fields out, and those of the shell show what is typed.
suppress_warnings = ["misc.highlighting_failure"]

default_role = "literal"  # docstrings mark code as Markdown does
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
