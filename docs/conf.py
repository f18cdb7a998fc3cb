"""Sphinx builds the plain Markdown pages of this folder: `make docs`."""

import protemb

project = "protemb"
author = "The protemb authors"
copyright = author
release = protemb.__version__

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
# Headings get the anchors that GitHub gives them, so that links work in both places.
myst_heading_anchors = 3

# Furo uses the reader's own fonts: no page loads anything from another host.
html_theme = "furo"
html_title = "protemb"
html_show_sphinx = False
