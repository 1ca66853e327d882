"""What CITATION.cff says of the project is what pyproject.toml says."""

import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent


def test_the_citation_is_of_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (cited["version"], cited["license"], cited["keywords"], cited["repository-code"]) == (
        project["version"],
        project["license"],
        project["keywords"],
        project["urls"]["Repository"],
    )
