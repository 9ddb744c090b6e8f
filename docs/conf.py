"""The documentation site: `make docs` builds it into `build/docs`, and fails on any warning."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "cidrgate"
author = "The cidrgate authors"
project_copyright = "the cidrgate authors, Apache-2.0"
release = version_of("cidrgate")
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "site_pages"]
exclude_patterns = ["_ext", "_build", "native/gate*"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
default_role = "code"  # docstrings write code in single backticks
smartquotes = False  # two dashes begin an option
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

nitpicky = True
# Types in signatures may be of other packages, or aliases; what docstrings say is raised must have a page here.
nitpick_ignore_regex = [(r"py:class", r".*"), (r"py:exc", r"ImproperlyConfigured|WebSocketException|duckdb\.Error")]
# Several modules have a type of the same name, such as `AccountSource`, and a signature does not say whose it means.
suppress_warnings = ["ref.python"]

html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme = "furo"
html_title = "cidrgate"
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
html_copy_source = False
html_show_sphinx = False
pygments_style = "default"
pygments_dark_style = "github-dark"
