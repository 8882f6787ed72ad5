"""Small studies that several test modules look at, each run once."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from esntools.fixed_points import match_equilibria
from esntools.series import Series
from esntools.spec import ExplainSpec, FitSpec, ForecastSpec, StudySpec, VerifySpec
from esntools.study import run_study
from esntools.study.findings import Study
from esntools.systems import henon
from esntools.zoo import load

SETTINGS = StudySpec(
    fit=FitSpec(
        n_units=60,
        spectral_radius=0.2,
        leak_rate=1.0,
        input_scaling=1.0,
        bias_scaling=1.0,
        n_train=1200,
        n_candidates=4,
        seed=3,
    ),
    forecast=ForecastSpec(n_steps=60, n_windows=12),
    explain=ExplainSpec(n_starts=32, n_exponents=2, lyapunov_steps=600),
    verify=VerifySpec(closed_loop=False),
)

FAULTY = """
format = "esntools-model-spec"
version = 1
name = "weak-bit"
title = "A bit that cannot be set back"
kind = "network"
[network]
W = [[1.5, 0.0], [0.0, 0.3]]
W_in = [[1.0], [0.5]]
b = [0.1, 0.0]
W_out = [[1.0, 0.0]]
symbols = [[1.0], [-1.0]]
symbol_names = ["+1 on line 0", "-1 on line 0"]
[task]
source = "flip-flop"
n_bits = 1
n_steps = 400
pulse_probability = 0.1
"""


def henon_series(n_steps: int = 1600) -> Series:
    x = henon().trajectory(n_steps, rng=0)[:, 0]
    return Series(x, name="x", source="henon.csv", dt=1.0)


@cache
def henon_study() -> Study:
    """A study of the Hénon map, with the true fixed points put beside the learned ones."""
    study = run_study(henon_series(), settings=SETTINGS)
    truth = henon().equilibria()
    outputs = np.array([point.state[0] for point in truth])
    matches = match_equilibria(study.fixed_points["the closed loop"], outputs, [p.eigenvalues for p in truth])
    return replace(study, matches=matches, published_exponents=(0.41922, -1.62319))


@cache
def switching_study() -> Study:
    return run_study(load("switching-2neuron"))


@cache
def faulty_study() -> Study:
    """A memory of one bit whose pulse cannot set it back."""
    folder = Path(tempfile.mkdtemp())
    (folder / "model.toml").write_text(FAULTY)
    return run_study(load(folder))
