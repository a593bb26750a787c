"""The settings of the site that Sphinx makes of these pages: ``make docs``, or ``sphinx-build -W docs out/docs``.

Nothing is fetched: neither while it is built, nor by a page when somebody reads it.
"""

import sys
from pathlib import Path

import gradviz

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "gradviz"
author = "The gradviz authors"
copyright = "the gradviz authors, MIT"
release = version = gradviz.__version__
language = "en"

extensions = ["myst_parser", "sphinx.ext.autodoc", "gradviz.sphinxext", "curves", "sitepages"]
exclude_patterns = ["_ext", "_static", "figures", "pictures"]
myst_enable_extensions = ["colon_fence", "deflist", "attrs_block", "attrs_inline"]
myst_heading_anchors = 4
suppress_warnings = ["misc.highlighting_failure"]  # sessions and listings with dots where something was left out

default_role = "code"
add_module_names = False
autodoc_member_order = "groupwise"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "gradviz"
html_static_path = ["_static"]
html_css_files = ["gradviz.css"]
html_copy_source = False
html_show_sphinx = False
html_last_updated_fmt = None
