"""ReservoirPy's traps, one test each: what it does now, so that a change is noticed, and what ours does.

A failure here is news, not a bug of esntools: read what changed, then correct interop.py and its docstrings.
"""

from __future__ import annotations

import io
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
import reservoirpy
import scipy.linalg
from reservoirpy import ESN, mat_gen
from reservoirpy.nodes import NVAR, RLS, Reservoir, Ridge
from reservoirpy.observables import effective_spectral_radius, spectral_radius

from esntools.errors import InvalidInputError
from esntools.interop import from_reservoirpy, reservoir_weights, to_reservoirpy
from esntools.network import EchoStateNetwork, Readout

N = 20


def series(n_steps: int = 60, n: int = 1, seed: int = 0) -> Any:
    return np.random.default_rng(seed).uniform(-1, 1, (n_steps, n))


def generator() -> tuple[Any, Any, Any]:
    """A reservoir with an input and feedback from its readout, initialised."""
    node = Reservoir(units=N, seed=1, sr=1.2, input_connectivity=1.0, lr=0.5)
    ro = Ridge(Wout=np.random.default_rng(1).normal(size=(N, 1)), bias=np.array([0.3]))
    model = (node >> ro) & (node << ro)
    model.initialize(np.zeros(1), np.zeros(1))
    return model, node, ro


def test_this_is_the_version_the_traps_were_found_in() -> None:
    assert reservoirpy.__version__.startswith("0.4.")


# -- defaults ---------------------------------------------------------------------------------------------


def test_the_default_bias_makes_the_map_odd() -> None:
    u = series()
    node = Reservoir(units=N, seed=1)
    up = node.run(u)
    node.reset()
    np.testing.assert_array_equal(node.run(-u), -up)

    network, x = reservoir_weights(N, 1, seed=1), np.full(N, 0.3)
    assert not np.allclose(network.step(-x, -u[0]), -network.step(x, u[0]), atol=1e-3)


def test_the_default_input_connectivity_hides_a_scalar_input_from_nine_units_in_ten() -> None:
    node = Reservoir(units=200, seed=1)
    node.initialize(np.zeros(1))
    assert node.Win.nnz == 20

    assert np.count_nonzero(reservoir_weights(200, 1, seed=1).W_in) == 200


def test_the_default_ridge_penalty_is_zero_and_only_warns() -> None:
    assert Ridge().ridge == 0.0
    x = np.repeat(series(), 2, axis=1) + 1e-9 * series(n=2, seed=1)
    with pytest.warns(scipy.linalg.LinAlgWarning):
        Ridge().fit(x, x[:, :1])


def test_the_default_spectral_radius_is_one() -> None:
    assert Reservoir(units=N).sr == 1.0
    assert reservoir_weights(N, 1, seed=1).spectral_radius() == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("keyword", "nearest"),
    [
        ("spectral_raduis", "'spectral_radius'"),
        ("sr", "'spectral_radius'"),
        ("lr", "'leak_rate'"),
        ("rc_connectivity", "'connectivity'"),
        ("bias", "'bias_scaling'"),
        ("inputscaling", "'input_scaling'"),
        ("noise", "known: activation, bias_scaling"),
    ],
)
def test_ESN_swallows_unknown_keywords_and_ours_refuses_them(keyword: str, nearest: str) -> None:
    if keyword not in ("sr", "lr", "rc_connectivity", "bias"):
        model = ESN(units=N, seed=1, **{keyword: 123.0})
        assert not any(123.0 in vars(node).values() for node in (model.reservoir,))

    with pytest.raises(
        InvalidInputError, match=rf"^reservoir_weights\({keyword}=\.\.\.\): 0\.5; .*{nearest}"
    ):
        reservoir_weights(N, 1, **{keyword: 0.5})


# -- weights ----------------------------------------------------------------------------------------------


def nilpotent(n: int, connectivity: float) -> Any:
    """The seed of a draw whose graph has no directed cycle."""
    for seed in range(100):
        W = mat_gen.normal(n, n, connectivity=connectivity, seed=seed).toarray() != 0
        if not np.any(np.linalg.matrix_power(W.astype(float), n)):
            return seed
    raise AssertionError("no nilpotent draw among 100")


def test_a_nilpotent_draw_is_divided_by_epsilon() -> None:
    seed = nilpotent(100, 0.005)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        W = mat_gen.normal(100, 100, connectivity=0.005, sr=0.9, seed=seed)
    assert np.max(np.abs(W.toarray())) > 100
    assert not np.any(np.linalg.matrix_power(W.toarray() != 0, 100))

    for own_seed in range(20):
        try:
            network = reservoir_weights(100, 1, connectivity=0.005, seed=own_seed)
        except InvalidInputError as error:
            assert "no directed cycle" in str(error)  # noqa: PT017
        else:
            assert np.max(np.abs(network.dense_W())) < 10


def test_the_sparse_spectral_radius_is_one_Arnoldi_value_and_can_be_too_small() -> None:
    """k = 1 from the vector of ones can converge to an eigenvalue that is not the largest."""
    W = mat_gen.uniform(200, 200, connectivity=0.03, seed=10)
    true = np.max(np.abs(np.linalg.eigvals(W.toarray())))
    assert spectral_radius(W) < 0.997 * true
    assert EchoStateNetwork(W).spectral_radius() == pytest.approx(true, rel=1e-12)


def test_effective_spectral_radius_is_no_singular_value() -> None:
    W = np.array([[0.0, 5.0], [0.0, 0.0]])
    assert effective_spectral_radius(W, lr=1.0) == pytest.approx(0.0, abs=1e-7)
    assert np.linalg.norm(W, 2) == 5.0


def test_changing_sr_after_initialisation_does_nothing() -> None:
    node = Reservoir(units=N, sr=0.5, seed=1)
    node.run(series())
    before = node.W.copy()
    node.sr = 5.0
    node.run(series())
    assert (before != node.W).nnz == 0


def test_weights_replaced_after_initialisation_take_effect_at_once() -> None:
    node = Reservoir(units=N, seed=1, input_connectivity=1.0)
    node.run(series())
    before = from_reservoirpy(node)
    node.W = 0.5 * node.W
    assert from_reservoirpy(node) == before.scaled(0.5)


def test_float32_weights_with_a_float64_state() -> None:
    node = Reservoir(units=N, seed=1, dtype=np.float32)
    node.run(series())
    assert node.W.dtype == node.Win.dtype == np.float32
    assert node.state["out"].dtype == np.float64


# -- printing and pickling --------------------------------------------------------------------------------


def test_a_leak_rate_for_each_unit_breaks_repr() -> None:
    node = Reservoir(units=3, lr=np.array([0.1, 0.2, 0.3]))
    with pytest.raises(ValueError, match="ambiguous"):
        repr(node)

    network = EchoStateNetwork(np.eye(3), leak_rate=[0.1, 0.2, 0.3])
    assert "EchoStateNetwork" in repr(network)
    assert from_reservoirpy(to_reservoirpy(network)) == network


def test_a_saved_model_is_a_pickle_with_its_state() -> None:
    node = Reservoir(units=N, seed=1)
    node.run(series())
    twin = pickle.load(io.BytesIO(pickle.dumps(node)))
    np.testing.assert_array_equal(twin.state["out"], node.state["out"])
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(Reservoir(units=N, activation=lambda z: z))


# -- feedback ---------------------------------------------------------------------------------------------


def test_run_with_feedback_does_not_write_the_node_states() -> None:
    u = series()
    model, node, _ = generator()
    steps = np.array([model.step(u_k) for u_k in u])

    model, node, _ = generator()
    network = from_reservoirpy(model)
    first = model.run(u[:30])
    np.testing.assert_allclose(first, steps[:30], atol=1e-12)
    assert not np.any(node.state["out"])
    second = model.run(u[30:])
    assert np.max(np.abs(second - steps[30:])) > 0.01

    # Ours goes on from where it was.
    x = network.step(np.zeros(N), u[0])
    model, node, _ = generator()
    model.step(u[0])
    x = node.state["out"]
    for k in range(1, 60):
        x = network.step(x, u[k])
        np.testing.assert_allclose(network.output(x), steps[k], atol=1e-10)


def test_the_feedback_buffer_starts_and_resets_at_zero_not_at_the_output() -> None:
    model, _, ro = generator()
    assert all(not np.any(buffer) for buffer in model.feedback_buffers.values())
    model.step(np.ones(1))
    model.reset()
    assert all(not np.any(buffer) for buffer in model.feedback_buffers.values())
    np.testing.assert_array_equal(ro.bias, from_reservoirpy(model).output(np.zeros(N)))

    ours = to_reservoirpy(from_reservoirpy(model))
    np.testing.assert_array_equal(*ours.feedback_buffers.values(), [ro.bias])


def test_partial_fit_gives_the_reservoir_its_inputs_in_another_order_than_run() -> None:
    seen: list[Any] = []

    class Spy(Reservoir):
        def _step(self, state: Any, x: Any) -> Any:
            seen.append(np.array(x))
            return super()._step(state, x)

    pre = Reservoir(units=1, W=np.zeros((1, 1)), Win=np.ones((1, 1)), activation="identity")
    node = Spy(units=N, seed=1, input_connectivity=1.0)
    ro = RLS(Wout=np.zeros((N, 1)), bias=np.array([7.0]))
    model = pre >> node >> ro & (node << ro)
    model.initialize(np.zeros((1, 1)), np.zeros((1, 1)))
    u = np.full((2, 1), 0.25)
    model.partial_fit(u, np.full((2, 1), 7.0))
    model.reset()
    learned = seen[1]
    seen.clear()
    model.run(u)
    used = seen[1]
    # parents (0.25) and feedback (about 7): [x, feedback, parents] against [x, parents, feedback].
    assert learned[1] == 0.25
    assert learned[0] > 1
    assert used[0] == 0.25
    assert used[1] > 1


def test_initialising_a_model_with_feedback_needs_a_target() -> None:
    """Without it a feedback edge counts as a cycle, even when all weights are given."""
    node = Reservoir(W=np.eye(N), Win=np.ones((N, 2)))
    model = (node >> (ro := Ridge(Wout=np.ones((N, 1)), bias=np.zeros(1)))) & (node << ro)
    with pytest.raises(ValueError, match="Model has a cycle"):
        model.step(np.zeros(1))

    network = from_reservoirpy(model)
    assert (network.n_inputs, network.n_outputs) == (1, 1)
    to_reservoirpy(network).step(np.zeros(1))


# -- training ---------------------------------------------------------------------------------------------


def test_missing_targets_are_dropped_before_the_warmup_is_cut() -> None:
    rows: list[int] = []

    class Counting(Ridge):
        def worker(self, x: Any, y: Any) -> Any:
            rows.append(len(x))
            return super().worker(x, y)

    x, y = series(70, 3), series(70)
    y[:20] = np.nan
    Counting(ridge=1e-3).fit(x, y, warmup=20)
    # Rows 20 to 69 have a target and are past the warmup: 50 are good, 30 are used.
    assert rows == [30]


def test_a_missing_input_poisons_the_state() -> None:
    u = series()
    u[10] = np.nan
    states = Reservoir(units=N, seed=1, input_connectivity=1.0).run(u)
    assert np.all(np.isfinite(states[:10]))
    assert np.all(np.isnan(states[10:]))


def test_fit_does_not_reset_the_state() -> None:
    u = series()
    model = ESN(units=N, seed=1, ridge=1e-6, input_connectivity=1.0, lr=0.1)
    once = model.fit(u[:-1], u[1:]).readout.Wout.copy()
    again = model.fit(u[:-1], u[1:]).readout.Wout.copy()
    assert not np.allclose(once, again, atol=1e-6)
    model.reset()
    np.testing.assert_allclose(model.fit(u[:-1], u[1:]).readout.Wout, once, atol=1e-9)


def test_run_goes_on_from_the_last_state() -> None:
    node, u = Reservoir(units=N, seed=1, input_connectivity=1.0), series()
    once = node.run(u)
    assert not np.allclose(node.run(u)[0], once[0])
    node.reset()
    np.testing.assert_array_equal(node.run(u), once)


def test_several_series_all_start_from_the_current_state() -> None:
    node, u = Reservoir(units=N, seed=1, input_connectivity=1.0), series()
    first, second = node.run([u, u])
    np.testing.assert_array_equal(first, second)


def test_RLS_fit_twice_is_not_a_fresh_fit() -> None:
    x, y = series(60, 3), series(60)
    ro = RLS(alpha=1e-2)
    once = ro.fit(x, y).Wout.copy()
    assert not np.allclose(ro.fit(x, y).Wout, once, atol=1e-6)


def test_NVAR_keeps_its_delays_outside_the_state() -> None:
    node, u = NVAR(delay=2, order=2), series(10)
    once = node.run(u)
    node.reset()
    assert not np.allclose(node.run(u), once)


# -- numbers ----------------------------------------------------------------------------------------------


def test_softplus_overflows_and_sigmoid_warns_at_large_arguments() -> None:
    with pytest.warns(RuntimeWarning):
        assert np.isinf(reservoirpy.activationsfunc.softplus(np.array([800.0])))
    with pytest.warns(RuntimeWarning):
        reservoirpy.activationsfunc.sigmoid(np.array([800.0]))

    assert EchoStateNetwork([[800.0]], activation="logistic").step([1.0]) == 1.0


def test_a_bias_in_the_documented_shape_makes_the_state_a_matrix() -> None:
    node = Reservoir(W=np.eye(3), Win=np.ones((3, 1)), bias=np.ones((3, 1)))
    assert node.step(np.zeros(1)).shape == (3, 3)
    with pytest.raises(InvalidInputError, match=r"^b: shape"):
        from_reservoirpy(node)


def test_Wout_is_the_transpose_of_ours() -> None:
    ro = Ridge(ridge=1e-3).fit(series(30, 5), series(30, 2))
    assert ro.Wout.shape == (5, 2)
    model = Reservoir(W=np.eye(5), Win=np.ones((5, 1))) >> ro
    assert from_reservoirpy(model).readout.W_out.shape == (2, 5)
    assert Readout(ro.Wout.T, b_out=ro.bias).n_outputs == 2
