"""No version with a known fault is allowed: the lowest of each package is above it."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

PROJECT = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text())["project"]
REQUIRED = [
    Requirement(line)
    for lines in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for line in lines
]
REPAIRED = {
    "filelock": "3.20.3",  # CVE-2025-68146, CVE-2026-22701
    "h11": "0.16.0",  # CVE-2025-43859
    "jinja2": "3.1.6",  # CVE-2025-27516
    "onnx": "1.21.0",  # CVE-2026-27489, CVE-2026-34446
    "protobuf": "6.33.5",  # CVE-2026-0994
    "pyarrow": "14.0.1",  # CVE-2023-47248
    "pydantic": "2.4.0",  # CVE-2024-3772
    "ray": "2.52.0",  # CVE-2025-62593
    "scikit-learn": "1.5.0",  # CVE-2024-5206
    "sentencepiece": "0.2.1",  # CVE-2026-1260
    "starlette": "0.49.1",  # CVE-2025-62727
    "torch": "2.6.0",  # CVE-2025-32434
    "transformers": "4.53.0",  # CVE-2025-6921 and others of that year
}
"""Of each package with known faults, the first version without them."""


def lowest(requirement: Requirement) -> Version:
    found = [bound.version for bound in requirement.specifier if bound.operator in (">=", "==")]
    assert found, f"{requirement} has no lowest version."
    return max(map(Version, found))


@pytest.mark.parametrize("requirement", REQUIRED, ids=str)
def test_the_lowest_version_has_no_known_fault(requirement: Requirement) -> None:
    assert lowest(requirement) >= Version(REPAIRED.get(requirement.name, "0"))


def test_every_package_with_known_faults_is_required() -> None:
    assert set(REPAIRED) <= {requirement.name for requirement in REQUIRED}


def test_what_is_tested_is_allowed() -> None:
    """The versions of the tests are those of the bounds, where a package is installed."""
    pinned = Path(__file__).parents[1].joinpath("constraints.txt").read_text()
    names = re.findall(r"^([\w.-]+)==", pinned, re.MULTILINE)
    known = {name.lower().replace("_", "-") for name in names}
    for requirement in REQUIRED:
        if requirement.name.lower() in known:
            assert requirement.specifier.contains(version(requirement.name), prereleases=True)
