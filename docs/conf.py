"""How ``sphinx-build -W --keep-going docs docs/_build/html`` builds the pages; notebooks show what they carry."""

import importlib
import inspect
import shutil
import sys
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import relujax as rx
from benchmarks.family_table import table
from docs.public_names import public_names

project, author, version = "relujax", "the relujax maintainers", rx.__version__
copyright = author
html_title = f"relujax {version}"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_static_path, html_css_files = ["_static"], ["wide.css"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode, nb_merge_streams = "off", True
napoleon_google_docstring, napoleon_numpy_docstring, napoleon_use_ivar = True, False, True
autodoc_typehints = "none"  # the docstrings give types, shapes and units
autodoc_preserve_defaults = True
# A link that leads nowhere is an error, but for those to other libraries: a build reads nothing from the network.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(jax|numpy|collections|functools|optax|flax)\..*"), ("py:class", "Array")]

# Sphinx reads below one folder only.
(HERE / "notebooks").mkdir(exist_ok=True)
for notebook in HERE.parent.glob("notebooks/*.ipynb"):
    shutil.copy2(notebook, HERE / "notebooks")


class Public(SphinxDirective):
    """``.. public:: relujax.probes`` documents the public names of a module that ``rx`` has not.

    With ``:at-the-top:`` those that it has, by the names that they have there.
    """

    required_arguments = 1
    option_spec: ClassVar = {"at-the-top": directives.flag}

    def run(self) -> list[nodes.Node]:
        """Nodes of one autodoc directive per name."""
        [module], at_the_top = self.arguments, "at-the-top" in self.options
        lines = [] if at_the_top else [f".. automodule:: {module}", "   :no-members:", ""]
        for name, value in public_names(importlib.import_module(module)):
            if (getattr(rx, name, None) is value) != at_the_top:
                continue
            kind = "class" if inspect.isclass(value) else "function"
            lines += [f".. auto{kind}:: {'relujax' if at_the_top else module}.{name}"]
            lines += ["   :members:"] * (kind == "class") + [""]
        return self.parse_text_to_nodes("\n".join(lines))


class Family(SphinxDirective):
    """The table of the family, from the registry."""

    def run(self) -> list[nodes.Node]:
        """Nodes of the table that the README has as well."""
        return self.parse_text_to_nodes(table())


def setup(app):
    """Register the two directives."""
    app.add_directive("public", Public)
    app.add_directive("family", Family)
