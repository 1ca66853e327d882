"""The house: lower layers never import higher ones, importing is light, and every public name explains itself."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import relujax as rx
from docs.public_names import MODULES, public_names

ROOT = Path(rx.__file__).parent
#: A part may import parts of a smaller number, and itself. Parts of the same number do not know each other.
LAYERS = {
    "_checks": 0,
    "_clock": 0,
    "_meshes": 0,
    "_precision": 0,
    "gradients": 1,
    "functions": 2,
    "probes": 3,
    "theory": 3,
    "torch": 3,
    "_nnx_training": 4,
    "spectra": 4,
    "health": 4,
    "report": 5,
    "init": 5,
    "optim": 5,
    "nnx": 6,
    "linen": 7,
    "study": 8,
    "claims": 9,
    "cli": 10,
}
SOURCES = sorted(ROOT.rglob("*.py"))
OPTIONAL = {"flax", "optax", "matplotlib", "plotly", "rich", "sklearn", "orbax", "chex", "torch"}
#: What each part may import beside jax, numpy, scipy and the standard library.
EXTRAS = {
    "_nnx_training": {"flax"},
    "nnx": {"flax"},
    "optim": {"optax"},
    "linen": {"flax"},
    "study": {"flax", "optax", "sklearn"},
    "claims": {"flax", "optax", "sklearn", "matplotlib", "rich"},
    "cli": {"rich", "shtab"},
    "report": {"plotly", "matplotlib", "rich"},
}


def part_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path):
    """``(module, name)`` pairs, relative ones resolved, wherever in the file they stand."""
    package = ("relujax", *path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((module, alias.name) for alias in node.names)


def parts_imported(path):
    """The parts of relujax that a file imports; ``relujax`` itself where it takes a name from the top."""
    for module, name in imports(path):
        if module == "relujax":
            yield name if name in LAYERS else f"relujax.{name}"
        elif module.startswith("relujax."):
            yield module.split(".")[1]


def test_every_part_has_its_layer_and_is_public_or_is_not():
    parts = {part_of(path) for path in SOURCES} - {"__init__"}
    assert parts == LAYERS.keys()
    assert {f"relujax.{name}" for name in parts if not name.startswith("_")} == MODULES.keys() - {"relujax"}


def test_every_public_module_but_the_command_line_has_its_page():
    pages = {path.stem for path in (ROOT.parent / "docs" / "api").glob("*.md")} - {"index"}
    assert pages == {name.split(".")[-1] for name in MODULES} - {"cli"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downward(path):
    here = part_of(path)
    for part in parts_imported(path):
        # The version is read from the installed package, through the top's __getattr__.
        if here == "__init__" or part in (here, "relujax.__version__"):
            continue
        assert part in LAYERS, f"{here} imports {part}"
        assert LAYERS[part] < LAYERS[here], f"{here} imports {part}"


def test_the_check_above_sees_what_it_should():
    """Relative imports, of parts and of names, and imports inside functions."""
    assert set(parts_imported(ROOT / "spectra" / "_layers.py")) >= {"probes"}
    assert set(parts_imported(ROOT / "linen.py")) == {"nnx"}
    assert set(parts_imported(ROOT / "cli" / "_diagnose.py")) == {"functions", "study", "report", "cli"}
    assert set(parts_imported(ROOT / "report" / "_html.py")) == {"relujax.__version__", "report"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_some_parts_need_an_extra(path):
    here = part_of(path)
    needed = {module.split(".")[0] for module, _ in imports(path)} & OPTIONAL
    assert needed <= EXTRAS.get(here, set())


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_of_jax_s_inside_is_used(path):
    # It may change with every release of jax, without notice; relujax is to work with old and new ones.
    assert "jax._src" not in path.read_text(encoding="utf-8")


def test_importing_relujax_imports_no_extra_and_changes_no_setting_and_flax_comes_when_asked_for():
    code = f"""
import jax, sys
before = dict(jax.config.values)
import relujax
relujax.ACTIVATIONS, relujax.diagnose, relujax.theory.moments
loaded = {{name.split(".")[0] for name in sys.modules}}
assert dict(jax.config.values) == before
print(sorted(loaded & {OPTIONAL}), relujax.nnx.ReLU.__name__, relujax.linen.__name__)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("[] ReLU relujax.linen\n", "", 0)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'relujax' has no attribute 'rellu'"):
        _ = rx.rellu


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_has_a_docstring(module):
    module = importlib.import_module(module)
    assert module.__doc__
    named = dict(public_names(module))
    assert named or module is rx.linen
    for name, value in named.items():
        assert is_summarised(value), name
        if inspect.isclass(value):
            for attribute, member in vars(value).items():
                if not attribute.startswith("_") and (callable(member) or isinstance(member, property)):
                    assert is_summarised(member), f"{name}.{attribute}"


def is_summarised(value):
    """Whether its docstring begins with a paragraph that ends as a sentence does."""
    return (inspect.getdoc(value) or "").split("\n\n")[0].endswith((".", ":"))


VERBS = {
    f"{module}.{name}": value
    for module in MODULES
    for name, value in public_names(importlib.import_module(module))
    # Records are made by the verbs, and their docstrings list their attributes.
    if callable(value) and not hasattr(value, "__dataclass_fields__")
}
WITHOUT_AN_EXAMPLE = {
    "relujax.gradients.Rectifier": "rectifier makes it, and shows one",
    "relujax.probes.load": "the example of save reads what it wrote",
    "relujax.health.Alarms": "alarms makes it, and shows one",
    "relujax.optim.RecycleState": "recycle_dormant makes it, and shows one",
    "relujax.report.overview": "a picture is to be looked at: the notebooks show it",
    "relujax.study.Stack": "run builds it from settings",
    "relujax.study.run": "trains for seconds: tests/test_study.py runs it",
    "relujax.cli.main": "--help and the README show the commands",
}


@pytest.mark.parametrize("name", VERBS)
def test_every_public_function_shows_an_example(name):
    assert (">>> " in inspect.getdoc(VERBS[name])) != (name in WITHOUT_AN_EXAMPLE)


def test_the_functions_without_an_example_are_there():
    assert WITHOUT_AN_EXAMPLE.keys() <= VERBS.keys()


RECORDS = {name: value for name, value in public_names(rx) if hasattr(value, "__dataclass_fields__")}


@pytest.mark.parametrize("name", RECORDS)
def test_every_record_explains_its_fields_and_stays_as_it_is(name):
    text = inspect.getdoc(RECORDS[name])
    for field in RECORDS[name].__dataclass_fields__:
        assert f"{field}: " in text, field
    assert RECORDS[name].__dataclass_params__.frozen


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_says_what_it_is_for(path):
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring
    assert docstring.splitlines()[0].endswith((".", ":"))


def test_names_that_are_imported_late_are_listed():
    assert {"diagnose", "Diagnosis", "theory", "init", "nnx", "relu"} <= set(dir(rx))
