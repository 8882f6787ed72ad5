"""Everything a reader is shown is executed: docstrings, the README's Python, and the README's commands."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import esntools

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(esntools.__path__, "esntools.")
    if "_models" not in module.name
)


#: Their examples make a whole study.
SLOW = {"esntools.report", "esntools.study"}


@pytest.mark.parametrize(
    "name", [pytest.param(m, marks=[pytest.mark.slow, pytest.mark.ci] * (m in SLOW)) for m in MODULES]
)
def test_docstring_examples(name: str) -> None:
    module = importlib.import_module(name)
    names = {"np": np, "esntools": esntools}
    result = doctest.testmod(module, extraglobs=names, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


def test_every_module_is_walked() -> None:
    assert {"esntools.network", "esntools.activations", "esntools.inputs"} <= set(MODULES)


README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def readme_commands() -> list[list[str]]:
    """The commands of the block marked as executed, in order."""
    block = README.split("<!-- executed: shell -->")[1].split("```")[1]
    lines = [line.partition("#")[0].strip() for line in block.splitlines()[1:]]
    return [shlex.split(line) for line in lines if line]


@pytest.mark.slow
@pytest.mark.ci
def test_readme_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    code = blocks("python")
    assert len(code) >= 5
    for block in code:
        exec(compile(block, "README.md", "exec"), names)
    verdict, points, graph = names["verdict"], names["points"], names["graph"]
    assert verdict.verdict == "proved"  # type: ignore[attr-defined]
    found = [float(p.output[0]) for p in points]  # type: ignore[attr-defined]
    for true in (0.0, 72.0**0.5, -(72.0**0.5)):
        assert min(abs(x - true) for x in found) < 0.05
    assert graph.number_of_nodes() == 4  # type: ignore[attr-defined]
    designed = names["designed"]
    assert (designed.n_units, designed.n_inputs) == (3, 3)  # type: ignore[attr-defined]
    assert (len(names["every"]), names["every"].complete) == (3, True)  # type: ignore[arg-type, attr-defined]
    assert names["comparison"].verdict != "different"  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.ci
def test_readme_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command as it stands, on a small file of one's own; only the documented exit codes."""
    from esntools.cli import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").symlink_to(ROOT / "models")
    k = np.arange(1500)
    rng = np.random.default_rng(0)
    temperature = 10 + 8 * np.sin(0.2 * k) + 3 * np.sin(0.33 * k) + 0.05 * rng.normal(size=len(k))
    rows = "".join(f"{i},{t:.4f}\n" for i, t in zip(k, temperature))
    (tmp_path / "data.csv").write_text("day,temperature\n" + rows)
    (tmp_path / "graph.dot").write_text("digraph { a -> b -> a [threshold=0.2] }")
    codes = {}
    for words in readme_commands():
        assert words[0] == "esntools"
        code = main(words[1:])
        codes.setdefault(" ".join(words[1:3]), code)
    verify = next(code for command, code in codes.items() if command.startswith("verify"))
    assert verify in (0, 1, 3)
    check = codes.pop("check certificate.json")
    assert check == (2 if verify == 3 else 0)
    # What was not decided about these data is an answer; the others have one.
    assert codes.pop("compare data.csv") in (0, 1, 3)
    assert codes.pop("diagnose flipflop-split") == 1
    assert codes.pop("fixed-points model.npz") in (0, 3)
    assert {
        command: code for command, code in codes.items() if not command.startswith("verify") and code
    } == {}
    for name in (
        "model.npz",
        "forecast.csv",
        "certificate.json",
        "graph.graphml",
        "graph.svg",
        "exponents.svg",
        "basins.svg",
        "responses.svg",
        "branches.svg",
        "diagnosis.svg",
        "designed.npz",
        "reports/data/report.html",
    ):
        assert (tmp_path / name).stat().st_size > 0
