"""What users install: the wheel holds the three packages, whole, and nothing else."""

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PACKAGES = ("protocol", "relay", "peer")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """Build from a copy, so that the checkout stays clean; `tests` comes along, and must not get in."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in (*PACKAGES, "tests"):
        shutil.copytree(CHECKOUT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, copy)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist"]
    built = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = (copy / "dist").iterdir()
    with zipfile.ZipFile(path) as opened:
        yield opened


def test_top_level_is_exactly_the_three_packages_and_the_metadata(wheel: zipfile.ZipFile) -> None:
    top_level = {name.split("/")[0] for name in wheel.namelist()}
    assert top_level == {*PACKAGES, f"backchannel-{version('backchannel')}.dist-info"}


def test_no_module_and_no_type_marker_is_left_behind(wheel: zipfile.ZipFile) -> None:
    sources = {
        path.relative_to(CHECKOUT).as_posix()
        for package in PACKAGES
        for pattern in ("*.py", "py.typed")
        for path in (CHECKOUT / package).rglob(pattern)
    }
    assert {f"{package}/py.typed" for package in PACKAGES} <= sources
    assert sources <= set(wheel.namelist())


def test_metadata_names_the_licence_and_the_lowest_python(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = wheel.read(name).decode()
    assert "\nRequires-Python: >=3.11\n" in metadata
    assert "\nLicense-File: LICENSE\n" in metadata
