"""Sphinx configuration; `make html` installs Sphinx and runs it."""

import stackless  # the interpreter that runs Sphinx is the one that is described

project = "Stackless Python"
author = "the Stackless Python authors"
project_copyright = author
version = release = "3.13"
root_doc = "index"
source_suffix = {".rst": "restructuredtext"}
exclude_patterns = ["examples"]
extensions: list[str] = []
html_theme = "classic"
html_copy_source = False
highlight_language = "python3"
nitpicky = True                # a reference that leads nowhere is an error (-W)
nitpick_ignore_regex = [("c:identifier", ".*")]    # CPython's types
pygments_style = "default"
trim_doctest_flags = True
assert stackless.getmain()
