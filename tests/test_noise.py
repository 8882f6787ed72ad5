"""Noise: known rates and actions, exact linear cases, and slow twins."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pytest
import scipy.linalg
from flip_flops import block_flip_flop
from naive_noise import (
    exact_exit_time,
    naive_action,
    naive_covariance,
    naive_first_passage_times,
    naive_input_noise_exits,
    naive_noisy_path,
)

from esntools.activations import Activation
from esntools.errors import InvalidInputError, UnsupportedError
from esntools.excitable.landscape import Landscape, find_landscape
from esntools.excitable.noise import (
    TransitionRates,
    add_noise,
    estimate_transition_rates,
    mean_first_passage_times,
)
from esntools.excitable.noise.action import (
    ActionPath,
    Actions,
    NoActionPath,
    find_minimal_action,
    minimal_actions,
)
from esntools.excitable.noise.noisy_maps import NoisyMap
from esntools.maps import FunctionMap
from esntools.network import EchoStateNetwork, Readout
from esntools.plotting.noise import plot_action_path, plot_transition_rates

# Research page, §6, 23: x+ = x + a(-x + tanh 1.5 x) + eta xi.
A = 0.05
X_STAR = 0.85855963664
BARRIER = 0.07679611259
KRAMERS = EchoStateNetwork([[1.5]], leak_rate=A)


@pytest.fixture(scope="module")
def both_ways(kramers: Landscape) -> Actions:
    return minimal_actions(kramers)


def kramers_step(x: np.ndarray) -> np.ndarray:
    return x + A * (-x + np.tanh(1.5 * x))


@pytest.fixture(scope="module")
def kramers() -> Landscape:
    return find_landscape(KRAMERS, n_random=64)


def action_of(*args: Any, **options: Any) -> ActionPath:
    path = find_minimal_action(*args, **options)
    assert isinstance(path, ActionPath), path
    return path


def made_rates(Q: Any, **changes: Any) -> TransitionRates:
    """Return rates by hand."""
    Q = np.array(Q, dtype=np.float64)
    K = len(Q)
    base = {
        "amplitude": 0.1, "noise": "state", "counts": np.ones((K, K), dtype=np.intp),
        "escapes": np.zeros(K, dtype=np.intp), "exposure": np.ones(K), "censored": np.zeros(K, dtype=np.intp),
        "rates": Q, "intervals": np.zeros((K, K, 2)), "mean_exit_times": np.ones(K),
        "exit_intervals": np.zeros((K, 2)), "splitting": Q, "splitting_intervals": np.zeros((K, K, 2)),
        "look": np.ones(K, dtype=np.intp), "core_radii": np.ones(K), "notes": (),
    }  # fmt: skip
    return TransitionRates(**(base | changes))  # type: ignore[arg-type]


# -- one noisy step, its gradient, its covariance -----------------------------------------------------------


def some_maps() -> list[tuple[Any, Any]]:
    rng = np.random.default_rng(1)
    W, W_in = rng.standard_normal((4, 4)), rng.standard_normal((4, 2))
    plain = EchoStateNetwork(W, W_in=W_in, b=rng.standard_normal(4), leak_rate=rng.uniform(0.2, 1.0, 4))
    fed = EchoStateNetwork(
        W, W_in=W_in, activation="logistic", leak_rate=0.5, W_fb=rng.standard_normal((4, 2)),
        readout=Readout(rng.standard_normal((2, 4)), W_sq=rng.standard_normal((2, 4))),
    )  # fmt: skip
    custom = EchoStateNetwork(W, W_in=W_in, activation=Activation.from_sympy("x/(1 + x**2)"))
    function = FunctionMap(plain.at_input([0.0, 0.0]).step, plain.at_input([0.0, 0.0]).jacobian, 4)
    B = rng.standard_normal((4, 3))
    return [(plain, "state"), (plain, "input"), (plain, B), (fed, "input"), (custom, B), (function, "state")]


@pytest.mark.parametrize(("system", "noise"), some_maps())
def test_gradient_against_differences(system: Any, noise: Any) -> None:
    noisy, rng = NoisyMap(system, noise), np.random.default_rng(2)
    x, left = 0.3 * rng.standard_normal(4), rng.standard_normal(4)
    w = 0.3 * rng.standard_normal((5, noisy.n_sources))
    states = noisy.path(x, w)
    y = np.stack([x, x + 0.1])
    for k in range(5):
        y = noisy.step(y, np.stack([w[k], w[k]]))
    np.testing.assert_allclose(y[0], states[-1], atol=1e-13)
    gradient, first = noisy.gradient(states, w, left)
    for k in range(5):
        for source in range(noisy.n_sources):
            step = np.zeros_like(w)
            step[k, source] = 1e-6
            slope = left @ (noisy.path(x, w + step)[-1] - noisy.path(x, w - step)[-1]) / 2e-6
            assert gradient[k, source] == pytest.approx(slope, abs=1e-8)
    slope = left @ (noisy.path(x + 1e-6 * left, w)[-1] - noisy.path(x - 1e-6 * left, w)[-1]) / 2e-6
    assert first @ left == pytest.approx(slope, abs=1e-8)


@pytest.mark.parametrize("noise", ["state", "input"])
def test_noisy_run_by_loops(noise: str) -> None:
    network = some_maps()[0][0]
    noisy, rng = NoisyMap(network, noise), np.random.default_rng(3)
    x, w = rng.uniform(-1.0, 1.0, 4), rng.standard_normal((6, noisy.n_sources))
    np.testing.assert_allclose(noisy.path(x, w), naive_noisy_path(network, x, w, noise), atol=1e-13)


def linear() -> tuple[EchoStateNetwork, np.ndarray]:
    rng = np.random.default_rng(4)
    J = rng.standard_normal((5, 5))
    J *= 0.9 / np.max(np.abs(np.linalg.eigvals(J)))
    return EchoStateNetwork(J, activation="identity"), rng.standard_normal((5, 2))


def test_linear_quasipotential_is_exact() -> None:
    """The least action to l x = c is c^2 / (2 l C l), with C of the Lyapunov equation as time goes on."""
    network, B = linear()
    J, left = network.dense_W(), np.array([1.0, -0.5, 0.3, 0.0, 2.0])
    stationary = scipy.linalg.solve_discrete_lyapunov(J, B @ B.T)
    C, _ = NoisyMap(network, B).covariance(np.zeros((1, 5)))
    np.testing.assert_allclose(C, stationary, rtol=1e-10)
    for n in (3, 12):
        path = action_of(network, np.zeros(5), (left, 0.7), noise=B, n_steps=n)
        assert path.action == pytest.approx(
            0.7**2 / (2.0 * left @ naive_covariance(J, B, n) @ left), rel=1e-9
        )
        assert path.checked
        assert path.states[-1] @ left == pytest.approx(0.7, abs=1e-9)
    long = action_of(network, np.zeros(5), (left, -0.7), noise=B, n_steps=200)
    assert long.action == pytest.approx(0.7**2 / (2.0 * left @ stationary @ left), rel=1e-8)


def test_covariance_on_a_cycle() -> None:
    network = EchoStateNetwork([[-2.0, 0.3], [0.1, 0.4]])
    cycle = next(a for a in find_landscape(network, n_random=64).attractors if a.period == 2)
    C, J = NoisyMap(network).covariance(cycle.states)
    first, second = (network.jacobian(x) for x in cycle.states)
    np.testing.assert_allclose(J, second @ first, atol=1e-14)
    np.testing.assert_allclose(C, J @ C @ J.T + second @ second.T + np.eye(2), atol=1e-12)


# -- least actions ------------------------------------------------------------------------------------------


def test_action_of_the_kramers_map(both_ways: Actions) -> None:
    path = both_ways.paths[1, 0]
    assert path.action == pytest.approx(2.0 * A * BARRIER, rel=2e-3)
    assert path.checked
    assert path.alignment > 0.999
    assert (path.multiplier, path.note) == (pytest.approx(1.0 + 0.5 * A), "")
    assert 0.5 * np.sum(path.noise**2) == pytest.approx(path.action, rel=1e-12)
    np.testing.assert_allclose(path.states[1:], kramers_step(path.states[:-1]) + path.noise, atol=1e-12)
    np.testing.assert_allclose(both_ways.matrix, path.action * (1.0 - np.eye(2)), rtol=1e-3)
    np.testing.assert_allclose(both_ways.quasipotential, both_ways.matrix)
    assert both_ways.saddles.tolist() == [[-1, 0], [0, -1]]


@pytest.mark.parametrize(
    ("p", "barrier"),
    [
        pytest.param(0.25, 0.0056179, marks=pytest.mark.slow),
        pytest.param(0.27, 0.0027155, marks=pytest.mark.slow),
        pytest.param(0.28, 0.0015645, marks=pytest.mark.slow),
        pytest.param(0.29, 0.00065523, marks=[pytest.mark.slow, pytest.mark.ci]),
        pytest.param(0.295, 0.00031177, marks=pytest.mark.slow),
    ],
)
def test_edge_barriers_of_the_design(p: float, barrier: float) -> None:
    """Research page, §6, 25: y - s(y) - p is the slope of U; the action of the slow map is 2 a dU.

    In y - p the map is a unit: (1 - a) x + a s(x + p), with s(y) = logistic(20 (y - 1/2)).
    """
    edge = EchoStateNetwork([[20.0]], b=20.0 * (p - 0.5), activation="logistic", leak_rate=A)
    space = find_landscape(edge, n_random=16)
    path = action_of(edge, space.X[0], space.saddles[0].x)
    assert path.checked
    assert path.action == pytest.approx(2.0 * A * barrier, rel=5e-3)


@pytest.mark.parametrize("noise", ["state", "input"])
def test_action_against_a_general_optimiser(noise: str) -> None:
    a, w = 0.5, 1.6
    network = EchoStateNetwork([[w]], W_in=[[0.7]], leak_rate=a)
    x = find_landscape(network.at_input([0.0]), n_random=16).X[1]

    def cost(X: np.ndarray, Y: np.ndarray) -> float:
        if noise == "state":
            return 0.5 * float(np.sum((Y - (1.0 - a) * X - a * np.tanh(w * X)) ** 2))
        z = np.arctanh(np.clip((Y - (1.0 - a) * X) / a, -0.999999, 0.999999))
        return 0.5 * float(np.sum(((z - w * X) / 0.7) ** 2))

    path = action_of(network, x, [0.0], noise=noise, tol=1e-4)
    assert path.checked
    assert path.action == pytest.approx(naive_action(cost, x, np.zeros(1), 25), rel=2e-3)


@pytest.mark.slow
@pytest.mark.ci
def test_actions_in_the_plane() -> None:
    network = EchoStateNetwork([[1.5, 0.8], [-0.05, 0.5]], leak_rate=0.6)
    space = find_landscape(network, n_random=64)
    actions = minimal_actions(space, tol=1e-4)
    assert list(actions.paths) == [(0, 1), (1, 0)]
    for (i, j), path in actions.paths.items():
        assert (path.origin, path.destination) == (i, j)
        assert path.checked
        saddle = space.saddles[actions.saddles[i, j]].x
        twin = naive_action(
            lambda X, Y: 0.5 * float(np.sum((Y - network.step(X)) ** 2)), space.X[i], saddle, 40
        )
        assert path.action == pytest.approx(twin, rel=2e-3)


def test_both_branches_lead_back() -> None:
    """The flip saddle inside the basin of a cycle bounds nothing; where two directions are unstable, no."""
    network = EchoStateNetwork(np.diag([1.5, -2.0]))
    none = find_minimal_action(network, [X_STAR, 0.9575], [X_STAR, 0.0])
    assert isinstance(none, NoActionPath)
    assert "lead back" in none.reason
    with pytest.raises(InvalidInputError, match=r"^target"):
        find_minimal_action(EchoStateNetwork(1.5 * np.eye(2)), [X_STAR, X_STAR], [0.0, 0.0])


def test_no_path() -> None:
    bits = EchoStateNetwork(1.5 * np.eye(2))
    # Noise in the second unit alone never moves the first one.
    none = find_minimal_action(bits, [X_STAR, X_STAR], [0.0, X_STAR], noise=[[0.0], [1.0]])
    assert isinstance(none, NoActionPath)
    assert "no noise" in none.reason
    far = find_minimal_action(bits, [X_STAR, X_STAR], [0.0, -X_STAR])
    assert isinstance(far, NoActionPath)
    assert "between attractors" in far.reason
    half = find_minimal_action(bits, [X_STAR, X_STAR], ([1.0, 0.0], 0.0), noise=[[0.0], [1.0]], n_steps=5)
    assert isinstance(half, NoActionPath)


# -- rates --------------------------------------------------------------------------------------------------


def test_exit_time_of_the_kramers_map(kramers: Landscape) -> None:
    """Research page, §6, 23: 6060 +- 230 at eta = 0.05 measured, 5906 in the diffusion limit."""
    assert exact_exit_time(kramers_step, 0.05, X_STAR, -X_STAR, 3.0) == pytest.approx(5906.0, rel=2e-3)
    rates = estimate_transition_rates(kramers, amplitude=0.1, n_runs=256, n_exits=400, rng=1)
    core = X_STAR - rates.core_radii[0]
    # A run is seen in the core of the other state after it has come near it, and before it has reached it.
    least = exact_exit_time(kramers_step, 0.1, X_STAR, -0.5 * core, 3.0)
    most = exact_exit_time(kramers_step, 0.1, X_STAR, -X_STAR, 3.0) + rates.look[0]
    for low, high in rates.exit_intervals:
        assert low < most
        assert high > least
    assert np.all(rates.counts.sum(axis=1) >= 400)
    np.testing.assert_allclose(rates.mean_exit_times, 1.0 / rates.rates[[0, 1], [1, 0]])


@pytest.mark.slow
@pytest.mark.ci
def test_kramers_slope(kramers: Landscape) -> None:
    noise = np.array([0.045, 0.05, 0.06, 0.07])
    times = []
    for eta in noise:
        rates = estimate_transition_rates(
            kramers, amplitude=float(eta), n_runs=512, n_exits=1000, n_steps=100_000, rng=2
        )
        times.append(rates.exposure.sum() / rates.counts.sum())
        exact = exact_exit_time(kramers_step, float(eta), X_STAR, -X_STAR, 3.0)
        assert times[-1] == pytest.approx(exact, rel=0.06)
    slope = np.polyfit(1.0 / noise**2, np.log(times), 1)[0]
    assert 0.0069 < slope < 0.0084
    # Measured there: 6060 +- 230; the diffusion limit is 5906.
    assert 6060 - 2 * 230 < times[1] < 6060 + 2 * 230


def test_intervals_cover_and_count_what_was_not_seen(kramers: Landscape) -> None:
    """Runs cut off long before their exits: the rate and its interval are right all the same."""
    exact = exact_exit_time(kramers_step, 0.1, X_STAR, -X_STAR, 3.0)
    cut = estimate_transition_rates(
        kramers, amplitude=0.1, n_runs=400, n_steps=400, n_exits=None, sources=[1], rng=3
    )
    assert cut.censored.tolist() == [0, 400]
    assert cut.exposure.tolist() == [0.0, 400.0 * 400]
    assert cut.counts[1, 0] > 100
    low, high = cut.exit_intervals[1]
    assert low < exact * 1.25
    assert high > exact * 0.8
    assert np.isnan(cut.rates[0]).all()
    assert np.isnan(cut.mean_exit_times[0])
    never = estimate_transition_rates(kramers, amplitude=0.001, n_runs=8, n_steps=200)
    assert never.counts.sum() == 0
    assert np.all(never.mean_exit_times == np.inf)
    np.testing.assert_allclose(never.intervals[0, 1], [0.0, 3.6889 / 1600], rtol=1e-4)
    assert any("switched" in note for note in never.notes)


def test_exits_compete() -> None:
    """Two uncoupled bits with different barriers: their switches are independent escapes."""
    space = find_landscape(EchoStateNetwork(np.diag([1.5, 1.6]), leak_rate=0.2), n_random=64)
    rates = estimate_transition_rates(space, amplitude=0.22, n_runs=128, n_exits=400, rng=4)
    single = [
        exact_exit_time(
            lambda x, w=w: 0.8 * x + 0.2 * np.tanh(w * x),
            0.22,
            m,
            -m,
            4.0,  # type: ignore[misc]
        )
        for w, m in ((1.5, X_STAR), (1.6, 0.889))
    ]
    share = single[1] / (single[0] + single[1])
    start = int(space.label([[1.0, 1.0]])[0])
    first, second = int(space.label([[-1.0, 1.0]])[0]), int(space.label([[1.0, -1.0]])[0])
    low, high = rates.splitting_intervals[start, first]
    assert low - 0.03 < share < high + 0.03
    assert rates.splitting[start, first] > rates.splitting[start, second]
    assert rates.splitting[start].sum() == pytest.approx(1.0)


def test_noise_by_the_input() -> None:
    network = EchoStateNetwork([[1.5]], W_in=[[1.0]], leak_rate=0.2)
    space = find_landscape(network, n_random=32)
    options: dict[str, Any] = {"amplitude": 0.9, "n_exits": 80, "n_runs": 32}
    rates = estimate_transition_rates(space, noise="input", network=network, **options)
    assert rates.noise == "input"
    assert np.all(rates.counts.sum(axis=1) >= 80)
    times = naive_input_noise_exits(
        0.2, 1.5, 0.9, X_STAR, int(rates.look[1]), float(rates.core_radii[0]), n_exits=150
    )
    low, high = rates.exit_intervals[1]
    spread = 3.0 * np.std(times) / np.sqrt(len(times))
    assert low < np.mean(times) + spread
    assert high > np.mean(times) - spread
    same = estimate_transition_rates(space, noise="input", network=network, **options)
    np.testing.assert_array_equal(rates.counts, same.counts)


def test_escape() -> None:
    """Beyond 1 the square grows without bound: runs that leave are counted apart, and j is not certain."""
    square = FunctionMap(lambda x: x * x, lambda x: np.array([[2.0 * x[0]]]), 1, state_bounds=(-0.9, 0.9))
    space = find_landscape(square, n_random=16)
    rates = estimate_transition_rates(space, amplitude=0.5, n_runs=16, n_exits=20)
    assert rates.escapes[0] >= 20
    assert rates.counts.sum() == 0
    assert rates.mean_exit_times[0] == pytest.approx(rates.exposure[0] / rates.escapes[0])


# -- first passage ------------------------------------------------------------------------------------------


def test_first_passage_times() -> None:
    Q = np.array([[0.0, 0.2, 0.01], [0.05, 0.0, 0.1], [0.02, 0.3, 0.0]])
    times = mean_first_passage_times(made_rates(Q))
    for j in range(3):
        np.testing.assert_allclose(times[:, j], naive_first_passage_times(Q, j), rtol=1e-9)
    # 0 -> 1 -> 2 and no way back.
    chain = mean_first_passage_times(made_rates([[0.0, 0.5, 0.0], [0.0, 0.0, 0.25], [0.0, 0.0, 0.0]]))
    np.testing.assert_allclose(chain, [[0.0, 2.0, 6.0], [np.inf, 0.0, 4.0], [np.inf, np.inf, 0.0]])
    # 2 may be entered from 0 and is never left: 1 is not certain.
    trap = mean_first_passage_times(made_rates([[0.0, 0.5, 0.5], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    assert trap[0, 1] == np.inf
    assert trap[1, 0] == 1.0
    leak = mean_first_passage_times(made_rates([[0.0, 0.5], [0.5, 0.0]], escapes=np.array([3, 0])))
    np.testing.assert_array_equal(leak, [[0.0, np.inf], [2.0, 0.0]])
    open_ = mean_first_passage_times(made_rates([[0.0, 0.5], [np.nan, np.nan]]))
    np.testing.assert_array_equal(open_, [[0.0, 2.0], [np.nan, 0.0]])
    with pytest.raises(InvalidInputError, match=r"^rates"):
        mean_first_passage_times(Q)  # type: ignore[arg-type]


def test_noise_on_a_graph(kramers: Landscape, both_ways: Actions) -> None:
    graph = nx.DiGraph(kind="excitable network")
    graph.add_nodes_from([0, 1])
    graph.add_edge(0, 1, threshold=0.5)
    rates = estimate_transition_rates(kramers, amplitude=0.1, n_exits=20)
    actions = both_ways
    out = add_noise(graph, rates, actions)
    edge = out.edges[0, 1]
    assert edge["rate"] == rates.rates[0, 1]
    assert edge["rate_interval"] == rates.intervals[0, 1].tolist()
    assert edge["mean_first_passage"] == pytest.approx(rates.mean_exit_times[0])
    assert edge["action"] == actions.matrix[0, 1]
    assert out.graph["quasipotential"] == actions.quasipotential.tolist()
    assert out.graph["noise_amplitude"] == 0.1
    assert "rate" not in graph.edges[0, 1]
    assert "noise" not in graph.graph
    never = add_noise(graph, estimate_transition_rates(kramers, amplitude=0.001, n_steps=100, n_runs=4))
    assert never.graph["mean_exit_times"] == [None, None]
    with pytest.raises(InvalidInputError, match=r"^rates"):
        add_noise(graph)
    graph.add_node(2)
    with pytest.raises(InvalidInputError, match=r"^actions"):
        add_noise(graph, actions=actions)


# -- larger networks ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.ci
def test_blocks_switch_as_their_mean_does() -> None:
    """In blocks of equal units only the mean m is bistable: m+ = tanh(1.5 m) + eta xi / sqrt(block)."""
    block = 10
    network = block_flip_flop(block)
    space = find_landscape(network)
    actions = minimal_actions(space)
    single = action_of(EchoStateNetwork([[1.5]]), [X_STAR], [0.0], tol=1e-5)
    np.testing.assert_allclose([p.action for p in actions.paths.values()], block * single.action, rtol=5e-3)
    eta = 0.6
    rates = estimate_transition_rates(space, amplitude=eta, n_runs=64, n_exits=200, sources=[0, 3, 6])
    one = exact_exit_time(lambda x: np.tanh(1.5 * x), eta / np.sqrt(block), X_STAR, -X_STAR, 4.0)
    assert np.nanmean(rates.mean_exit_times) == pytest.approx(one / 3.0, rel=0.15)


# -- bad input ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"amplitude": 0.0}, "amplitude"), ({"amplitude": np.nan}, "amplitude"),
        ({"amplitude": 0.1, "noise": "loud"}, "noise"), ({"amplitude": 0.1, "noise": "input"}, "noise"),
        ({"amplitude": 0.1, "noise": [[0.0]]}, "noise"), ({"amplitude": 0.1, "noise": np.eye(2)}, "noise"),
        ({"amplitude": 0.1, "n_steps": 0}, "n_steps"), ({"amplitude": 0.1, "n_runs": 2.5}, "n_runs"),
        ({"amplitude": 0.1, "n_exits": 0}, "n_exits"), ({"amplitude": 0.1, "sources": [2]}, "sources"),
        ({"amplitude": 0.1, "sources": [0, 0]}, "sources"),
        ({"amplitude": 0.1, "network": EchoStateNetwork([[1.4]])}, "network"),
    ],
)  # fmt: skip
def test_bad_rates(kramers: Landscape, options: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^{place}"):
        estimate_transition_rates(kramers, **options)


@pytest.mark.parametrize(
    ("x", "target", "options", "place"),
    [
        ([[0.8], [0.8]], [0.0], {}, "x"), ([0.8, 0.8], [0.0], {}, "x"), ([0.8], [X_STAR], {}, "target"),
        ([0.8], [0.0], {"tol": 0.0}, "tol"), ([0.8], [0.0], {"n_steps": 0}, "n_steps"),
        ([0.8], [0.0], {"max_iterations": 0}, "max_iterations"), ([0.8], ([0.0], 1.0), {}, "target"),
        ([0.8], ([1.0, 2.0], 1.0), {}, "target"), ([0.8], [np.nan], {}, "target"),
    ],
)  # fmt: skip
def test_bad_actions(x: Any, target: Any, options: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^{place}"):
        find_minimal_action(KRAMERS, x, target, **options)


def test_noise_that_cannot_be_read() -> None:
    driven = FunctionMap(lambda x, u: 0.5 * x + u, lambda x, u: np.array([[0.5]]), 1, 1)
    with pytest.raises(UnsupportedError, match=r"^noise"):
        NoisyMap(driven, "input")


def test_plots(kramers: Landscape, both_ways: Actions) -> None:
    rates = [estimate_transition_rates(kramers, amplitude=eta, n_exits=20) for eta in (0.1, 0.12)]
    ax = plot_transition_rates(rates, both_ways)
    assert sorted(text.get_text() for text in ax.get_legend().get_texts()) == ["0 → 1", "1 → 0"]
    lines = [line for line in ax.lines if len(line.get_xdata()) == 2 and line.get_ls() != "None"]
    for line in lines:
        slope = np.diff(np.log(line.get_ydata())) / np.diff(line.get_xdata())
        assert slope[0] == pytest.approx(both_ways.matrix[0, 1], rel=1e-3)
    upper, lower = plot_action_path(both_ways.paths[0, 1]).child_axes
    assert lower.texts[0].get_text().startswith("action ≤ 0.00768")
    assert upper.get_xlim() == lower.get_xlim()
    with pytest.raises(InvalidInputError, match=r"^rates"):
        plot_transition_rates([])
    with pytest.raises(InvalidInputError, match=r"^path"):
        plot_action_path(3)  # type: ignore[arg-type]
