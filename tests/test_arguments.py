"""What is not a real array, a whole number, a positive one, a seed or a map is refused by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from esntools.arguments import positive_number, real_array, real_number, seeded, whole_number
from esntools.attractors import (
    compare_attractors,
    correlation_dimension,
    count_holes,
    exponent_from_series,
    kl_divergence,
)
from esntools.basins import basins, find_edge_state
from esntools.bifurcations import find_bifurcations, follow_branch
from esntools.echo_index import estimate_echo_index
from esntools.embedding import (
    cao_ratios,
    choose_embedding,
    delay_vectors,
    false_neighbours,
    mutual_information,
)
from esntools.errors import InvalidInputError
from esntools.fixed_points import find_fixed_points
from esntools.gradients import gradient_growth
from esntools.lyapunov import (
    conditional_lyapunov_spectrum,
    covariant_lyapunov_vectors,
    kaplan_yorke_dimension,
    lyapunov_spectrum,
)
from esntools.maps import FunctionMap
from esntools.memory import leak_time_constants, linear_memory_curve, memory_capacity, time_constants
from esntools.network import EchoStateNetwork, Readout
from esntools.orbits import find_periodic_orbits, refine_orbit
from esntools.reservoirs import norm_constrained_weights, orthogonal_weights, ring_weights
from esntools.systems import henon, logistic, lorenz63, mackey_glass

DRIVEN = EchoStateNetwork(0.5 * np.eye(2), W_in=[[1.0], [0.5]], readout=Readout([[1.0, 0.0]]))
LOOP = DRIVEN.closed_loop()
BISTABLE = EchoStateNetwork(np.diag([1.5, 0.5]))
U = np.sin(np.arange(300.0))[:, None]
X = henon().trajectory(1000, rng=0)
S = X[:, 0]

NO_ARRAY: dict[str, Any] = {
    "complex": [0.1j, 0.0],
    "text": ["0.1", "0.2"],
    "None": [None, 0.0],
    "ragged": [[1.0], [1.0, 2.0]],
    "sparse": scipy.sparse.csr_array(np.eye(2)),
    "mapping": {},
    "masked": np.ma.masked_array([1.0, 2.0], mask=[True, False]),
}
NO_WHOLE: dict[str, Any] = {
    "nan": np.nan, "half": 2.5, "float": 30.0, "infinite": np.inf, "True": True, "text": "30", "list": [30],
    "complex": 30j, "negative": -1,
}  # fmt: skip
NO_POSITIVE: dict[str, Any] = {
    "zero": 0.0, "negative": -0.1, "nan": np.nan, "infinite": np.inf, "text": "0.1", "list": [0.1],
    "complex": 0.1j, "True": True, "denormal": 5e-324,
}  # fmt: skip
NO_NUMBER: dict[str, Any] = {
    "nan": np.nan, "infinite": np.inf, "huge": 1e300, "text": "0.1", "list": [0.1], "complex": 0.1j,
}  # fmt: skip
NO_SEED: dict[str, Any] = {"negative": -1, "float": 1.5, "text": "x"}
NO_MAP: dict[str, Any] = {"array": np.eye(2), "None": None, "class": EchoStateNetwork}

CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any], dict[str, dict[str, Any]]]] = {
    "lyapunov_spectrum": (
        lyapunov_spectrum, {"system": LOOP, "n_steps": 20, "transient": 0},
        {"system": NO_MAP, "x0": NO_ARRAY, "n_exponents": NO_WHOLE, "n_steps": NO_WHOLE,
         "transient": NO_WHOLE, "dt": NO_POSITIVE, "rng": NO_SEED},
    ),
    "conditional_lyapunov_spectrum": (
        conditional_lyapunov_spectrum, {"system": DRIVEN, "u": U},
        {"system": NO_MAP, "u": NO_ARRAY, "x0": NO_ARRAY, "n_exponents": NO_WHOLE, "washout": NO_WHOLE,
         "dt": NO_POSITIVE, "rng": NO_SEED},
    ),
    "covariant_lyapunov_vectors": (
        covariant_lyapunov_vectors, {"system": LOOP, "n_steps": 20, "transient": 10},
        {"system": NO_MAP, "x0": NO_ARRAY, "n_vectors": NO_WHOLE, "n_steps": NO_WHOLE, "every": NO_WHOLE,
         "dt": NO_POSITIVE, "rng": NO_SEED},
    ),
    "kaplan_yorke_dimension": (
        kaplan_yorke_dimension, {"exponents": [0.1, -1.0]}, {"exponents": NO_ARRAY, "n_dimensions": NO_WHOLE}
    ),
    "find_periodic_orbits": (
        find_periodic_orbits, {"system": LOOP, "period": 2, "n_starts": 4, "max_rounds": 1},
        {"system": NO_MAP, "period": NO_WHOLE, "starts": NO_ARRAY, "n_starts": NO_WHOLE,
         "max_rounds": NO_WHOLE, "n_multipliers": NO_WHOLE, "tol": NO_POSITIVE, "rng": NO_SEED},
    ),
    "find_fixed_points": (
        find_fixed_points, {"system": DRIVEN, "u": [0.1], "n_starts": 4, "max_rounds": 1},
        {"system": NO_MAP, "u": NO_ARRAY, "starts": NO_ARRAY, "n_starts": NO_WHOLE, "max_rounds": NO_WHOLE,
         "n_eigenvalues": NO_WHOLE, "tol": NO_POSITIVE, "rng": NO_SEED},
    ),
    "find_bifurcations": (
        find_bifurcations, {"network": LOOP, "start": 0.5, "stop": 1.0, "n_starts": 4},
        {"start": NO_NUMBER, "stop": NO_NUMBER, "n_values": NO_WHOLE, "n_starts": NO_WHOLE, "tol": NO_NUMBER,
         "max_period": NO_WHOLE, "max_branches": NO_WHOLE, "max_step": NO_NUMBER,
         "max_points": NO_WHOLE, "rng": NO_SEED},
    ),
    "follow_branch": (
        follow_branch, {"network": LOOP, "x0": [0.0, 0.0], "start": 0.5, "stop": 1.0},
        {"x0": NO_ARRAY, "start": NO_NUMBER, "stop": NO_NUMBER, "at": NO_NUMBER, "period": NO_WHOLE},
    ),
    "estimate_echo_index": (
        estimate_echo_index, {"network": DRIVEN, "inputs": U, "n_starts": 8, "max_past": 64, "window": 50},
        {"network": NO_MAP, "inputs": NO_ARRAY, "n_starts": NO_WHOLE, "max_past": NO_WHOLE,
         "window": NO_WHOLE, "rng": NO_SEED},
    ),
    "refine_orbit": (
        refine_orbit, {"system": LOOP, "states": np.zeros((1, 2))},
        {"system": NO_MAP, "states": NO_ARRAY, "max_iterations": NO_WHOLE, "n_multipliers": NO_WHOLE,
         "tol": NO_POSITIVE},
    ),
    "basins": (
        basins, {"system": LOOP, "n_starts": 5},
        {"system": NO_MAP, "starts": NO_ARRAY, "n_starts": NO_WHOLE, "n_steps": NO_WHOLE,
         "n_average": NO_WHOLE, "max_period": NO_WHOLE, "rng": NO_SEED, "escape_radius": NO_POSITIVE},
    ),
    "find_edge_state": (
        find_edge_state, {"system": BISTABLE, "x_a": [1.0, 0.0], "x_b": [-1.0, 0.0]},
        {"system": NO_MAP, "x_a": NO_ARRAY, "x_b": NO_ARRAY, "n_steps": NO_WHOLE, "n_rounds": NO_WHOLE,
         "max_period": NO_WHOLE, "near": NO_POSITIVE, "apart": NO_POSITIVE, "rng": NO_SEED},
    ),
    "gradient_growth": (
        gradient_growth, {"system": DRIVEN, "u": U, "n_starts": 2, "horizons": [1, 2]},
        {"system": NO_MAP, "u": NO_ARRAY, "x0": NO_ARRAY, "horizons": NO_ARRAY, "n_values": NO_WHOLE,
         "n_starts": NO_WHOLE, "washout": NO_WHOLE, "dt": NO_POSITIVE, "rng": NO_SEED},
    ),
    "compare_attractors": (
        compare_attractors, {"true": X, "learned": X},
        {"true": NO_ARRAY, "learned": NO_ARRAY, "dt": NO_POSITIVE, "n_landmarks": NO_WHOLE, "rng": NO_SEED,
         "exponents": NO_ARRAY | {"one": (0.1,), "nan": (np.nan, 0.1), "number": 0.1}},
    ),
    "correlation_dimension": (
        correlation_dimension, {"points": X},
        {"points": NO_ARRAY, "theiler": NO_WHOLE, "n_references": NO_WHOLE, "n_radii": NO_WHOLE},
    ),
    "count_holes": (
        count_holes, {"points": X},
        {"points": NO_ARRAY, "n_landmarks": NO_WHOLE, "n_resamplings": NO_WHOLE},
    ),
    "exponent_from_series": (
        exponent_from_series, {"points": X},
        {"points": NO_ARRAY, "theiler": NO_WHOLE, "n_steps": NO_WHOLE, "n_references": NO_WHOLE,
         "n_neighbours": NO_WHOLE | {"zero": 0}, "dt": NO_POSITIVE},
    ),
    "kl_divergence": (
        kl_divergence, {"true": X, "learned": X},
        {"true": NO_ARRAY, "learned": NO_ARRAY, "method": {"unknown": "histogram"}, "n_bins": NO_WHOLE,
         "width": NO_POSITIVE, "n_samples": NO_WHOLE | {"zero": 0}},
    ),
    "cao_ratios": (
        cao_ratios, {"values": S, "lag": 1}, {"values": NO_ARRAY, "lag": NO_WHOLE, "max_dimension": NO_WHOLE,
                                              "theiler": NO_WHOLE},
    ),
    "false_neighbours": (
        false_neighbours, {"values": S, "lag": 1},
        {"values": NO_ARRAY, "lag": NO_WHOLE, "max_dimension": NO_WHOLE, "theiler": NO_WHOLE,
         "ratio": NO_POSITIVE, "size": NO_POSITIVE},
    ),
    "choose_embedding": (
        choose_embedding, {"values": S}, {"values": NO_ARRAY, "max_lag": NO_WHOLE, "max_dimension": NO_WHOLE}
    ),
    "delay_vectors": (
        delay_vectors, {"values": S, "lag": 1, "dimension": 2},
        {"values": NO_ARRAY | {"nan": [np.nan] * 9}, "lag": NO_WHOLE, "dimension": NO_WHOLE},
    ),
    "mutual_information": (
        mutual_information, {"values": S, "max_lag": 3},
        {"values": NO_ARRAY, "max_lag": NO_WHOLE, "n_bins": NO_WHOLE},
    ),
    "leak_time_constants": (
        leak_time_constants, {"network": DRIVEN}, {"network": NO_MAP, "dt": NO_POSITIVE}
    ),
    "time_constants": (time_constants, {"network": DRIVEN}, {"network": NO_MAP, "dt": NO_POSITIVE}),
    "linear_memory_curve": (
        linear_memory_curve, {"network": DRIVEN},
        {"network": NO_MAP, "n_delays": NO_WHOLE, "input_index": NO_WHOLE},
    ),
    "memory_capacity": (
        memory_capacity, {"network": DRIVEN, "n_steps": 100},
        {"network": NO_MAP, "n_delays": NO_WHOLE, "n_steps": NO_WHOLE, "washout": NO_WHOLE,
         "input_index": NO_WHOLE, "amplitude": NO_POSITIVE | {"huge": 1e200}, "rng": NO_SEED},
    ),
    "orthogonal_weights": (
        orthogonal_weights, {"n_units": 2}, {"n_units": NO_WHOLE, "gain": {"nan": np.nan, "text": "1"}}
    ),
    "norm_constrained_weights": (
        norm_constrained_weights, {"n_units": 2},
        {"n_units": NO_WHOLE, "decay": {"nan": np.nan, "text": "1"}, "rng": NO_SEED},
    ),
    "ring_weights": (ring_weights, {"n_units": 2}, {"n_units": NO_WHOLE}),
    "trajectory": (
        lorenz63().trajectory, {"n_steps": 2},
        {"n_steps": NO_WHOLE, "dt": NO_POSITIVE, "x0": NO_ARRAY, "rng": NO_SEED,
         "transient": {"nan": np.nan, "endless": 1e300}},
    ),
    "long trajectory": (henon().trajectory, {"n_steps": 2}, {"transient": {"endless": 1e300}}),
    "long delayed trajectory": (mackey_glass().trajectory, {"n_steps": 2}, {"dt": {"endless": 1e300}}),
    "as_map": (lorenz63().as_map, {}, {"dt": NO_POSITIVE}),
    "logistic": (logistic, {}, {"r": {"nan": np.nan, "text": "4", "complex": 4j}}),
    "FunctionMap": (
        FunctionMap, {"function": np.tanh, "derivative": np.tanh, "n_units": 1},
        {"function": {"None": None}, "n_units": NO_WHOLE, "n_inputs": NO_WHOLE,
         "state_bounds": {"one": (1.0,), "reversed": (1.0, -1.0), "nan": (np.nan, 1.0),
                          "wide": ([0.0, 0.0], [1.0, 1.0]), "text": "ab"}},
    ),
}  # fmt: skip

CASES = [(call, place) for call, (_, _, places) in CALLS.items() for place in places]


@pytest.mark.parametrize(("call", "place"), CASES)
def test_refused_by_name(call: str, place: str) -> None:
    function, arguments, places = CALLS[call]
    for label, value in places[place].items():
        assert _refusal(function, arguments | {place: value}), (
            f"{call}({place}={value!r}) was accepted: {label}"
        )


def _refusal(function: Callable[..., Any], arguments: dict[str, Any]) -> bool:
    try:
        function(**arguments)
    except InvalidInputError as error:
        return bool(error.place and error.value and error.rule)
    return False


@pytest.mark.parametrize("call", CALLS)
def test_the_arguments_around_the_bad_one_are_good(call: str) -> None:
    """Else everything would be refused, whatever it is."""
    function, arguments, _ = CALLS[call]
    if call in ("compare_attractors", "count_holes"):
        pytest.importorskip("ripser")
    function(**arguments)


def test_what_is_accepted() -> None:
    assert real_array(np.float32([1.5, 2.0]), "x").dtype == np.float64
    assert real_array([True, 2], "x").tolist() == [1.0, 2.0]
    x = np.arange(3.0)
    assert np.shares_memory(real_array(x, "x"), x)
    assert whole_number(np.int8(4), "n", 4, 4) == 4
    assert whole_number(np.array(4), "n") == 4
    assert positive_number(np.float32(0.5), "dt") == 0.5
    assert real_number(-2, "a") == -2.0
    generator = np.random.default_rng(3)
    assert seeded(generator) is generator
    assert seeded(3).integers(1000) == np.random.default_rng(3).integers(1000)


def test_a_huge_state_of_a_flow_goes_to_infinity() -> None:
    lorenz = lorenz63().as_map(0.1)
    assert np.all(np.isinf(lorenz.step([1e300, 1e300, 1e300])))
    assert not np.any(np.isnan(lorenz.tangent([1e300, 1e300, 1e300], np.ones(3))[0]))
