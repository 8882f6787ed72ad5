"""The compiled loops themselves: their functions to the last digits, and how they are compiled."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_simulation import PHI

from esntools import kernels
from esntools.activations import ACTIVATIONS

CODES = {name: activation.kernel_code for name, activation in ACTIVATIONS.items()}


def phi(name, z):
    out = np.array(z, dtype=np.float64)
    kernels.apply_activation(CODES[name], out)
    return out


def test_every_built_in_activation_has_its_own_branch():
    assert sorted(CODES.values()) == list(range(len(PHI)))


@settings(deadline=None, max_examples=300)
@given(
    name=st.sampled_from(sorted(PHI)),
    z=st.lists(st.floats(-800.0, 800.0), min_size=1, max_size=20),
)
def test_activations_are_those_of_the_standard_library(name, z):
    np.testing.assert_allclose(phi(name, z), [PHI[name](v) for v in z], rtol=1e-15, atol=4e-16)


def test_tanh_keeps_relative_accuracy_and_symmetry():
    rng = np.random.default_rng(0)
    z = np.concatenate(
        [10.0 ** rng.uniform(-300, 2, 20_000), rng.normal(size=20_000), np.linspace(-25, 25, 999)]
    )
    np.testing.assert_allclose(phi("tanh", z), [math.tanh(v) for v in z], rtol=1e-15, atol=0.0)
    np.testing.assert_array_equal(phi("tanh", -z), -phi("tanh", z))
    assert np.abs(phi("tanh", z)).max() == 1.0


def test_logistic_keeps_relative_accuracy_in_its_tail():
    z = np.linspace(-690.0, 40.0, 5001)
    np.testing.assert_allclose(
        phi("logistic", z), [1.0 / (1.0 + math.exp(-v)) for v in z], rtol=2e-15, atol=0.0
    )


@pytest.mark.parametrize("name", sorted(PHI))
def test_extreme_arguments(name):
    far = np.array([-np.inf, -1e300, 1e300, np.inf])
    low, high = ACTIVATIONS[name].value_bounds
    if name in ("tanh", "logistic", "hard_tanh", "erf"):
        np.testing.assert_allclose(phi(name, far), [low, low, high, high], atol=1e-300)
    assert np.isnan(phi(name, [np.nan])).all()
    assert phi(name, np.zeros(0)).shape == (0,)


RUN = """
import numpy as np
from esntools.network import EchoStateNetwork, Readout
from esntools.simulation import drive, forecast
rng = np.random.default_rng(0)
import scipy.sparse
for W in (rng.normal(size=(6, 6)), scipy.sparse.eye_array(6).tocsr()):
    for readout in (Readout(np.ones((1, 6))), Readout(np.ones((1, 6)), np.ones((1, 6)))):
        for leak in (1.0, rng.uniform(0.1, 1.0, 6)):
            network = EchoStateNetwork(W, W_in=np.ones((6, 1)), readout=readout, leak_rate=leak)
            for x0 in (np.zeros(6), np.zeros((3, 6))):
                drive(network, np.zeros((5, 1)), x0)
                forecast(network.closed_loop(), x0, 5)
                forecast(network.closed_loop(), x0, 5, store_states=True, y_range=(0.0, 1.0))
    drive(network, np.zeros((5, 3, 1)))
from esntools import kernels
print(len(kernels.run.signatures), len(kernels.run_batch.signatures), kernels.run.stats.cache_path)
"""


def run_fresh(**environment):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN],
        env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_one_compilation_serves_every_kind_of_network():
    result = run_fresh()
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert result.stdout.split()[:2] == ["1", "1"]


@pytest.mark.slow
def test_a_read_only_installation_caches_for_the_user_or_not_at_all(tmp_path):
    # Without a locator numba has no folder to cache in, as where none can be written.
    package = tmp_path / "esntools"
    shutil.copytree(Path(kernels.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    code = "import numba.core.caching as c\nc.CacheImpl._locator_classes = []\n" + RUN
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[:3] == ["1", "1", "None"]
    assert not list(package.rglob("*.nbi"))
