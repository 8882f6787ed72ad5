"""Branches and bifurcations against closed forms, published numbers and scans over the parameter."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import matplotlib.text
import numpy as np
import pytest
import sympy
from matplotlib.figure import Figure
from naive_bifurcations import (
    naive_crossing,
    naive_fold,
    naive_multipliers,
    naive_orbit,
    naive_roots,
    origin_bifurcations,
)

import esntools.bifurcations.diagram as diagram_module
from esntools._typing import FloatArray
from esntools.bifurcations import (
    BifurcationDiagram,
    Branch,
    find_bifurcations,
    follow_branch,
    one_neuron_diagram,
)
from esntools.bifurcations.families import NetworkFamily
from esntools.errors import InvalidInputError
from esntools.fixed_points import find_fixed_points
from esntools.gated import GRU
from esntools.maps import FunctionMap
from esntools.network import EchoStateNetwork, Readout
from esntools.plotting.bifurcations import plot_bifurcations

EXACT = 1e-10


def scalar(
    function: Callable[..., FloatArray], slope: Callable[..., FloatArray]
) -> Callable[[float], FunctionMap]:
    """Return the family x -> function(x, v)."""
    return lambda v: FunctionMap(lambda x: function(x, v), lambda x: np.atleast_2d(slope(x, v)), 1)


LOGISTIC = scalar(lambda x, r: r * x * (1.0 - x), lambda x, r: r - 2.0 * r * x)


def henon(a: float) -> FunctionMap:
    return FunctionMap(
        lambda x: np.stack([1.0 - a * x[..., 0] ** 2 + x[..., 1], 0.3 * x[..., 0]], axis=-1),
        lambda x: np.array([[-2.0 * a * x[0], 1.0], [0.3, 0.0]]),
        2,
    )


def delayed_logistic(r: float) -> FunctionMap:
    return FunctionMap(
        lambda x: np.stack([r * x[..., 0] * (1.0 - x[..., 1]), x[..., 0]], axis=-1),
        lambda x: np.array([[r * (1.0 - x[1]), -r * x[0]], [1.0, 0.0]]),
        2,
    )


def one(w: float, **options: Any) -> EchoStateNetwork:
    return EchoStateNetwork([[w]], **options)


def quick(network: Any, **options: Any) -> BifurcationDiagram:
    """Search with few starts: the networks here are small."""
    return find_bifurcations(network, **{"n_values": 3, "n_starts": 16, "max_step": 0.06, **options})


def values_of(result: Branch | BifurcationDiagram, kind: str) -> list[float]:
    return sorted(p.value for p in result.points if p.kind == kind)


# -- published numbers and closed forms -------------------------------------------------------------------


@pytest.mark.parametrize(("w", "fold"), [(1.5, 0.2075465), (2.0, 0.5328400), (3.0, 1.3032739)])
def test_one_neuron_folds_where_the_closed_form_says(w: float, fold: float) -> None:
    branch = follow_branch(one(w), [-1.0], parameter="bias", start=-2.0, stop=2.0)
    s = math.sqrt(1.0 - 1.0 / w)
    exact = abs(math.atanh(s) - w * s)
    assert exact == pytest.approx(fold, abs=5e-8)
    assert [p.kind for p in branch.points] == ["fold", "fold"]
    assert values_of(branch, "fold") == pytest.approx([-exact, exact], abs=1e-13)
    assert [p.x[0] for p in branch.points] == pytest.approx([-s, s], abs=1e-13)
    assert max(p.error for p in branch.points) <= EXACT
    assert branch.ends == ("range", "range")


@pytest.mark.parametrize("a", [1.0, 0.5, 0.2])
def test_pitchfork_at_gain_one_and_its_branches(a: float) -> None:
    diagram = quick(one(1.0, leak_rate=a), start=0.2, stop=2.0)
    (point,) = diagram.points
    assert (point.kind, point.criticality, point.located) == ("pitchfork", "supercritical", True)
    assert point.value == pytest.approx(1.0, abs=1e-14)
    assert len(diagram) == 2
    ends = sorted(float(x) for b in diagram for x in b.states[b.values == 2.0][:, 0, 0])
    assert ends == pytest.approx([-0.9575040, 0.0, 0.9575040], abs=5e-8)


@pytest.mark.parametrize(("a", "w"), [(1.0, -1.5), (1.0, -4.0), (0.5, -4.0), (0.3, -7.0)])
def test_flip_rule(a: float, w: float) -> None:
    """w (1 - x^2) = 1 - 2/a, at both ends of the range of biases in which states alternate."""
    branch = follow_branch(one(w, leak_rate=a), [0.0], parameter="bias", at=0.0, start=-8.0, stop=8.0)
    assert [p.kind for p in branch.points] == ["flip", "flip"]
    for point in branch.points:
        assert w * (1.0 - point.x[0] ** 2) == pytest.approx(1.0 - 2.0 / a, abs=1e-12)
        assert point.multipliers[0] == pytest.approx(-1.0, abs=1e-12)


@pytest.mark.parametrize(("a", "w"), [(1.0, -1.0), (0.5, -3.0)])
def test_flip_at_the_origin_as_the_gain_falls(a: float, w: float) -> None:
    diagram = quick(one(1.0, leak_rate=a), start=-4.0, stop=0.5)
    assert values_of(diagram, "flip") == pytest.approx([w], abs=1e-13)


def test_switching_network_is_bistable_below_u_c() -> None:
    network = EchoStateNetwork(np.diag([0.5, 1.75]), W_in=np.eye(2), leak_rate=0.25)
    diagram = quick(network, parameter="input", direction=[0.0, 1.0], start=-1.0, stop=1.0)
    u_c = 0.36224430525275453
    assert values_of(diagram, "fold") == pytest.approx([-u_c, u_c], abs=1e-14)
    assert all(a.verdict == "passed" for a in diagram.audit)


def test_excitable_neuron_loses_its_rest_state_at_p_sn() -> None:
    eps = 0.05
    neuron = one(1.0 / eps, W_in=[[1.0 / eps]], b=[-0.5 / eps], activation="logistic", leak_rate=0.25)
    diagram = quick(neuron, parameter="input", start=0.0, stop=0.6)
    phi = (1.0 - math.sqrt(1.0 - 4.0 * eps)) / 2.0
    p_sn = 0.5 + eps * math.log(phi / (1.0 - phi)) - phi
    assert p_sn == pytest.approx(0.3028500480, abs=5e-11)
    assert values_of(diagram, "fold") == pytest.approx([p_sn], abs=1e-14)


def test_henon_map() -> None:
    """Fold at -(1 - b)^2/4, flips at 3 (1 - b)^2/4 and (1 - b)^2 + (1 + b)^2/4 with b = .3."""
    diagram = quick(henon, parameter="a", start=-0.2, stop=1.0, starts=[(0.2, [0.8, 0.24], 1)], max_period=2)
    assert values_of(diagram, "fold") == pytest.approx([-0.1225], abs=1e-14)
    assert values_of(diagram, "flip") == pytest.approx([0.3675, 0.9125], abs=1e-14)
    # The other fixed point goes to infinity as a goes to 0.
    assert "escaped" in [end for b in diagram for end in b.ends]


def test_logistic_cascade_and_the_window_of_period_three() -> None:
    diagram = quick(
        LOGISTIC, parameter="r", start=0.5, stop=3.9, starts=[(0.5, [0.0], 1), (3.84, [0.149407], 3)],
        n_values=2, max_period=4,
    )  # fmt: skip
    assert values_of(diagram, "transcritical") == pytest.approx([1.0], abs=1e-14)
    flips = {p.period: p for p in diagram.of_kind("flip")}
    assert flips[1].value == pytest.approx(3.0, abs=1e-13)
    assert flips[2].value == pytest.approx(1.0 + math.sqrt(6.0), abs=1e-13)
    assert flips[4].value == pytest.approx(3.5440903595519, abs=1e-12)
    # x -> r x (1 - x) at r = 3: -x - 3 x^2 about the fixed point, so 0 + 9.
    assert flips[1].coefficient == pytest.approx(9.0, abs=1e-8)
    (fold,) = diagram.of_kind("fold")
    assert fold.value == pytest.approx(1.0 + math.sqrt(8.0), abs=1e-12)
    assert sorted(fold.states[:, 0]) == pytest.approx([0.1599288, 0.5143553, 0.9563178], abs=5e-8)


def test_long_unstable_orbits_are_not_mixed_up() -> None:
    """States of one orbit never pass each other on the line, so that their order is that of the branch."""
    diagram = quick(
        LOGISTIC, parameter="r", start=2.8, stop=3.9, starts=[(2.8, [0.6], 1)], n_values=2, max_period=16
    )
    assert [b.period for b in diagram if b.values.max() == 3.9] == [1, 2, 4, 8, 16, 1]
    for branch in diagram:
        orders = np.argsort(branch.states[2:, :, 0], axis=1)
        assert np.all(orders == orders[0])
        assert not [p for p in branch.points if p.kind == "degenerate"]


def test_delayed_logistic_map() -> None:
    branch = follow_branch(delayed_logistic, [0.4, 0.4], parameter="r", start=1.5, stop=2.3, at=1.6)
    (point,) = branch.points
    assert (point.kind, point.criticality) == ("neimark-sacker", "supercritical")
    assert point.value == pytest.approx(2.0, abs=1e-13)
    assert point.multipliers[0] == pytest.approx(np.exp(1j * np.pi / 3.0), abs=1e-12)


@pytest.mark.parametrize(("a", "theta"), [(0.4, 1.0), (1.0, 0.7), (0.7, 2.5)])
def test_rotation_loses_its_rest_state_on_the_circle(a: float, theta: float) -> None:
    c, s = math.cos(theta), math.sin(theta)
    network = EchoStateNetwork([[c, -s], [s, c]], leak_rate=a)
    branch = follow_branch(network, [0.0, 0.0], start=0.3, stop=6.0)
    (point,) = branch.points
    exact = (-(1.0 - a) * c + math.sqrt(((1.0 - a) * c) ** 2 + a * (2.0 - a))) / a
    assert point.kind == "neimark-sacker"
    assert point.value == pytest.approx(exact, abs=1e-13)


@pytest.mark.parametrize(
    ("n", "a"), [(20, 1.0), (30, 0.5), pytest.param(200, 1.0, marks=[pytest.mark.slow, pytest.mark.ci])]
)
def test_every_bifurcation_of_the_origin_of_a_random_network(n: int, a: float) -> None:
    """Up to 69 of them; the eigenvalues of W give each in closed form."""
    W = np.random.default_rng(n).normal(size=(n, n)) / math.sqrt(n)
    branch = follow_branch(EchoStateNetwork(W, leak_rate=a), np.zeros(n), start=0.3, stop=1.8)
    exact = origin_bifurcations(W, a, 0.3, 1.8)
    found = sorted((p.value, p.kind) for p in branch.points)
    assert [kind for _, kind in found] == [kind for _, kind in exact]
    assert [value for value, _ in found] == pytest.approx([value for value, _ in exact], abs=1e-12)
    assert max(p.error for p in branch.points) <= EXACT
    assert all(p.located for p in branch.points)
    # Every crossing so far is outside at the next.
    outwards = sorted(branch.points, key=lambda p: p.value)
    crossed = np.cumsum([0, *(len(p.multipliers) for p in outwards)])
    assert [p.n_unstable for p in outwards] == crossed[:-1].tolist()


# -- normal forms -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cubic", [1.0, -1.0])
def test_criticality_of_pitchforks_and_flips(cubic: float) -> None:
    """(1 + v) x + c x^3 and its negative: the coefficients are c, and the signs say what is stable."""
    for sign, kind in ((1.0, "pitchfork"), (-1.0, "flip")):
        family = scalar(
            lambda x, v, s=sign: s * (1.0 + v) * x + cubic * x**3,
            lambda x, v, s=sign: s * (1.0 + v) + 3.0 * cubic * x**2,
        )
        diagram = quick(
            family, parameter="v", start=-0.2, stop=0.2, starts=[(-0.2, [0.0], 1)], n_values=2, max_period=2
        )
        (point,) = [p for p in diagram.points if abs(p.x[0]) < 1e-9]
        assert point.kind == kind
        assert point.coefficient == pytest.approx(cubic, rel=1e-8)
        good = cubic * sign < 0.0
        assert point.criticality == ("supercritical" if good else "subcritical")
        (born,) = [
            b
            for b in diagram
            if np.any(np.abs(b.states[np.abs(b.values) < 1e-6]) < 1e-3) and np.ptp(b.states) > 0.3
        ]
        small = np.abs(born.values) > 1e-3
        assert np.all(born.stable[small] == good)
        assert np.all(born.values[small] * (1.0 if good else -1.0) > 0.0)


@pytest.mark.parametrize("cubic", [1.0, -1.0])
def test_criticality_of_invariant_circles(cubic: float) -> None:
    """z -> (1 + v) exp(i) z (1 + c |z|^2) has d(0) = c, doubled by |q| = 1 in two real dimensions."""
    R = np.array([[math.cos(1.0), -math.sin(1.0)], [math.sin(1.0), math.cos(1.0)]])

    def family(v: float) -> FunctionMap:
        return FunctionMap(
            lambda x: (1.0 + v) * (1.0 + cubic * np.sum(x * x, axis=-1, keepdims=True)) * (x @ R.T),
            lambda x: (1.0 + v) * R @ ((1.0 + cubic * (x @ x)) * np.eye(2) + 2.0 * cubic * np.outer(x, x)),
            2,
        )

    (point,) = follow_branch(family, [0.0, 0.0], parameter="v", start=-0.3, stop=0.3).points
    assert point.coefficient == pytest.approx(2.0 * cubic, rel=1e-8)
    assert point.criticality == ("supercritical" if cubic < 0.0 else "subcritical")


def test_coefficient_of_a_fold() -> None:
    branch = follow_branch(
        scalar(lambda x, v: x + v + 0.7 * x * x, lambda x, v: 1.0 + 1.4 * x), [1.0],
        parameter="v", start=-0.7, stop=0.5,
    )  # fmt: skip
    (point,) = branch.points
    assert (point.kind, point.criticality) == ("fold", "undecided")
    assert point.coefficient == pytest.approx(0.7, rel=1e-9)


# -- against the slow twins -------------------------------------------------------------------------------


def small_network(seed: int) -> EchoStateNetwork:
    rng = np.random.default_rng(seed)
    return EchoStateNetwork(
        rng.normal(scale=1.6, size=(3, 3)), b=0.3 * rng.normal(size=3), leak_rate=rng.uniform(0.3, 1.0, 3)
    )


@pytest.mark.parametrize("seed", range(2))
def test_branches_hold_what_a_scan_finds(seed: int) -> None:
    """At values between the searched ones, and every change of stability at the same value by bisection."""
    network = small_network(seed)
    diagram = quick(network, start=0.0, stop=2.5, max_period=2)
    assert all(a.verdict == "passed" for a in diagram.audit)
    for value in (1.1234, 2.4321):
        system = network.scaled(value)
        crossed = set()
        for b in diagram:
            if b.period > 1:
                continue
            for i in np.flatnonzero((b.values[:-1] - value) * (b.values[1:] - value) < 0.0):
                crossed.add(tuple(np.round(naive_orbit(system, b.states[i, 0], 1), 7)))
        found = {tuple(np.round(p.x, 7)) for p in find_fixed_points(system, n_starts=128, rng=7)}
        assert crossed == found
    for point in diagram.points:
        if point.kind in ("flip", "neimark-sacker"):
            step = 2e-3
            others = [abs(p.value - point.value) for p in diagram.points if p is not point]
            if min(others, default=1.0) < 2.0 * step:
                continue
            naive = naive_crossing(
                network.scaled, point.x, point.value - step, point.value + step, point.period
            )
            assert point.value == pytest.approx(naive, abs=1e-7)


def test_a_gated_unit_is_a_family_like_any_other() -> None:
    """A GRU whose rest state flips subcritically: the orbit of period 2 is born unstable and folds back."""
    rng = np.random.default_rng(1)
    W, b_in, b = rng.normal(size=(12, 4)), 0.3 * rng.normal(size=12), 0.3 * rng.normal(size=12)

    def gru(gain: float) -> GRU:
        return GRU(np.zeros((12, 0)), gain * W, b_in, b)

    diagram = quick(gru, parameter="gain of the GRU", start=0.1, stop=4.0)
    fold, flip = diagram.points
    assert (fold.kind, fold.period, flip.kind, flip.criticality) == ("fold", 2, "flip", "subcritical")
    assert fold.value < flip.value
    for point in (fold, flip):
        x = naive_orbit(gru(point.value), point.x, point.period)
        # Powell's method meets a fold only to the root of its tolerance.
        assert x == pytest.approx(point.x, abs=1e-5)
        mu = naive_multipliers(gru(point.value), point.x, point.period)
        assert np.min(np.abs(mu - point.multipliers[0])) < 1e-6
    near = flip.value - 0.2
    (orbit,) = [b for b in diagram if b.period == 2]
    sides = np.abs(orbit.values - near) < 0.2
    assert set(orbit.n_unstable[sides].tolist()) == {0, 1}


@pytest.mark.parametrize("b", [0.1, 0.4])
def test_imperfect_pitchfork_folds_where_the_count_changes(b: float) -> None:
    diagram = quick(one(1.0, b=[b]), start=0.5, stop=3.0)
    (fold,) = diagram.points

    def count(g: float) -> int:
        return len(naive_roots(lambda x: np.tanh(g * x + b) - x, -1.5, 1.5))

    # Two roots that close are lost on the grid of the scan: its error is quadratic in the spacing.
    assert fold.value == pytest.approx(naive_fold(count, 0.6, 2.9), abs=1e-5)


def test_a_branch_is_a_list_of_solutions_with_their_multipliers() -> None:
    network = small_network(0)
    diagram = quick(network, start=0.2, stop=2.5, max_period=4)
    assert len(diagram) > 1
    for branch in diagram:
        assert branch.residual <= 1e-9
        assert all(p.located and p.residual <= 1e-12 for p in branch.points)
        distance = np.hypot(
            np.diff(branch.values) / 2.3, np.sqrt(np.mean(np.diff(branch.states[:, 0], axis=0) ** 2, axis=1))
        )
        assert np.max(distance) <= 0.13
        for i in range(0, len(branch), 9):
            system = network.scaled(float(branch.values[i]))
            x = branch.states[i, 0]
            for y in branch.states[i]:
                assert x == pytest.approx(y, abs=1e-9)
                x = system.step(x)
            assert x == pytest.approx(branch.states[i, 0], abs=1e-9)
            mu = naive_multipliers(system, branch.states[i, 0], branch.period)
            if np.min(np.abs(np.abs(mu) - 1.0)) > 1e-3:
                assert branch.n_unstable[i] == np.sum(np.abs(mu) > 1.0)
                assert branch.index[i] == np.sign(np.prod(1.0 - mu).real)
                assert abs(branch.leading[i]) == pytest.approx(np.max(np.abs(mu)), rel=1e-5)


@pytest.mark.parametrize("parameter", ["gain", "bias", "leak_rate", "input"])
@pytest.mark.parametrize("squares", [False, True])
def test_derivatives_of_the_network_in_state_and_parameter(parameter: str, squares: bool) -> None:
    rng = np.random.default_rng(3)
    readout = Readout(rng.normal(size=(2, 4)), W_sq=rng.normal(size=(2, 4)) if squares else None)
    network = EchoStateNetwork(
        rng.normal(size=(4, 4)), W_in=rng.normal(size=(4, 3)), b=rng.normal(size=4), leak_rate=0.6,
        readout=readout, W_fb=0.3 * rng.normal(size=(4, 2)),
    )  # fmt: skip
    u, x, value, h = rng.normal(size=3), rng.uniform(-1.0, 1.0, 4), 0.8, 1e-6
    direction = {"bias": rng.normal(size=4), "input": rng.normal(size=3)}.get(parameter)
    family = NetworkFamily(network, parameter, direction, u)
    by_hand = {
        "gain": lambda: network.scaled(value).step(x, u),
        "leak_rate": lambda: replace(network, leak_rate=np.full(4, value)).step(x, u),
        "bias": lambda: replace(network, b=network.b + value * direction).step(x, u),
        "input": lambda: network.step(x, u + value * direction),
    }[parameter]()
    assert family.image(x, value) == pytest.approx(by_hand, abs=1e-14)
    system, held = family.system(value)
    assert held is None
    assert system.step(x) == pytest.approx(by_hand, abs=1e-14)
    assert family.jacobian(x, value) == pytest.approx(system.jacobian(x), abs=1e-14)
    slope = (family.image(x, value + h) - family.image(x, value - h)) / (2.0 * h)
    assert family.parameter_slope(x, value) == pytest.approx(slope, abs=1e-8)


# -- shapes of branches -----------------------------------------------------------------------------------


def test_an_isola_is_a_closed_curve() -> None:
    circle = scalar(lambda x, v: x + 0.3 * (1.0 - v * v - x * x), lambda x, v: 1.0 - 0.6 * x)
    branch = follow_branch(circle, [1.0], parameter="v", start=-2.0, stop=2.0, at=0.0)
    assert branch.ends == ("closed", "closed")
    assert values_of(branch, "fold") == pytest.approx([-1.0, 1.0], abs=1e-14)
    assert np.hypot(branch.values, branch.states[:, 0, 0]) == pytest.approx(np.ones(len(branch)), abs=1e-10)


def test_a_bubble_between_two_pitchforks_is_followed_once() -> None:
    """x (1 + .2 (1/4 - v^2 - x^2)): a circle of radius 1/2 that crosses the branch x = 0 twice."""
    family = scalar(
        lambda x, v: x * (1.0 + 0.2 * (0.25 - v * v - x * x)),
        lambda x, v: 1.0 + 0.2 * (0.25 - v * v) - 0.6 * x * x,
    )
    diagram = quick(family, parameter="v", start=-1.0, stop=1.0, n_values=2, starts=[(-1.0, [0.0], 1)])
    assert values_of(diagram, "pitchfork") == pytest.approx([-0.5, 0.5], abs=1e-13)
    (bubble,) = [b for b in diagram if np.ptp(b.states) > 0.1]
    assert bubble.ends == ("closed", "closed")
    assert len(bubble) < 200
    assert len(diagram) == 2


def test_an_orbit_lives_between_two_flips() -> None:
    diagram = quick(one(-4.0, leak_rate=0.6), parameter="bias", start=-4.0, stop=4.0)
    (orbit,) = [b for b in diagram if b.period == 2]
    assert orbit.ends == ("flip", "flip")
    flips = values_of(diagram, "flip")
    assert len(flips) == 2
    assert sorted(orbit.values[[0, -1]]) == pytest.approx(flips, abs=1e-12)


@pytest.mark.parametrize("n", [2, pytest.param(3, marks=[pytest.mark.slow, pytest.mark.ci])])
def test_equal_neurons_fork_at_once(n: int) -> None:
    """All 3^n states are on the branches though no branch can be switched to where they meet."""
    diagram = quick(EchoStateNetwork(np.eye(n)), start=0.5, stop=1.5, n_values=3)
    (point,) = diagram.points
    assert point.kind == "degenerate"
    assert len(point.multipliers) == n
    assert point.value == pytest.approx(1.0, abs=1e-12)
    assert f"{n} multipliers" in point.note
    assert [a.n_points for a in diagram.audit] == [1, 3**n, 3**n]
    assert [a.index_sum for a in diagram.audit] == [1, 1, 1]


def test_audit_reports_what_is_on_no_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    network = one(2.0)
    full = quick(network, parameter="bias", start=-0.4, stop=0.4, n_values=2)
    assert [a.verdict for a in full.audit] == ["passed", "passed"]

    def careless(*args: object, **options: object) -> tuple[object, ...]:
        return tuple(p for p in find_fixed_points(*args, **options) if p.x[0] < 0.5)  # type: ignore[arg-type]

    monkeypatch.setattr(diagram_module, "find_fixed_points", careless)
    less = quick(network, parameter="bias", start=-0.4, stop=0.4, n_values=2)
    assert [a.verdict for a in less.audit] == ["failed", "failed"]
    assert "at least 1" in less.audit[0].reason


def test_start_at_a_bifurcation_is_a_caveat() -> None:
    diagram = quick(one(1.0), start=1.0, stop=1.5)
    assert "multiplier 1" in diagram.note
    assert diagram.audit[0].verdict == "not applicable"
    assert diagram.audit[-1].n_points == 3


def test_kinks_end_a_branch_and_are_named() -> None:
    network = one(2.0, activation="hard_tanh")
    diagram = quick(network, parameter="bias", start=-1.5, stop=1.5)
    assert all("kink" in b.note for b in diagram if "step" in b.ends)
    corners = {round(float(v), 6) for b in diagram for v, e in zip(b.values[[0, -1]], b.ends) if e == "step"}
    assert corners == {-1.0, 1.0}


def test_neutral_map_has_no_bifurcation_and_says_so() -> None:
    turn = EchoStateNetwork([[0.0, -1.0], [1.0, 0.0]], activation="identity")
    branch = follow_branch(turn, [0.0, 0.0], parameter="bias", start=-1.0, stop=1.0)
    assert branch.points == ()
    assert "unit circle" in branch.note


def test_branches_left_out_are_counted() -> None:
    diagram = quick(one(1.0), start=-2.0, stop=2.0, max_branches=1)
    assert len(diagram) == 1
    assert "max_branches = 1" in diagram.note


def test_the_range_may_be_run_backwards() -> None:
    forwards = quick(one(2.0), parameter="bias", start=-1.0, stop=1.0)
    backwards = quick(one(2.0), parameter="bias", start=1.0, stop=-1.0)
    assert [p.value for p in forwards.points] == pytest.approx([p.value for p in backwards.points], abs=1e-13)


def test_progress_is_reported_and_the_result_reproducible() -> None:
    heard: list[float] = []
    network = small_network(1)
    first = quick(network, start=0.5, stop=2.0, progress=lambda label, f: heard.append(f))
    again = quick(network, start=0.5, stop=2.0)
    assert heard == sorted(heard)
    assert heard[-1] == 1.0
    assert [b.states.tobytes() for b in first] == [b.states.tobytes() for b in again]


@pytest.mark.parametrize(
    ("call", "place"),
    [
        (lambda: follow_branch(one(2.0), [0.0], parameter="gian", start=0.0, stop=1.0), "parameter"),
        (lambda: follow_branch(one(2.0), [0.0], start=1.0, stop=1.0), "start, stop"),
        (lambda: follow_branch(one(2.0), [0.0], start=0.0, stop=math.nan), "start, stop"),
        (lambda: follow_branch(one(2.0), [0.0], parameter="leak_rate", start=0.0, stop=1.0), "start, stop"),
        (lambda: follow_branch(one(2.0), [0.0], parameter="input", start=0.0, stop=1.0), "parameter"),
        (lambda: follow_branch(one(2.0), [0.0, 1.0], start=0.0, stop=1.0), "x0"),
        (lambda: follow_branch(one(2.0), [0.0], start=0.0, stop=1.0, at=2.0), "at"),
        (lambda: follow_branch(one(2.0), [0.0], start=0.0, stop=1.0, period=0), "period"),
        (lambda: follow_branch(one(0.5), [0.0], start=0.0, stop=1.0, period=2), "period"),
        (lambda: follow_branch(one(2.0), [0.0], start=0.0, stop=1.0, max_step=0.0), "max_step"),
        (lambda: follow_branch(one(2.0), [0.0], start=0.0, stop=1.0, tol=1.0), "tol"),
        (lambda: follow_branch(one(2.0), [0.0], start=0.0, stop=1.0, direction=[1.0]), "direction"),
        (lambda: follow_branch(one(2.0, W_in=[[1.0]]), [0.0], start=0.0, stop=1.0), "u"),
        (lambda: follow_branch(lambda v: v, [0.0], start=0.0, stop=1.0), "network"),  # type: ignore[arg-type,return-value]
        (lambda: follow_branch(henon, [5.0, 5.0], parameter="a", start=-0.5, stop=-0.3), "x0"),
        (lambda: find_bifurcations(one(2.0), start=0.0, stop=1.0, n_values=1), "n_values"),
        (lambda: find_bifurcations(one(2.0), start=0.0, stop=1.0, max_period=0), "max_period"),
        (lambda: find_bifurcations(one(0.5), start=0.1, stop=1.0, starts=[(0.5, [0.1], 2)]), "starts"),
        (lambda: one_neuron_diagram(EchoStateNetwork(np.eye(2)), start=0.0, stop=1.0), "network"),
        (lambda: one_neuron_diagram(one(0.0), start=0.0, stop=1.0), "network"),
    ],
)  # fmt: skip
def test_misuse_is_refused(call: Callable[[], object], place: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        call()
    assert caught.value.place == place
    assert caught.value.rule


# -- closed forms -----------------------------------------------------------------------------------------

NEURONS = {
    "bias": (one(2.0), {"parameter": "bias", "start": -1.2, "stop": 1.2}),
    "bias, offset": (one(3.0, b=[0.3], leak_rate=0.5), {"parameter": "bias", "start": -3.0, "stop": 3.0}),
    "gain": (one(1.0), {"parameter": "gain", "start": -2.5, "stop": 2.5}),
    "gain, biased": (one(1.0, b=[0.2], leak_rate=0.5), {"parameter": "gain", "start": -8.0, "stop": 3.0}),
    "leak": (one(-4.0, b=[0.2]), {"parameter": "leak_rate", "start": 0.05, "stop": 1.0}),
    "input, logistic": (
        one(20.0, W_in=[[20.0]], b=[-10.0], activation="logistic"),
        {"parameter": "input", "start": -0.6, "stop": 0.6},
    ),
    "erf": (one(-4.0, leak_rate=0.7, activation="erf"), {"parameter": "bias", "start": -6.0, "stop": 6.0}),
    "softsign": (one(4.0, activation="softsign"), {"parameter": "bias", "start": -3.0, "stop": 3.0}),
}  # fmt: skip


@pytest.mark.parametrize("name", NEURONS)
def test_numbers_and_closed_forms_agree(name: str) -> None:
    network, options = NEURONS[name]
    form = one_neuron_diagram(network, **options)
    diagram = quick(network, **options, max_period=1)
    assert form.points
    assert [p.kind for p in diagram.points] == [p.kind for p in form.points]
    assert [p.value for p in diagram.points] == pytest.approx([p.value for p in form.points], abs=1e-13)
    assert [p.x[0] for p in diagram.points] == pytest.approx([p.x for p in form.points], abs=1e-12)
    # Every numerical point is on the formula's curve, or on the trivial branch.
    z = sympy.Symbol("z", real=True)
    at = {"w": network.W[0, 0], "b": network.b[0], "a": network.leak_rate[0], "c": 20.0}
    curve = form.curve.lhs - form.curve.rhs if isinstance(form.curve, sympy.Eq) else form.curve
    exact = sympy.lambdify(z, curve.subs({s: at[str(s)] for s in curve.free_symbols if s != z}))
    family = NetworkFamily(network, options["parameter"], None, None)
    for branch in diagram:
        for value, x in zip(branch.values[::4], branch.states[::4, 0]):
            if abs(x[0]) > 1e-9:
                preactivation = family.system(value)[0].preactivation(x)[0]
                expected = 0.0 if name == "leak" else value
                assert exact(preactivation) == pytest.approx(expected, abs=1e-9 / min(abs(x[0]), 0.1))
    for values, states, multipliers in form.segments:
        for i in range(0, len(values), 150):
            system = family.system(values[i])[0]
            assert system.step(states[i, None]) == pytest.approx(states[i, None], abs=1e-12)
            assert system.jacobian(states[i, None])[0, 0] == pytest.approx(multipliers[i], abs=1e-12)


def test_sympy_derives_the_textbook_forms() -> None:
    w = sympy.Symbol("w", real=True)
    s = sympy.sqrt(1 - 1 / w)
    folds = one_neuron_diagram(one(2.0), parameter="bias", start=-1.0, stop=1.0).points
    textbook = sympy.atanh(s) - w * s
    assert {p.kind for p in folds} == {"fold"}
    assert sympy.simplify((folds[0].symbol - textbook).subs(w, sympy.Rational(7, 3))).evalf(
        25
    ) == pytest.approx(0.0)
    assert sympy.simplify((folds[1].symbol + textbook).subs(w, sympy.Rational(7, 3))).evalf(
        25
    ) == pytest.approx(0.0)
    a = sympy.Symbol("a", positive=True)
    gains = {
        p.kind: p.symbol for p in one_neuron_diagram(one(1.0, leak_rate=0.5), start=-4.0, stop=2.0).points
    }
    assert gains["pitchfork"] == 1 / w
    assert sympy.simplify(gains["flip"] - (1 - 2 / a) / w) == 0
    (flip,) = one_neuron_diagram(one(-4.0), parameter="leak_rate", start=0.1, stop=1.0).points
    assert sympy.simplify(flip.symbol - 2 / (1 - w)) == 0
    assert flip.value == pytest.approx(0.4, abs=1e-15)


# -- the picture ------------------------------------------------------------------------------------------


def test_plot_shows_numbers_inside_the_closed_form() -> None:
    network = one(2.0)
    options = {"parameter": "bias", "start": -1.2, "stop": 1.2}
    diagram = quick(network, **options)
    form = one_neuron_diagram(network, **options)  # type: ignore[arg-type]
    ax = plot_bifurcations(diagram, closed_form=form)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("bias", "state x")
    rings = [line for line in ax.lines if line.get_markersize() == 11.0]
    marks = [line for line in ax.lines if line.get_marker() == "o" and line.get_markersize() < 11.0]
    assert len(rings) == len(marks) == 2
    assert sorted(float(r.get_xdata()[0]) for r in rings) == pytest.approx(
        sorted(float(m.get_xdata()[0]) for m in marks), abs=1e-12
    )
    band = [line for line in ax.lines if line.get_linewidth() == 5.0]
    curve = [line for line in ax.lines if line.get_marker() == "None" and line.get_linewidth() < 2.0]
    assert band
    # Solid where stable: the middle piece between the folds is dashed.
    dashed = [line for line in curve if line.get_linestyle() != "-"]
    assert len(dashed) == 1
    assert np.max(np.abs(dashed[0].get_ydata())) <= 0.70711
    figure = ax.get_figure(root=True)
    assert figure is not None
    labels = {
        t.get_text() for t in figure.findobj(matplotlib.text.Text) if isinstance(t, matplotlib.text.Text)
    }
    assert {"closed form", "fixed point", "unstable", "fold"} <= labels
    figure.savefig("/dev/null", format="svg")


def test_plot_draws_every_state_of_an_orbit_and_any_output() -> None:
    diagram = quick(one(-4.0, leak_rate=0.6), parameter="bias", start=-4.0, stop=4.0)
    ax = plot_bifurcations(diagram)
    blue = [line for line in ax.lines if line.get_color() == "#0072B2" and line.get_linestyle() == "-"]
    assert len(blue) == 2
    own = Figure().add_subplot()
    assert plot_bifurcations(diagram, output=lambda x: -x[..., 0], ax=own) is own
    assert own.get_ylabel() == "output"
    network = EchoStateNetwork(np.diag([0.2, 2.0]))
    two = quick(network, parameter="bias", direction=[0.0, 1.0], start=-1.0, stop=1.0)
    assert plot_bifurcations(two).get_ylabel() == "state of unit 1"
    assert plot_bifurcations(two, output=0).get_ylabel() == "state of unit 0"


def test_plot_marks_what_no_attractor_takes_part_in_small_and_hollow() -> None:
    network = EchoStateNetwork(np.diag([1.0, 0.8]))
    diagram = quick(network, start=0.5, stop=1.6, max_branches=1)
    ax = plot_bifurcations(diagram)
    marks = {float(m.get_xdata()[0]): m for m in ax.lines if m.get_marker() == "^"}
    assert sorted(marks) == pytest.approx([1.0, 1.25])
    first, second = (marks[v] for v in sorted(marks))
    assert [p.n_unstable for p in diagram.points] == [0, 1]
    assert first.get_markersize() > second.get_markersize()
    assert second.get_markerfacecolor() == "white" != first.get_markerfacecolor()


def test_plot_refuses_what_does_not_belong() -> None:
    diagram = quick(one(1.0), start=0.5, stop=1.5, n_values=2)
    with pytest.raises(InvalidInputError, match="unit from 0 to 0"):
        plot_bifurcations(diagram, output=1)
    other = one_neuron_diagram(one(2.0), parameter="bias", start=-1.0, stop=1.0)
    with pytest.raises(InvalidInputError, match="same neuron"):
        plot_bifurcations(diagram, closed_form=other)
    with pytest.raises(InvalidInputError, match="no branch"):
        plot_bifurcations(replace(diagram, branches=()))
