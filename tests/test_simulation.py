"""drive, final_state and forecast against the map written as loops, and their refusals."""

from __future__ import annotations

import naive_simulation as naive
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

from esntools.activations import ACTIVATIONS
from esntools.errors import InvalidInputError
from esntools.network import EchoStateNetwork, Readout
from esntools.simulation import drive, final_state, forecast
from esntools.simulation.stepping import batch_threads, blas_threads, spans

TOLERANCE = 1e-12


def make_network(
    rng, n=7, *, n_inputs=1, n_outputs=1, density=1.0, leak="scalar", activation="tanh",
    feedback=False, squares=False, gain=0.7,
):  # fmt: skip
    W = rng.normal(size=(n, n)) * gain / np.sqrt(n * density) * (rng.random((n, n)) < density)
    readout = None
    if n_outputs:
        W_sq = rng.normal(size=(n_outputs, n)) * 0.1 if squares else None
        readout = Readout(rng.normal(size=(n_outputs, n)) * 0.3, W_sq, rng.normal(size=n_outputs))
    return EchoStateNetwork(
        W if density == 1.0 else scipy.sparse.csr_array(W),
        W_in=rng.normal(size=(n, n_inputs)),
        b=rng.normal(size=n) * 0.3,
        leak_rate=0.6 if leak == "scalar" else rng.uniform(0.1, 1.0, n),
        activation=activation,
        readout=readout,
        W_fb=rng.normal(size=(n, n_outputs)) * 0.2 if feedback else None,
    )


def same(a, b, tolerance=TOLERANCE):
    np.testing.assert_allclose(a, b, rtol=0.0, atol=tolerance)


@pytest.mark.parametrize("leak", ["scalar", "vector"])
@pytest.mark.parametrize("density", [1.0, 0.3])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize(("feedback", "squares"), [(False, False), (True, False), (True, True)])
def test_drive_is_the_map(activation, density, leak, feedback, squares):
    rng = np.random.default_rng(1)
    network = make_network(
        rng, density=density, leak=leak, activation=activation, feedback=feedback, squares=squares, n_inputs=2
    )
    u, x0 = rng.normal(size=(11, 2)), rng.normal(size=7)
    expected = naive.drive(network, u, x0)
    same(drive(network, u, x0).states, expected)
    same(final_state(network, u, x0), expected[-1])
    starts = rng.normal(size=(3, 7))
    same(drive(network, u, starts).states, naive.drive_batch(network, u, starts))
    each = rng.normal(size=(11, 3, 2))
    expected = naive.drive_batch(network, each, starts)
    same(drive(network, each, starts).states, expected)
    same(final_state(network, each, starts), expected[-1])


@pytest.mark.parametrize("density", [1.0, 0.3])
@pytest.mark.parametrize("activation", ["tanh", "identity", "sine"])
@pytest.mark.parametrize("squares", [False, True])
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_forecast_is_the_map(activation, density, squares, n_outputs):
    rng = np.random.default_rng(2)
    network = make_network(
        rng, density=density, leak="vector", activation=activation, squares=squares, feedback=True,
        n_inputs=n_outputs, n_outputs=n_outputs, gain=0.3,
    ).closed_loop()  # fmt: skip
    starts = rng.normal(size=(5, 7)) * np.array([[0.1], [0.3], [1.0], [4.0], [50.0]])
    low, high = np.full(n_outputs, -1.5), np.full(n_outputs, 1.5)
    batch = forecast(network, starts, 12, y_range=(low, high), store_states=True)
    stops = []
    for c, x0 in enumerate(starts):
        outputs, states, stop = naive.forecast(network, x0, 12, low, high)
        one = forecast(network, x0, 12, y_range=(low, high), store_states=True)
        assert one.left_range_at == stop
        assert batch.left_range_at[c] == (-1 if stop is None else stop)
        same(one.outputs, outputs)
        same(one.states, states)
        same(batch.outputs[:, c], outputs)
        same(batch.states[:, c], states)
        assert forecast(network, x0, 12, y_range=(low, high)).states is None
        stops.append(stop)
    assert any(stop is not None for stop in stops)


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 40),
    n_inputs=st.integers(0, 3),
    n_steps=st.integers(0, 20),
    n_batch=st.integers(1, 20),
    density=st.sampled_from([1.0, 0.5, 0.05]),
    feedback=st.booleans(),
)
def test_every_shape(seed, n, n_inputs, n_steps, n_batch, density, feedback):
    rng = np.random.default_rng(seed)
    network = make_network(rng, n, n_inputs=n_inputs, n_outputs=2, density=density, feedback=feedback)
    u, starts = rng.normal(size=(n_steps, n_inputs)), rng.normal(size=(n_batch, n))
    expected = naive.drive_batch(network, u, starts)
    batch = drive(network, u, starts)
    assert batch.states.shape == (n_steps, n_batch, n)
    same(batch.states, expected)
    same(drive(network, u, starts[0]).states, expected[:, 0])


@pytest.mark.parametrize("density", [1.0, 0.1])
@pytest.mark.parametrize("n", [255, 256, 259, 300])
def test_large_networks_and_many_blocks(n, density):
    # Sizes around the switch to half sweeps, and series longer than one block.
    rng = np.random.default_rng(3)
    network = make_network(rng, n, n_inputs=1, density=density, leak="vector", feedback=True, squares=True)
    u = rng.normal(size=(600, 1))
    x, expected = rng.normal(size=n), []
    x0 = x
    for u_k in u:
        x = network.step(x, u_k)
        expected.append(x)
    trajectory = drive(network, u, x0)
    same(trajectory.states, expected)
    same(trajectory.outputs, network.output(np.array(expected)))
    same(drive(network, u, x0, washout=301).states, expected[301:])
    batch = drive(network, u[:40], np.tile(x0, (140, 1)))
    same(batch.states[:, 137], expected[:40])
    same(batch.states[:, 3], expected[:40])


@pytest.mark.parametrize("density", [0.3, 0.7, 0.99])
def test_a_nearly_full_sparse_matrix_is_still_the_same_map(density):
    rng = np.random.default_rng(14)
    network = make_network(rng, 20, density=density)
    assert network.is_sparse
    u, starts = rng.normal(size=(30, 1)), rng.normal(size=(3, 20))
    expected = naive.drive_batch(network, u, starts)
    same(drive(network, u, starts).states, expected)
    same(drive(network, u, starts[1]).states, expected[:, 1])


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("washout", [0, 1, 5, 9])
def test_washout(washout, batched):
    rng = np.random.default_rng(4)
    network = make_network(rng)
    u, x0 = rng.normal(size=(9, 1)), rng.normal(size=(4, 7) if batched else 7)
    whole, rest = drive(network, u, x0), drive(network, u, x0, washout=washout)
    same(rest.states, whole.states[washout:])
    same(rest.inputs, u[washout:])
    same(rest.x0, x0 if washout == 0 else whole.states[washout - 1])
    same(rest.last_state, whole.last_state)


def test_custom_activation_takes_the_slow_path():
    rng = np.random.default_rng(5)
    tanh = ACTIVATIONS["tanh"]
    from dataclasses import replace

    custom = replace(tanh, name="custom", kernel_code=-1)
    fast = make_network(rng, feedback=True, squares=True)
    slow = replace(fast, activation=custom)
    u, starts = rng.normal(size=(9, 1)), rng.normal(size=(4, 7))
    same(drive(slow, u, starts[0]).states, drive(fast, u, starts[0]).states)
    same(drive(slow, u, starts, washout=3).states, drive(fast, u, starts, washout=3).states)
    fast, slow = fast.closed_loop(), slow.closed_loop()
    for x0 in (starts, starts[0]):
        a = forecast(fast, x0, 20, y_range=(-1.0, 1.0), store_states=True)
        b = forecast(slow, x0, 20, y_range=(-1.0, 1.0), store_states=True)
        np.testing.assert_array_equal(a.left_range_at, b.left_range_at)
        same(a.outputs, b.outputs)
        same(a.states, b.states)


def test_zero_steps():
    network = make_network(np.random.default_rng(6))
    empty = drive(network, np.zeros((0, 1)), np.ones(7))
    assert empty.states.shape == (0, 7)
    assert empty.outputs.shape == (0, 1)
    same(empty.last_state, np.ones(7))
    same(final_state(network, np.zeros((0, 1)), np.ones(7)), np.ones(7))
    assert drive(network, np.zeros((0, 1)), np.ones((2, 7))).states.shape == (0, 2, 7)
    for x0 in (np.ones(7), np.ones((2, 7))):
        none = forecast(network.closed_loop(), x0, 0, store_states=True)
        assert none.outputs.shape == (0, *x0.shape[:-1], 1)
        assert none.states.shape == (0, *x0.shape)


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("kernel_code", [2, -1])
def test_divergence_is_reported_without_a_warning(kernel_code, batched):
    from dataclasses import replace

    identity = replace(ACTIVATIONS["identity"], kernel_code=kernel_code)
    network = EchoStateNetwork(
        np.diag([1e30, 0.5]), activation=identity, readout=Readout([[1.0, 1.0]], [[1.0, 0.0]])
    )
    x0 = np.array([[1.0, 1.0], [0.0, 1.0], [1e200, 1.0]])
    run = forecast(network, x0 if batched else x0[0], 50, store_states=True)
    if batched:
        assert run.left_range_at.tolist() == [6, -1, 0]
        same(run.outputs[:, 1, 0], 0.5 ** np.arange(50))
        assert np.isnan(run.outputs[6:, 0]).all()
        assert np.isnan(run.states[6:, 0]).all()
        assert np.isfinite(run.states[:6, 0]).all()
    else:
        assert run.left_range_at == 6
        assert np.isnan(run.outputs[6:]).all()
        assert np.isnan(run.states[6:]).all()


def test_driven_overflow_makes_no_warning():
    network = EchoStateNetwork([[1e200]], W_in=[[1.0]], activation="identity")
    assert not np.isfinite(drive(network, np.ones((5, 1))).states[-1])


def test_progress_ends_at_one():
    rng = np.random.default_rng(7)
    network = make_network(rng, 50)
    seen = []
    drive(network, np.zeros((5000, 1)), progress=lambda label, fraction: seen.append(fraction))
    drive(network, np.zeros((500, 1)), np.zeros((300, 50)), progress=lambda label, f: seen.append(f))
    forecast(network.closed_loop(), np.zeros(50), 5000, progress=lambda label, f: seen.append(f))
    assert seen.count(1.0) == 3
    assert min(seen) > 0.0
    assert max(seen) == 1.0


def test_arguments_are_not_changed():
    rng = np.random.default_rng(8)
    network = make_network(rng)
    u, x0 = rng.normal(size=(5, 1)), rng.normal(size=7)
    u_before, x0_before = u.copy(), x0.copy()
    drive(network, u, x0)
    final_state(network, u, x0)
    forecast(network.closed_loop(), x0, 5)
    same(u, u_before, 0.0)
    same(x0, x0_before, 0.0)


@pytest.mark.parametrize(
    ("change", "place", "rule"),
    [
        ({"u": [[0.0], [np.nan], [0.0]]}, "u[1, 0]", "finite"),
        ({"u": [[0.0], [np.inf]]}, "u[1, 0]", "finite"),
        ({"u": np.zeros((3, 2))}, "u", "(n_steps, 1)"),
        ({"u": 1.0}, "u", "(n_steps, 1)"),
        ({"u": [["a"]]}, "u", "real numbers"),
        ({"x0": np.zeros(3)}, "x0", "(7,)"),
        ({"x0": np.zeros((2, 3))}, "x0", "(7,)"),
        ({"x0": np.full(7, np.nan)}, "x0[0]", "finite"),
        ({"u": np.zeros((3, 2, 1)), "x0": np.zeros((3, 7))}, "x0", "(2, 7)"),
        ({"washout": 4}, "washout", "at most n_steps = 3"),
        ({"washout": -1}, "washout", "integer >= 0"),
        ({"washout": 1.5}, "washout", "integer >= 0"),
    ],
)
def test_drive_refuses(change, place, rule):
    network = make_network(np.random.default_rng(9))
    arguments = {"u": np.zeros((3, 1)), **change}
    with pytest.raises(InvalidInputError) as caught:
        drive(network, **arguments)
    assert caught.value.place == place
    assert rule in caught.value.rule


@pytest.mark.parametrize(
    ("change", "place", "rule"),
    [
        ({"x0": np.zeros(3)}, "x0", "(7,)"),
        ({"n_steps": -1}, "n_steps", "integer >= 0"),
        ({"n_steps": 2.0}, "n_steps", "integer >= 0"),
        ({"y_range": (1.0, 0.0)}, "y_range", "low must not exceed high"),
        ({"y_range": 1.0}, "y_range", "pair"),
        ({"y_range": ([0.0, 0.0], 1.0)}, "y_range", "(1,)"),
        ({"y_range": (np.nan, 1.0)}, "y_range", "finite"),
    ],
)
def test_forecast_refuses(change, place, rule):
    network = make_network(np.random.default_rng(10)).closed_loop()
    arguments = {"x0": np.zeros(7), "n_steps": 3, **change}
    x0, n_steps = arguments.pop("x0"), arguments.pop("n_steps")
    with pytest.raises(InvalidInputError) as caught:
        forecast(network, x0, n_steps, **arguments)
    assert caught.value.place == place
    assert rule in caught.value.rule


def test_forecast_needs_an_autonomous_network_with_a_readout():
    rng = np.random.default_rng(11)
    for network in (make_network(rng), make_network(rng, n_inputs=0, n_outputs=0)):
        with pytest.raises(InvalidInputError, match="autonomous network with a readout"):
            forecast(network, np.zeros(7), 3)


def test_one_dimensional_series_for_one_input():
    rng = np.random.default_rng(12)
    network = make_network(rng)
    u = rng.normal(size=6)
    same(drive(network, u).states, drive(network, u[:, None]).states, 0.0)


def blas_thread_counts():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_blas_has_one_thread_for_small_products_and_gets_its_own_back():
    rng = np.random.default_rng(13)
    with threadpool_limits(2, user_api="blas"):
        before = blas_thread_counts()
        with blas_threads():
            assert set(blas_thread_counts()) == {1}
        with batch_threads(make_network(rng, 50), 100_000):
            assert set(blas_thread_counts()) == {1}
        with batch_threads(make_network(rng, 600), 1000):
            assert blas_thread_counts() == before
        drive(make_network(rng, 50), np.zeros((5, 1)), np.zeros((3, 50)))
        assert blas_thread_counts() == before


@given(n_steps=st.integers(0, 50), longest=st.integers(1, 20), cut=st.integers(0, 50))
def test_spans_cover_every_step_once(n_steps, longest, cut):
    cut = min(cut, n_steps)
    pieces = spans(n_steps, longest, cut)
    assert [k for first, last in pieces for k in range(first, last)] == list(range(n_steps))
    assert all(0 < last - first <= longest for first, last in pieces)
    assert not any(first < cut < last for first, last in pieces)
