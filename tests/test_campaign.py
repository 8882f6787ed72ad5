"""A few minutes of the soundness campaign; an hour of it is a command (tests/benchmarks/README.md)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def campaign() -> ModuleType:
    path = Path(__file__).parent / "benchmarks" / "soundness_campaign.py"
    spec = importlib.util.spec_from_file_location("soundness_campaign", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_steps_are_never_proved(campaign: ModuleType) -> None:
    assert campaign.never_proved() == []


def test_a_wrong_rate_is_noticed(campaign: ModuleType) -> None:
    """The campaign can fail: a rate that is too good is broken by its adversaries."""
    import numpy as np

    rng = np.random.default_rng(0)
    W, one = np.array([[0.0, 0.9], [-0.9, 0.0]]), np.ones(2)
    norm = campaign.norm_of("spectral-norm", {}, 2)
    assert campaign.adversarial_growth(W, one, 0 * one, one, norm, rng) > 0.899
    assert campaign.adversarial_radius(W, one, 0 * one, one, rng) > 0.899


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("seed", [0, 1])
def test_no_verdict_is_broken(campaign: ModuleType, seed: int) -> None:
    result = campaign.campaign(75.0, seed=seed)
    assert result["violations"] == []
    # A slow machine does fewer, but a campaign of a handful of cases would say nothing.
    assert result["cases"] >= 30
    assert {"proved", "refuted"} <= result["counts"]["verdict"].keys()
