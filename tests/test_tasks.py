"""Tasks: the target is what a loop over the pulses says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esntools.errors import InvalidInputError
from esntools.tasks import flip_flop


@given(
    n_bits=st.integers(1, 5),
    n_steps=st.integers(1, 60),
    p=st.floats(0.01, 1.0),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=60)
def test_target_is_the_last_pulse(n_bits: int, n_steps: int, p: float, seed: int) -> None:
    task = flip_flop(n_bits, n_steps, pulse_probability=p, rng=seed)
    assert task.u.shape == task.y.shape == (n_steps, n_bits)
    held = np.zeros(n_bits)
    for k in range(n_steps):
        for j in range(n_bits):
            assert task.u[k, j] in (-1.0, 0.0, 1.0)
            if task.u[k, j] != 0.0:
                held[j] = task.u[k, j]
        np.testing.assert_array_equal(task.y[k], held)
    assert np.all(task.y[0] != 0.0)


def test_pulses_and_states_are_complete() -> None:
    task = flip_flop(3, 10, rng=0)
    assert task.pulses.tolist()[:3] == [[1, 0, 0], [-1, 0, 0], [0, 1, 0]]
    assert len({tuple(row) for row in task.pulses}) == 6
    assert len({tuple(row) for row in task.states}) == 8
    assert task.states[0].tolist() == [-1, -1, -1]
    assert task.states[-1].tolist() == [1, 1, 1]
    assert (task.n_bits, task.n_steps) == (3, 10)


def test_pulse_rate_and_seed() -> None:
    task = flip_flop(2, 50_000, pulse_probability=0.02, rng=4)
    assert np.mean(task.u != 0.0) == pytest.approx(0.02, abs=0.002)
    assert np.mean(task.u) == pytest.approx(0.0, abs=0.002)
    np.testing.assert_array_equal(task.u, flip_flop(2, 50_000, pulse_probability=0.02, rng=4).u)
    assert not np.array_equal(task.u, flip_flop(2, 50_000, pulse_probability=0.02, rng=5).u)
    with pytest.raises(ValueError, match="read-only"):
        task.u[0, 0] = 3.0


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        ({"n_bits": 0, "n_steps": 5}, "n_bits"),
        ({"n_bits": 17, "n_steps": 5}, "at most 16"),
        ({"n_bits": 1, "n_steps": 0}, "n_steps"),
        ({"n_bits": 1, "n_steps": 5, "pulse_probability": 0.0}, "pulse_probability"),
        ({"n_bits": 1, "n_steps": 5, "pulse_probability": float("nan")}, "pulse_probability"),
    ],
)
def test_bad_input(arguments, place: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidInputError, match=place):
        flip_flop(**arguments)
