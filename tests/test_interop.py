"""ReservoirPy in both directions: step for step equal, or refused by name."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import reservoirpy
import scipy.sparse
import scipy.special
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reservoirpy import ESN, activationsfunc, mat_gen
from reservoirpy.nodes import (
    ES2N,
    LIF,
    LMS,
    NVAR,
    RLS,
    Input,
    IPReservoir,
    LocalPlasticityReservoir,
    Output,
    Reservoir,
    Ridge,
    ScikitLearnNode,
    Tanh,
)
from strategies import networks

from esntools.activations import Activation
from esntools.errors import InvalidInputError, UnsupportedError
from esntools.interop import from_reservoirpy, reservoir_weights, to_reservoirpy
from esntools.network import EchoStateNetwork, Readout

RNG = np.random.default_rng(7)
N = 12


def series(n_inputs: int, n_steps: int = 60) -> Any:
    return np.random.default_rng(3).uniform(-1, 1, (n_steps, n_inputs))


def readout_of(model: Any) -> Any:
    return next((node for node in getattr(model, "nodes", []) if isinstance(node, (Ridge, RLS, LMS))), None)


def reservoir_of(model: Any) -> Any:
    kinds = (Reservoir, IPReservoir, LocalPlasticityReservoir)
    return next(node for node in getattr(model, "nodes", [model]) if isinstance(node, kinds))


def assert_equal_steps(model: Any, network: EchoStateNetwork, u: Any, *, x: Any = None) -> None:
    """From the state `x` (that of the model by default) on, states and outputs agree to 1e-12."""
    x = reservoir_of(model).state["out"] if x is None else x
    for u_k in u:
        y = model.step(u_k)
        x = network.step(x, u_k)
        np.testing.assert_allclose(x, reservoir_of(model).state["out"], rtol=1e-12, atol=1e-12)
        if readout_of(model) is not None:
            y = y if not isinstance(y, dict) else next(v for name, v in y.items() if name != "reservoir")
            np.testing.assert_allclose(network.output(x), y, rtol=1e-12, atol=1e-12)


# -- from ReservoirPy: what is read -----------------------------------------------------------------------

BASE: dict[str, Any] = {"units": N, "seed": 1, "sr": 1.1, "rc_connectivity": 0.4, "input_connectivity": 0.9}
SPARSE = mat_gen.normal(N, N, connectivity=0.4, sr=1.1, seed=2)
RESERVOIRS = {
    "defaults": {"units": N, "seed": 1},
    "sparse W and Win": BASE,
    "dense W and Win": BASE | {"rc_connectivity": 1.0, "input_connectivity": 1.0},
    "leak": BASE | {"lr": 0.3},
    "leak vector": BASE | {"lr": np.linspace(0.1, 1.0, N)},
    "leak of one element": BASE | {"lr": np.array([0.5])},
    "integer leak": BASE | {"lr": 1},
    "bias scalar": BASE | {"bias": 0.25},
    "bias vector": BASE | {"bias": np.linspace(-1, 1, N)},
    "bias of one element": BASE | {"bias": np.array([0.25])},
    "bias initialiser": BASE | {"bias": mat_gen.uniform},
    "float32": BASE | {"dtype": np.float32, "bias": mat_gen.uniform},
    "float32 exact leak": BASE | {"lr": np.float32(0.5)},
    "input scaling": BASE | {"input_scaling": np.array([0.5, 2.0])},
    "CSC": BASE | {"W": SPARSE.tocsc()},
    "COO": BASE | {"W": SPARSE.tocoo()},
    "old-style sparse matrix": BASE | {"W": scipy.sparse.csr_matrix(SPARSE)},
    "array": BASE | {"W": SPARSE.toarray()},
    "integers": BASE | {"W": np.eye(N, dtype=int), "Win": np.ones((N, 2), dtype=np.int8)},
    "uniform": BASE | {"W": mat_gen.uniform, "Win": mat_gen.normal},
    "ring": BASE | {"W": mat_gen.ring},
    "sigmoid": BASE | {"activation": "sigmoid"},
    "sig": BASE | {"activation": "sig"},
    "relu": BASE | {"activation": "relu"},
    "identity": BASE | {"activation": "identity", "sr": 0.9},
    "softplus": BASE | {"activation": "softplus", "sr": 0.9},
    "np.tanh": BASE | {"activation": np.tanh},
    "np.sin": BASE | {"activation": np.sin},
    "scipy erf": BASE | {"activation": scipy.special.erf},
    "scipy expit": BASE | {"activation": scipy.special.expit},
    "our softsign": BASE | {"activation": Activation.named("softsign")},
}


def reservoir(name: str) -> Any:
    return Reservoir(**RESERVOIRS[name])


@pytest.mark.parametrize("name", RESERVOIRS)
def test_a_reservoir_alone_is_equal_step_for_step(name: str) -> None:
    node, u = reservoir(name), series(2)
    node.run(u[:5])
    network = from_reservoirpy(node)
    assert network.is_sparse == scipy.sparse.issparse(node.W)
    assert network.readout is None
    assert_equal_steps(node, network, u[5:])
    node.reset()
    assert_equal_steps(node, network, u, x=np.zeros(N))


READOUTS = {
    "Ridge": lambda: Ridge(ridge=1e-3),
    "Ridge without bias": lambda: Ridge(ridge=1e-3, fit_bias=False),
    "RLS": lambda: RLS(alpha=1e-2),
    "LMS": lambda: LMS(learning_rate=1e-2),
}


@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("name", ["sparse W and Win", "leak vector", "float32", "sigmoid", "bias vector"])
def test_a_trained_model_is_equal_step_for_step(name: str, readout: str, feedback: bool) -> None:
    node, ro, u = reservoir(name), READOUTS[readout](), series(2)
    model = (node >> ro) & (node << ro) if feedback else node >> ro
    y = np.stack([u[:, 0] + 0.5, u[:, 1] * u[:, 0], np.roll(u[:, 0], 1)], axis=1)
    model.fit(u, y)
    network = from_reservoirpy(model)
    assert (network.W_fb is not None) == feedback
    assert network.n_inputs == 2
    model.reset()
    model.step(u[0])
    assert_equal_steps(model, network, u[1:])


@pytest.mark.parametrize(
    ("options", "multiple"),
    [({}, False), ({"feedback": True}, False), ({"return_reservoir_activity": True}, True)],
)
def test_an_ESN_is_equal_step_for_step(options: dict, multiple: bool) -> None:
    u = series(1, 80)
    model = ESN(units=N, ridge=1e-4, seed=2, lr=0.5, input_connectivity=1.0, **options)
    model.fit(u[:-1], {"readout": u[1:]} if multiple else u[1:], warmup=5)
    network = from_reservoirpy(model)
    model.reset()
    model.step(u[0])
    assert_equal_steps(model, network, u[1:])


def test_a_pure_generator_is_equal_step_for_step() -> None:
    node, ro, y = Reservoir(**BASE), Ridge(1e-4), series(1)
    model = (node >> ro) & (node << ro)
    model.fit(np.empty((60, 0)), y)
    network = from_reservoirpy(model)
    assert (network.n_inputs, network.n_outputs) == (0, 1)
    model.step()
    assert_equal_steps(model, network, np.empty((20, 0)))


def test_feedback_written_with_a_delay_is_the_same() -> None:
    node = Reservoir(**BASE)
    ro = Ridge(Wout=RNG.normal(size=(N, 1)), bias=np.array([0.3]))
    model = (node >> ro) & (ro >> 1 >> node)
    model.initialize(np.zeros(1), np.zeros(1))
    network = from_reservoirpy(model)
    model.step(np.array([0.4]))
    assert_equal_steps(model, network, series(1))


def test_pass_through_nodes_are_looked_through() -> None:
    node = Reservoir(**BASE)
    ro = Ridge(Wout=RNG.normal(size=(N, 1)), bias=np.array([0.3]), name="readout")
    model = Input(name="u") >> node >> ro >> Output(name="out") & node >> Output(name="reservoir")
    model.step(np.array([0.4, 0.1]))
    assert_equal_steps(model, from_reservoirpy(model), series(2))


@pytest.mark.parametrize("bias", [0.0, 0.7])
def test_the_first_step_with_feedback_is_equal_exactly_when_b_out_is_zero(bias: float) -> None:
    """ReservoirPy feeds back zeros at first, this map psi(x0)."""
    node = Reservoir(**BASE)
    ro = Ridge(Wout=RNG.normal(size=(N, 1)), bias=np.array([bias]))
    model = (node >> ro) & (node << ro)
    u = series(1)
    model.initialize(u[:1], np.zeros((1, 1)))
    network = from_reservoirpy(model)
    model.step(u[0])
    first = node.state["out"]
    np.testing.assert_allclose(replace(network, W_fb=None).step(np.zeros(N), u[0]), first, atol=1e-14)
    assert np.allclose(network.step(np.zeros(N), u[0]), first, atol=1e-12) == (bias == 0.0)
    assert_equal_steps(model, network, u[1:], x=first)


def test_intrinsic_plasticity_is_this_map_without_leak() -> None:
    u = series(2, 200)
    node = IPReservoir(units=N, sr=0.9, seed=1, learning_rate=5e-3, mu=0.1, sigma=0.4, input_connectivity=1.0)
    node.fit(u)
    assert not np.allclose(node.a, 1.0)
    assert_equal_steps(node, from_reservoirpy(node), u)
    with pytest.raises(UnsupportedError, match=r"IPReservoir\.lr: 0\.5.*lr = 1"):
        from_reservoirpy(run(IPReservoir(units=N, lr=0.5, seed=1)))


def test_local_plasticity_is_this_map_without_leak() -> None:
    u = series(2)
    node = LocalPlasticityReservoir(units=N, sr=0.9, seed=1, eta=1e-2, input_connectivity=1.0)
    node.fit(u)
    assert_equal_steps(node, from_reservoirpy(node), u)
    with pytest.raises(UnsupportedError, match=r"LocalPlasticityReservoir.lr"):
        from_reservoirpy(run(LocalPlasticityReservoir(units=N, lr=0.5, seed=1)))


def test_a_subclass_that_steps_alike_is_read_and_another_refused() -> None:
    class Named(Reservoir):
        pass

    class Noisy(Reservoir):
        def _step(self, state: Any, x: Any) -> Any:
            return {"out": super()._step(state, x)["out"] + 0.1}

    node = run(Named(**BASE))
    assert_equal_steps(node, from_reservoirpy(node), series(2))
    with pytest.raises(UnsupportedError, match=r"^Noisy: "):
        from_reservoirpy(run(Noisy(**BASE)))
    with pytest.raises(UnsupportedError, match=r"^node Noisy: "):
        from_reservoirpy(Noisy(**BASE) >> Ridge())


# -- from ReservoirPy: what is refused --------------------------------------------------------------------


def run(node: Any) -> Any:
    node.run(series(2, 3))
    return node


def fixed_ridge(n: int = N, **options: Any) -> Any:
    return Ridge(Wout=np.ones((n, 1)), bias=np.zeros(1), **options)


def feedback_model(W_in: Any, ro: Any) -> Any:
    node = Reservoir(W=np.eye(N), Win=W_in)
    return reservoirpy.Model(nodes=[node, ro], edges=[(node, 0, ro), (ro, 1, node)])


def with_delay(parent: Any, delay: int, child: Any, *edges: Any) -> Any:
    every = [(parent, delay, child), *edges]
    return reservoirpy.Model(
        nodes=list({id(n): n for a, _, b in every for n in (a, b)}.values()), edges=every
    )


def unsupported() -> dict[str, tuple[Any, str]]:
    node, other, ro = run(Reservoir(**BASE)), run(Reservoir(**BASE)), fixed_ridge()
    chain = (node, 0, ro)
    return {
        "input to readout": (ESN(units=N, input_to_readout=True), "input-to-readout"),
        "two reservoirs in a row": (node >> Reservoir(**BASE) >> ro, "2 reservoirs"),
        "two reservoirs side by side": ([node, other] >> fixed_ridge(2 * N), "2 reservoirs"),
        "two readouts": (node >> [fixed_ridge(name="a"), fixed_ridge(name="b")], "2 readouts"),
        "no reservoir": (with_delay(Input(), 0, ro), "0 reservoirs"),
        "a readout alone": (ro, "^Ridge: "),
        "two inputs": ([Input(name="a"), Input(name="b")] >> node >> ro, "several Input nodes"),
        "a readout elsewhere": (with_delay(ro, 1, node), "does not read the reservoir"),
        "delay 2": (with_delay(ro, 2, node, chain), r"edge Ridge -> Reservoir, delay 2"),
        "delay to the readout": (with_delay(node, 1, ro), r"edge Reservoir -> Ridge, delay 1"),
        "delayed input": (with_delay(Input(), 3, node, chain), r"edge Input -> Reservoir, delay 3"),
        "reservoir to itself": (with_delay(node, 1, node, chain), r"edge Reservoir -> Reservoir, delay 1"),
        "NVAR": (NVAR(delay=2, order=2) >> ro, "node NVAR"),
        "NVAR in ESN": (ESN(reservoir=NVAR(delay=2, order=2), readout=ro), "node NVAR"),
        "LIF": (LIF(units=N) >> ro, "node LIF"),
        "ES2N": (ES2N(units=N), "ES2N"),
        "Tanh node": (node >> Tanh() >> ro, "node Tanh"),
        "named node": (node >> Tanh(name="squash") >> ro, "node Tanh 'squash'"),
        "not a model": ("reservoir", "^str: "),
        "none": (None, "^NoneType: "),
    }


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        (np.eye(2), r"EchoStateNetwork\(W"),
        ("model.npz", r"EchoStateNetwork\.load"),
        (SimpleNamespace(network=None), r"\.network$"),
        (None, "not a ReservoirPy reservoir"),
    ],
)
def test_what_is_no_model_is_refused_with_the_way_to_one(given: Any, remedy: str) -> None:
    with pytest.raises(UnsupportedError, match=remedy):
        from_reservoirpy(given)


@pytest.mark.parametrize("name", unsupported())
def test_what_is_not_this_map_is_refused_by_name(name: str) -> None:
    model, message = unsupported()[name]
    with pytest.raises(UnsupportedError, match=message):
        from_reservoirpy(model)


def test_scikit_learn_readouts_are_refused_by_name() -> None:
    class Model:
        def fit(self, x: Any, y: Any) -> None: ...

        def predict(self, x: Any) -> Any: ...

    node = ScikitLearnNode.__new__(ScikitLearnNode)
    node.name = None
    with pytest.raises(UnsupportedError, match="node ScikitLearnNode"):
        from_reservoirpy(Reservoir(**BASE) >> node)


def test_jax_nodes_are_refused_by_name() -> None:
    kind = type("Reservoir", (), {"__module__": "reservoirpy.jax.nodes.reservoir"})
    with pytest.raises(UnsupportedError, match=r"Reservoir: a node of reservoirpy\.jax"):
        from_reservoirpy(kind())


@pytest.mark.parametrize(
    ("activation", "message"),
    [
        ("softmax", "softmax; must act on each unit by itself"),
        (lambda z: np.tanh(2 * z), "<lambda>.*from_sympy"),
        (partial(activationsfunc.softmax, beta=2.0), "partial"),
        (np.arctan, "arctan|ufunc"),
        (math.tanh, "tanh"),
    ],
)
def test_unknown_activations_are_refused_by_name(activation: Any, message: str) -> None:
    node = Reservoir(W=np.eye(N), Win=np.ones((N, 1)), activation=activation)
    with pytest.raises(UnsupportedError, match=message):
        from_reservoirpy(node)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Reservoir(**BASE), r"^Reservoir\.W: not set yet.*run it on one series"),
        (Reservoir(W=np.eye(N)), r"^Reservoir\.Win: not set yet"),
        (Reservoir(W=np.eye(N), Win=np.eye(N), bias=mat_gen.uniform), r"^Reservoir\.bias: not set yet"),
        (ESN(units=N), r"^Reservoir\.W: not set yet"),
        (Reservoir(W=np.eye(N), Win=np.eye(N)) >> Ridge(), r"^Ridge\.Wout: not set yet.*fit the model"),
        (Reservoir(W=np.eye(N), Win=np.eye(N)) >> RLS(name="r"), r"^RLS 'r'\.Wout: not set yet"),
        (Reservoir(W=np.eye(N), Win=np.eye(N)) >> Ridge(Wout=np.ones((N, 1))), r"^Ridge\.bias: not set yet"),
        (Reservoir(W=np.eye(N), Win=np.eye(N), lr=0.0), r"leak_rate\[0\]: 0.0"),
        (Reservoir(W=np.eye(N), Win=np.eye(N), lr=1.5), r"leak_rate\[0\]: 1.5"),
        (Reservoir(W=np.eye(N) * np.nan, Win=np.eye(N)), r"W\[0, 0\]: nan"),
        (Reservoir(W=np.eye(N), Win=np.eye(N), bias=np.ones((N, 1))), r"^b: shape"),
        (Reservoir(W=np.eye(N) * 1j, Win=np.eye(N)), r"^W: complex128"),
        (Reservoir(units=N, W=0.5, Win=np.eye(N)), r"^W: shape \(\)"),
        (Reservoir(W=np.ones((N, 3)), Win=np.eye(N)), r"^W: shape \(12, 3\)"),
        (Reservoir(W=np.eye(N), Win=np.ones(N)), r"^W_in: shape \(12,\)"),
        (feedback_model(np.ones(N), fixed_ridge()), r"^W_in: shape \(12,\)"),
        (feedback_model(np.ones((N, 0)), fixed_ridge()), r"^W_fb: shape \(12, 0\)"),
        (feedback_model(np.ones((N, 1)), Ridge(Wout=np.ones((N, 2)), bias=0.0)), r"^W_fb: shape \(12, 1\)"),
    ],
)
def test_what_is_not_ready_or_not_a_number_is_refused(model: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        from_reservoirpy(model)


def test_a_float32_leak_rate_that_is_rounded_at_every_step_is_refused() -> None:
    """1 - 0.1 in float32 is not 1 - float64(float32(0.1)): the two maps differ by 1e-8."""
    for lr in (np.float32(0.1), np.full(N, 0.1, dtype=np.float32)):
        with pytest.raises(UnsupportedError, match=r"Reservoir\.lr: dtype float32"):
            from_reservoirpy(run(Reservoir(**BASE | {"lr": lr})))


# -- to ReservoirPy ---------------------------------------------------------------------------------------


@given(networks(squares=False, max_units=6), st.integers(0, 2**32 - 1))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_round_trip_keeps_the_hash_and_the_steps(network: EchoStateNetwork, seed: int) -> None:
    model = to_reservoirpy(network)
    assert from_reservoirpy(model).content_hash == network.content_hash
    if network.activation.bounded:
        u = np.random.default_rng(seed).uniform(-1, 1, (4, network.n_inputs))
        # Growth of rounding errors is not a difference of the maps: each step starts from the same state.
        for u_k in u:
            x = reservoir_of(model).state["out"]
            assert_equal_steps(model, network, u_k[None], x=x)


def test_the_first_step_is_equal_too() -> None:
    psi = Readout(RNG.normal(size=(2, N)), b_out=[0.5, -1.0])
    network = EchoStateNetwork(
        RNG.normal(size=(N, N)) / 4, W_in=RNG.normal(size=(N, 1)), readout=psi, W_fb=RNG.normal(size=(N, 2))
    )
    assert_equal_steps(to_reservoirpy(network), network, series(1), x=np.zeros(N))


def test_a_custom_activation_goes_there_and_back() -> None:
    phi = Activation.from_sympy("x/sqrt(1 + x**2)")
    network = EchoStateNetwork(RNG.normal(size=(N, N)) / 4, W_in=RNG.normal(size=(N, 2)), activation=phi)
    model = to_reservoirpy(network)
    assert_equal_steps(model, network, series(2), x=np.zeros(N))
    assert from_reservoirpy(model) == network


def test_the_model_does_not_share_memory_with_the_network() -> None:
    network = reservoir_weights(N, 1, connectivity=0.5, seed=1)
    before = network.content_hash
    model = to_reservoirpy(network)
    model.W.data[:] = 0.0
    model.Win[:] = 0.0
    model.bias[:] = 0.0
    assert network.content_hash == before


def test_writing_a_model_does_not_advance_the_global_generator() -> None:
    reservoirpy.set_seed(5)
    expected = Reservoir(**BASE | {"seed": None}).rng.random()
    reservoirpy.set_seed(5)
    to_reservoirpy(EchoStateNetwork([[0.5]]))
    reservoir_weights(N, 1, seed=1)
    assert Reservoir(**BASE | {"seed": None}).rng.random() == expected


def test_squares_are_refused_by_name() -> None:
    network = EchoStateNetwork([[0.5]], readout=Readout([[1.0]], [[1.0]]))
    with pytest.raises(UnsupportedError, match="readout: affine in"):
        to_reservoirpy(network)


# -- drawing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "connectivity"), [(1, None), (2, None), (7, 0.5), (60, None), (60, 1.0), (700, 0.01)]
)
def test_reservoir_weights_have_the_stated_scales(n: int, connectivity: float | None) -> None:
    network = reservoir_weights(
        n,
        2,
        spectral_radius=0.7,
        input_scaling=[0.5, 2.0],
        bias_scaling=0.25,
        connectivity=connectivity,
        seed=4,
    )
    assert np.max(np.abs(np.linalg.eigvals(network.dense_W()))) == pytest.approx(0.7, rel=1e-9)
    assert np.all(np.max(np.abs(network.W_in), axis=0) <= [0.5, 2.0])
    assert np.all(np.abs(network.b) <= 0.25)
    assert np.count_nonzero(network.W_in) == 2 * n
    density = min(1.0, 10 / n) if connectivity is None else connectivity
    assert np.count_nonzero(network.dense_W()) == pytest.approx(density * n * n, abs=1)
    assert network.is_sparse == (density < 1.0)


def test_reservoir_weights_are_a_function_of_the_seed() -> None:
    draw = partial(reservoir_weights, 600, 1)
    assert draw(seed=1).content_hash == draw(seed=1).content_hash
    assert draw(seed=1) != draw(seed=2)
    assert draw(seed=np.random.default_rng(1)) == draw(seed=1)
    assert draw(seed=None) != draw(seed=None)


def test_the_same_seed_with_other_scalings_is_the_same_network_rescaled() -> None:
    one = reservoir_weights(50, 1, seed=1)
    other = reservoir_weights(50, 1, spectral_radius=1.8, input_scaling=2.0, bias_scaling=1.0, seed=1)
    np.testing.assert_allclose(other.dense_W(), 2 * one.dense_W(), rtol=1e-12)
    np.testing.assert_allclose(other.W_in, 2 * one.W_in, rtol=1e-12)
    np.testing.assert_allclose(other.b, 2 * one.b, rtol=1e-12)


def test_corner_cases_of_drawing() -> None:
    assert not np.any(reservoir_weights(20, 1, spectral_radius=0.0, seed=1).dense_W())
    assert reservoir_weights(20, 0, seed=1).n_inputs == 0
    assert np.count_nonzero(reservoir_weights(20, 1, input_connectivity=0.5, seed=1).W_in) == 10
    leaky = reservoir_weights(3, 1, leak_rate=[0.1, 0.2, 0.3], activation="erf", seed=1)
    assert leaky.activation.name == "erf"
    np.testing.assert_array_equal(leaky.leak_rate, [0.1, 0.2, 0.3])


@pytest.mark.parametrize("seed", range(30))
def test_a_draw_is_never_nilpotent_nor_blown_up(seed: int) -> None:
    """At degree 1 most of ReservoirPy's graphs have hardly a cycle; ours keep weights of order one."""
    W = reservoir_weights(20, 1, connectivity=0.05, seed=seed).dense_W()
    assert np.max(np.abs(np.linalg.eigvals(W))) == pytest.approx(0.9, rel=1e-6)
    assert np.max(np.abs(W)) < 4 * 0.9 * math.sqrt(3)


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"spectral_radius": -0.1}, "spectral_radius"),
        ({"spectral_radius": math.inf}, "spectral_radius"),
        ({"spectral_radius": math.nan}, "spectral_radius"),
        ({"spectral_radius": "big"}, "spectral_radius"),
        ({"leak_rate": 0.0}, r"leak_rate\[0\]"),
        ({"leak_rate": 1.01}, r"leak_rate\[0\]"),
        ({"connectivity": 0.0}, "connectivity"),
        ({"connectivity": 1.01}, "connectivity"),
        ({"connectivity": 1e-3}, "connectivity: 0.001; 100 draws"),
        ({"input_connectivity": 0.0}, "input_connectivity"),
        ({"input_connectivity": 1e-3}, "input_connectivity: 0.001; leaves no input weight"),
        ({"input_scaling": [1.0, 2.0]}, "input_scaling"),
        ({"input_scaling": math.nan}, "input_scaling"),
        ({"input_scaling": "big"}, "input_scaling"),
        ({"bias_scaling": -1.0}, "bias_scaling"),
        ({"n_units": 0}, "n_units"),
        ({"n_units": 2.5}, "n_units"),
        ({"n_units": True}, "n_units"),
        ({"n_inputs": -1}, "n_inputs"),
        ({"activation": "tahn"}, "activation"),
        ({"seed": -1}, "seed"),
        ({"seed": "x"}, "seed"),
    ],
)
def test_reservoir_weights_refuse_what_is_out_of_range(options: dict, place: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^{place}"):
        reservoir_weights(**{"n_units": 20, "n_inputs": 1, "seed": 1} | options)
