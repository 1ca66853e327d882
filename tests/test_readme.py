"""What the README says, done as it says, and what was measured for it."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

from relujax.cli import main

README = Path(__file__).parent.parent / "README.md"


def test_ones_own_model_from_the_command_line(tmp_path, monkeypatch, capsys):
    section = README.read_text(encoding="utf-8").split("## Your own model")[1]
    model, command = re.search(r"```python\n(.*?)```\n\n```sh\n(.*?)```", section, re.DOTALL).groups()
    monkeypatch.chdir(tmp_path)
    Path("mymodel.py").write_text(model, encoding="utf-8")
    first, second = map(shlex.split, command.strip().splitlines())
    assert (first[0], second[0]) == ("python", "relujax")
    subprocess.run([sys.executable, *first[1:]], check=True)
    monkeypatch.setattr(sys, "path", list(sys.path))  # the command adds the working folder
    assert main(second[1:]) == 0
    assert "report.html" in capsys.readouterr().out
    assert Path("report.html").stat().st_size > 1_000_000


def test_the_table_of_claims_is_the_one_that_the_recorded_numbers_give():
    script = [sys.executable, "-W", "error", "-m", "benchmarks.claims", "--check"]
    done = subprocess.run(script, cwd=README.parent, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0), done.stderr
