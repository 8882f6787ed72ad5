"""The wheel, built as a user's pip builds it: the zoo is inside, and works where there is no checkout."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from esntools.zoo import zoo_names

ROOT = Path(__file__).parents[1]

pytestmark = [pytest.mark.slow, pytest.mark.ci]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # With the build backend at hand nothing has to be fetched.
    here = ["--no-isolation"] if importlib.util.find_spec("hatchling") else []
    result = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", *here, "--outdir", str(folder), str(ROOT)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def _python(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=site.parent, env=environment, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip


def test_what_is_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in zoo_names():
        for file in ("model.toml", "study.toml", "expected.json"):
            assert f"esntools/_models/{name}/{file}" in names
    assert "esntools/py.typed" in names
    assert "esntools/certificates/check.py" in names
    package = {p.relative_to(ROOT).as_posix() for p in (ROOT / "esntools").rglob("*.py")}
    assert package <= names
    data = {p.relative_to(ROOT).as_posix() for p in (ROOT / "esntools").rglob("*.html*")}
    assert data <= names
    assert not [n for n in names if n.startswith(("tests/", "examples/", "models/"))]
    assert any(n.endswith(".dist-info/licenses/LICENSE") for n in names)


def test_the_zoo_from_a_clean_environment(site: Path) -> None:
    result = _python(site, "-c", "import esntools; print(esntools.__file__)")
    assert Path(result.stdout.strip()).is_relative_to(site)
    result = _python(site, "-m", "esntools", "models")
    assert result.stderr == ""
    assert list(json.loads(result.stdout)) == zoo_names()


def test_a_zoo_model_is_used_from_a_clean_environment(site: Path) -> None:
    result = _python(
        site, "-m", "esntools", "fixed-points", "switching-2neuron", "--input", "0.25,0.05", "-q"
    )
    assert result.stderr == ""
    assert len(json.loads(result.stdout)["points"]) == 3
    code = "import esntools; print(esntools.load_model('lorenz63').series(5).values.shape)"
    assert _python(site, "-c", code).stdout == "(5,)\n"
