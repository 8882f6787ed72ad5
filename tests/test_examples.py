"""Every example runs as it stands, with warnings as errors, and leaves the figure that it promises."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("plot_*.py"))
SLOW = (
    "plot_attractor_comparison", "plot_contraction", "plot_diagnosis", "plot_echo_index",
    "plot_echo_state_property", "plot_lyapunov",
)  # fmt: skip


def test_there_are_examples() -> None:
    assert 10 <= len(EXAMPLES) <= 12


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(p, marks=[pytest.mark.slow, pytest.mark.ci] * (p.stem in SLOW), id=p.stem)
        for p in EXAMPLES
    ],
)
def test_example_runs(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(path), run_name="__main__")
    promised = re.findall(r'savefig\("([^"]+)"\)', path.read_text())
    assert promised
    for name in promised:
        assert (tmp_path / name).stat().st_size > 2000
    assert capsys.readouterr().out.strip()
    assert len(path.read_text().splitlines()) <= 40
