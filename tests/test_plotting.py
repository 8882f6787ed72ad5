"""Plots: what is drawn is what was given; nothing global is touched; print and greyscale stay legible."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from types import SimpleNamespace as Namespace
from typing import Any

import matplotlib
import matplotlib.colors
import matplotlib.text
import networkx as nx
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from esntools import plotting
from esntools.climate import Climate, ForecastWindow, compare_climate
from esntools.errors import InvalidInputError
from esntools.network import EchoStateNetwork, Readout
from esntools.plotting import style
from esntools.study.findings import TaskRun

K = np.arange(1500)


def window(valid: float = 60.0, exponent: float | None = 0.9) -> ForecastWindow:
    truth = np.sin(0.3 * K[:200])[:, None]
    forecast = truth + 1e-4 * np.exp(0.045 * K[:200])[:, None]
    return ForecastWindow(0, truth, forecast, np.ones(1), valid, dt=0.05, lyapunov_exponent=exponent)


def climate() -> Climate:
    x = np.sin(0.1 * K) + 0.4 * np.sin(0.27 * K)
    return compare_climate(x[:800], x[700:], dt=0.1)


def fit() -> Any:
    rng = np.random.default_rng(0)
    trials = [
        Namespace(ridge=10.0**-k, loo_error=10.0 ** (-k / 2), window_score=1 + abs(k - 9)) for k in range(15)
    ]
    return Namespace(
        ridge=1e-9,
        ridge_path=trials,
        vpt_steps=rng.gamma(20.0, 9.0, 40),
        vpt_lyapunov=rng.gamma(20.0, 0.4, 40),
    )


def verdict(proved: float | None, refuted: float | None) -> Any:
    bounds = (
        Namespace(name="spectral-norm", critical_gain=0.6),
        Namespace(name="diagonal-schur", critical_gain=0.8),
    )
    return Namespace(bounds=bounds, proved_gain=proved, refuted_gain=refuted, verdict="inconclusive")


def flip_flop_graph(n_bits: int) -> nx.DiGraph:
    graph = nx.DiGraph(saddles=[{"x": [0.1] * (n_bits + 1)}])
    states = list(itertools.product([-1.0, 1.0], repeat=n_bits))
    for i, state in enumerate(states):
        graph.add_node(i, output=list(state), x=[*state, 0.2 * i])
    for i, state in enumerate(states):
        for bit in range(n_bits):
            other = list(state)
            other[bit] *= -1
            graph.add_edge(i, states.index(tuple(other)), threshold=0.4 + 0.01 * i, at_unit=True)
    return graph


def split_graph() -> nx.DiGraph:
    """The published failure: six states for four, two of them nearer to the task's than their twins."""
    outputs = [
        (-1.356, -1.224),
        (-0.996, 0.998),
        (-0.706, -0.863),
        (0.706, 0.863),
        (0.996, -0.998),
        (1.356, 1.224),
    ]
    graph = nx.DiGraph()
    for i, output in enumerate(outputs):
        graph.add_node(i, output=output, x=[*output, 0.0])
    moves = {(2, 4): 0.0967, (4, 2): 0.4226, (5, 3): 0.1273, (3, 5): 0.1412, (5, 4): 0.3466, (4, 5): 0.3181}
    for (i, j), threshold in moves.items():
        graph.add_edge(i, j, threshold=threshold, at_unit=True)
        graph.add_edge(5 - i, 5 - j, threshold=threshold, at_unit=True)
    return graph


NETWORK = EchoStateNetwork(np.diag([0.9, -0.3, 0.2]), leak_rate=0.5, readout=Readout(np.eye(2, 3)))
SQUARE = np.sign(np.sin(0.05 * K[:300]) + 0.01)[:, None]

PLOTS: dict[str, Callable[..., Axes]] = {
    "error growth": lambda **o: plotting.plot_error_growth(window(), **o),
    "forecast": lambda **o: plotting.plot_forecast(window(), **o),
    "forecast, early": lambda **o: plotting.plot_forecast(window(valid=5.0, exponent=None), **o),
    "attractor": lambda **o: plotting.plot_attractor(climate(), **o),
    "return map": lambda **o: plotting.plot_return_map(climate(), **o),
    "spectrum": lambda **o: plotting.plot_spectrum(climate(), **o),
    "task": lambda **o: plotting.plot_task(TaskRun(0 * SQUARE, SQUARE, 0.9 * SQUARE, 0.0, 0.1), **o),
    "vpt": lambda **o: plotting.plot_vpt(fit(), **o),
    "ridge": lambda **o: plotting.plot_ridge(fit(), **o),
    "eigenvalues": lambda **o: plotting.plot_eigenvalues(NETWORK, **o),
    "contraction": lambda **o: plotting.plot_contraction(verdict(0.7, 1.4), NETWORK, **o),
    "forgetting": lambda **o: plotting.plot_forgetting(
        0.5 ** np.arange(40.0)[:, None], rate=0.6, steps=29, **o
    ),
    "graph, 1 bit": lambda **o: plotting.plot_graph(flip_flop_graph(1), **o),
    "graph, 2 bits": lambda **o: plotting.plot_graph(flip_flop_graph(2), **o),
    "graph, 3 bits": lambda **o: plotting.plot_graph(flip_flop_graph(3), **o),
    "graph, split": lambda **o: plotting.plot_graph(split_graph(), **o),
    "phase": lambda **o: plotting.plot_phase_graph(flip_flop_graph(2), NETWORK, paths=[np.eye(3)], **o),
    "phase, 3 bits": lambda **o: plotting.plot_phase_graph(flip_flop_graph(3), **o),
}


def texts(figure: Figure) -> list[matplotlib.text.Text]:
    found = figure.findobj(matplotlib.text.Text)
    return [
        t for t in found if isinstance(t, matplotlib.text.Text) and t.get_visible() and t.get_text().strip()
    ]


@pytest.mark.parametrize("name", PLOTS)
def test_own_figure_is_not_global_and_legible_to_the_edge(name: str) -> None:
    before = dict(matplotlib.rcParams)
    ax = PLOTS[name]()
    figure = ax.get_figure(root=True)
    assert figure is not None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig("/dev/null", format="svg")
    assert dict(matplotlib.rcParams) == before
    from matplotlib import pyplot

    assert pyplot.get_fignums() == []
    for text in texts(figure):
        assert text.get_fontsize() >= 8.0, text.get_text()
    # Nothing that is drawn sticks out of the page.
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert box.x0 >= -0.02
    assert box.y0 >= -0.02
    assert box.x1 <= width + 0.02
    assert box.y1 <= height + 0.02


@pytest.mark.parametrize("name", PLOTS)
def test_draws_on_the_axes_that_it_is_given(name: str) -> None:
    ax = Figure().add_subplot()
    assert PLOTS[name](ax=ax) is ax
    assert ax.has_data() or ax.child_axes or ax.patches


def test_data_and_network_differ_in_greyscale() -> None:
    def grey(colour: str) -> float:
        return float(np.dot(matplotlib.colors.to_rgb(colour), [0.299, 0.587, 0.114]))

    assert grey(style.PALE) - grey(style.RED) > 0.25
    assert abs(grey(style.INK) - grey(style.RED)) > 0.15


def test_forecast_shows_truth_forecast_and_where_it_ends() -> None:
    w = window()
    upper, lower = plotting.plot_forecast(w).child_axes
    truth, forecast, end = upper.get_lines()
    np.testing.assert_array_equal(truth.get_ydata(), w.truth[:, 0])
    np.testing.assert_array_equal(forecast.get_ydata(), w.forecast[:, 0])
    assert w.lyapunov_time is not None
    assert end.get_xdata()[0] == pytest.approx(60.0 / w.lyapunov_time)
    np.testing.assert_allclose(lower.get_lines()[0].get_ydata(), w.error)
    assert "valid for 2.7 Lyapunov times" in [t.get_text() for t in upper.texts]


def test_growth_line_has_the_slope_of_the_exponent() -> None:
    w = window(valid=130.0)
    ax = plotting.plot_error_growth(w)
    guide = next(line for line in ax.get_lines() if line.get_linestyle() == "-.")
    x, y = guide.get_xdata(), guide.get_ydata()
    # On an axis in Lyapunov times every exponent has slope one.
    assert np.log(y[1] / y[0]) / (x[1] - x[0]) == pytest.approx(1.0)


def test_attractor_panels_share_their_limits() -> None:
    c = climate()
    left, right = plotting.plot_attractor(c).child_axes
    assert left.get_xlim() == right.get_xlim() == left.get_ylim()
    x, y = left.get_lines()[0].get_data()
    np.testing.assert_array_equal(x[: -c.lag], y[c.lag :])


def test_return_map_pairs_successive_maxima() -> None:
    c = climate()
    data, run = plotting.plot_return_map(c).get_lines()
    np.testing.assert_array_equal(data.get_xdata()[1:], data.get_ydata()[:-1])
    assert len(run.get_xdata()) == len(c.maxima_free_run) - 1


def test_vpt_marks_every_window_and_the_mean() -> None:
    values = [4.0, 6.0, 8.0]
    ax = plotting.plot_vpt(values, unit="Lyapunov times")
    ticks, mean, worst = ax.get_lines()
    np.testing.assert_array_equal(ticks.get_xdata(), values)
    assert mean.get_xdata()[0] == 6.0
    assert worst.get_xdata()[0] == pytest.approx(4.4)
    with pytest.raises(InvalidInputError):
        plotting.plot_vpt([])


def test_eigenvalues_outside_the_circle_are_filled() -> None:
    ax = plotting.plot_eigenvalues({"a": [0.5, 1.5]}, reference=[1.4])
    inside, outside = (line for line in ax.get_lines() if line.get_marker() == "o")
    assert inside.get_xdata().tolist() == [0.5]
    assert inside.get_markerfacecolor() == "none"
    assert outside.get_xdata().tolist() == [1.5]
    assert outside.get_markerfacecolor() != "none"
    circle = ax.patches[0]
    assert (circle.get_radius(), circle.center) == (1.0, (0.0, 0.0))
    with pytest.raises(InvalidInputError):
        plotting.plot_eigenvalues({"a": []})


@pytest.mark.parametrize(
    ("proved", "refuted", "words"),
    [
        (0.7, 1.4, {"proved", "open", "refuted"}),
        (0.7, None, {"proved", "open"}),
        (0.8, 0.8, {"proved", "refuted"}),
    ],
)
def test_contraction_shades_the_ranges(proved: float, refuted: float | None, words: set[str]) -> None:
    ax = plotting.plot_contraction(verdict(proved, refuted), NETWORK)
    shown = {t.get_text() for t in ax.texts}
    assert words <= shown
    assert not ({"proved", "open", "refuted"} - words) & shown
    radius = NETWORK.spectral_radius()
    spans = {
        (round(p.get_x(), 9), round(p.get_x() + p.get_width(), 9), round(p.get_y(), 2)) for p in ax.patches
    }
    # What is shaded ends at the certificate, not at the critical gain 0.8 of a bound.
    assert (0.0, round(proved * radius, 9), -0.43) in spans
    assert proved == 0.8 or not any(end == round(0.8 * radius, 9) and y < 0.0 for _, end, y in spans)
    # The best rung stands first, and every bar ends at its critical gain.
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "certificates",
        "weighted Euclidean norm",
        "Euclidean norm",
    ]
    for row, gain in ((1, 0.8), (2, 0.6)):
        assert (0.0, round(gain * radius, 9), row - 0.28) in spans


def test_a_rung_is_hatched_where_it_cannot_succeed() -> None:
    bound = Namespace(name="diagonal-schur", critical_gain=0.8, dual=0.85)
    shown = Namespace(bounds=(bound,), proved_gain=0.7, refuted_gain=1.4, verdict="inconclusive")
    radius = NETWORK.spectral_radius()
    hatched = [p for p in plotting.plot_contraction(shown, NETWORK).patches if p.get_hatch() == "xxxx"]
    assert [round(p.get_x(), 9) for p in hatched] == [round(0.85 * radius, 9)]


def test_forgetting_shows_the_proved_bound_above_the_trajectories() -> None:
    distances = 2.0 * 0.5 ** np.arange(60.0)[:, None] * np.ones((1, 3))
    ax = plotting.plot_forgetting(distances, rate=0.7, steps=50, epsilon=1e-6)
    bound = next(line for line in ax.get_lines() if "proved: factor 0.7" in str(line.get_label()))
    x, y = bound.get_xdata(), bound.get_ydata()
    assert y[x == 50] == pytest.approx(1e-6)
    assert y[x == 40] == pytest.approx(1e-6 * 0.7**-10)
    assert np.all(y[:40] > distances[:40, 0])
    assert "50 steps" in {t.get_text() for t in ax.texts}
    bare = plotting.plot_forgetting(distances)
    assert not any("proved" in str(line.get_label()) for line in bare.get_lines())
    plotting.plot_forgetting(np.zeros((5, 2)))
    with pytest.raises(InvalidInputError):
        plotting.plot_forgetting(np.zeros((0, 2)))


def test_graph_has_an_arrow_and_a_threshold_for_every_edge() -> None:
    graph = flip_flop_graph(2)
    ax = plotting.plot_graph(graph)
    assert len(ax.patches) == graph.number_of_edges() == 8
    shown = [t.get_text() for t in ax.texts]
    for node in graph.nodes:
        assert str(node) in shown
    assert shown.count("0.4") == 2
    assert "(−1, +1)" in shown


def test_graph_marks_spurious_states_and_easy_moves() -> None:
    targets = np.array(list(itertools.product([-1.0, 1.0], repeat=2)))
    ax = plotting.plot_graph(split_graph(), targets=targets)
    shown = [t.get_text() for t in ax.texts]
    # The inner two are left at 0.0967, their twins at 0.3181 or more, though further from the targets.
    assert [line.get_marker() for line in ax.get_lines()] == ["o", "o", "s", "s", "o", "o"]
    assert {"(+0.7, +0.9) twin", "(−0.7, −0.9) twin"} <= set(shown)
    assert shown.count("0.097!") == 2
    # Kicks of the state decide where they are known, as in a diagnosis; a far output stands for no state.
    graph = split_graph()
    graph.graph.update(metrics=["input", "state"], connections=[
        {"metric": "state", "source": 3, "target": 1, "threshold": 0.5},
        {"metric": "state", "source": 5, "target": 1, "threshold": 0.2},
        {"metric": "input", "source": 3, "target": 1, "threshold": 0.1},
    ])  # fmt: skip
    graph.nodes[0]["output"] = (-2.5, -2.5)
    graph.nodes[2]["output"] = (-1.0, -1.0)
    ax = plotting.plot_graph(graph, targets=targets)
    assert [line.get_marker() for line in ax.get_lines()] == ["s", "o", "o", "o", "o", "s"]
    shown = [t.get_text() for t in ax.texts]
    assert {"(−2.5, −2.5) spurious", "(+1.4, +1.2) twin"} <= set(shown)


def test_a_crowded_graph_of_kicks_keeps_what_is_easy() -> None:
    """No pulse tells there which moves are made: each node's own easiest kick does."""
    graph = flip_flop_graph(3)
    for i, j in itertools.permutations(range(8), 2):
        graph.add_edge(i, j, threshold=0.25 if (i ^ j) in (1, 2, 4) else 0.9)
    graph.edges[0, 1]["threshold"] = 0.1
    graph.graph["metric"] = "state"
    ax = plotting.plot_graph(graph)
    shown = [t.get_text() for t in ax.texts]
    assert shown.count("0.1!") == 1
    assert shown.count("0.25") == 23
    assert "0.9" not in shown
    assert sum(p.get_linestyle() != "-" for p in ax.patches) == 32
    assert "dashed: more than 3 times the easiest from there" in ax.get_title(loc="left")


def test_numbers_of_a_crowded_graph_do_not_cover_each_other() -> None:
    graph = nx.DiGraph(metric="state")
    for node, output in enumerate(np.eye(8).tolist()):
        graph.add_node(node, output=output)
    for i, j in itertools.permutations(range(8), 2):
        graph.add_edge(i, j, threshold=0.3)
    ax = plotting.plot_graph(graph)
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    boxes = [t.get_window_extent() for t in ax.texts]
    assert len(boxes) == 8 + 8 + 56
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_nodes_keep_apart() -> None:
    for n_bits in (1, 2, 3):
        ax = plotting.plot_graph(flip_flop_graph(n_bits))
        places = np.array([line.get_xydata()[0] for line in ax.get_lines()])
        assert len(places) == 2**n_bits
        gaps = np.linalg.norm(places[:, None] - places[None], axis=2) + 9.0 * np.eye(len(places))
        assert gaps.min() > 0.5


def test_nodes_in_one_place_are_pushed_apart_and_others_stay() -> None:
    """The split corner of the fixture lies near its corner; two attractors with one output do not cover."""
    ax = plotting.plot_graph(split_graph())
    places = np.array([line.get_xydata()[0] for line in ax.get_lines()])
    for corner, inner in ((5, 3), (0, 2)):
        gaps = np.linalg.norm(places - places[corner], axis=1)
        assert int(np.argsort(gaps)[1]) == inner
        assert gaps[inner] > 0.4
    twins = nx.DiGraph()
    for node, output in enumerate([(1.0, 1.0), (1.0, 1.0), (1.0, 1.0), (-1.0, -1.0)]):
        twins.add_node(node, output=list(output))
    places = np.array([line.get_xydata()[0] for line in plotting.plot_graph(twins).get_lines()])
    gaps = np.linalg.norm(places[:, None] - places[None], axis=2) + 9.0 * np.eye(4)
    assert gaps.min() > 0.45
    assert np.linalg.norm(places[3] - [-1.0, -1.0]) < 1e-9


def test_graph_draws_what_a_diagnosis_blames() -> None:
    graph = split_graph()
    ax = plotting.plot_graph(graph, spurious=[0, 5], twins=[0], guilty=[(5, 3)], names=list("abccde"))
    shown = [t.get_text() for t in ax.texts]
    assert sum("twin" in t for t in shown) == 1
    assert sum("spurious" in t for t in shown) == 1
    assert sum(t.endswith("!") for t in shown) == 1
    assert "(+0.7, +0.9)\nfor c" in shown
    red = [p for p in ax.patches if matplotlib.colors.to_hex(p.get_edgecolor()) == style.RED.lower()]
    assert len(red) == 1
    with pytest.raises(InvalidInputError, match="names"):
        plotting.plot_graph(graph, names=["a"])


def test_edges_are_the_wider_the_easier_and_dashed_where_no_unit_pulse_goes() -> None:
    graph = flip_flop_graph(2)
    for k, (i, j) in enumerate(graph.edges):
        graph.edges[i, j].update(threshold=0.1 * 2.0**k, at_unit=k % 2 == 0)
    ax = plotting.plot_graph(graph, guilty=())
    made = [p.get_linewidth() for p in ax.patches if p.get_linestyle() == "-"]
    assert made == sorted(made, reverse=True)
    assert made[0] > 3.0 > made[-1]
    assert sum(p.get_linestyle() != "-" for p in ax.patches) == 4
    # Among many edges, those that the task's pulses do not make keep back.
    for i, j in itertools.permutations(range(4), 2):
        if not graph.has_edge(i, j):
            graph.add_edge(i, j, threshold=9.0, at_unit=False)
    graph.add_nodes_from((4 + n, {"output": [3.0, n]}) for n in range(2))
    graph.add_edges_from([(i, 4 + i % 2, {"threshold": 9.0, "at_unit": False}) for i in range(4)])
    graph.add_edge(4, 5, threshold=9.0, at_unit=False)
    assert graph.number_of_edges() == 17
    shown = [t.get_text() for t in plotting.plot_graph(graph, guilty=()).texts]
    assert "9" not in shown
    assert "0.1" in shown


def test_kinds_of_attractors_differ_by_their_marker_and_say_what_they_are() -> None:
    graph = nx.DiGraph(audit="failed", metric="state")
    graph.add_node(0, output=[1.0, 0.0], kind="fixed point", period=1)
    graph.add_node(1, output=[-1.0, 0.0], kind="periodic orbit", period=2)
    graph.add_node(2, output=[0.0, 1.0], kind="chaos", period=None)
    graph.add_edge(0, 0, threshold=0.1)
    graph.add_edge(0, 1, threshold=0.2)
    ax = plotting.plot_graph(graph)
    assert [line.get_marker() for line in ax.get_lines()] == ["o", "h", "D"]
    shown = " ".join(t.get_text() for t in ax.texts)
    assert "period 2" in shown
    assert "chaos" in shown
    assert len(ax.patches) == 2
    assert "audit of the fixed points failed" in ax.get_title(loc="left")


def test_empty_graphs_are_refused() -> None:
    for draw in (plotting.plot_graph, plotting.plot_phase_graph):
        with pytest.raises(InvalidInputError):
            draw(nx.DiGraph())


def test_phase_graph_shows_outputs_saddles_and_orbits() -> None:
    path = np.array([[0.0, 0.0, 0.0], [0.5, -0.5, 3.0]])
    ax = plotting.plot_phase_graph(flip_flop_graph(2), NETWORK, paths=[path])
    assert ax.get_xlabel() == "output 1"
    np.testing.assert_array_equal(ax.get_lines()[0].get_xydata(), path[:, :2])
    assert sum(line.get_marker() == "x" for line in ax.get_lines()) == 1
    assert sum(line.get_marker() == "o" for line in ax.get_lines()) == 4
