"""Writes each notebook's ``.ipynb``: the cells of its ``.py``, run from first to last, with what they printed and drew.

python notebooks/_build.py             all of them
python notebooks/_build.py dying_relu  one
"""

import sys
from pathlib import Path

import jupytext
from nbclient import NotebookClient

HERE = Path(__file__).parent
#: What a viewer needs to know; the rest would change with every machine.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "file_extension": ".py", "pygments_lexer": "ipython3"},
}


def main() -> None:
    names = sys.argv[1:] or sorted(path.stem for path in HERE.glob("[!_]*.py"))
    for name in names:
        notebook = jupytext.read(HERE / f"{name}.py")
        notebook.metadata = dict(METADATA)
        NotebookClient(
            notebook, timeout=1200, coalesce_streams=True, resources={"metadata": {"path": str(HERE.parent)}}
        ).execute()
        for number, cell in enumerate(notebook.cells):
            cell.id = f"cell-{number}"  # a random one would change with every run
            cell.metadata = {}
        notebook.metadata = dict(METADATA)
        jupytext.write(notebook, HERE / f"{name}.ipynb")
        print(f"notebooks/{name}.ipynb: {(HERE / f'{name}.ipynb').stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
