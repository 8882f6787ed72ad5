"""Shortest kicks onto planes and stable manifolds: closed forms, and a general solver as the slow twin."""

from __future__ import annotations

import numpy as np
from naive_kicks import naive_shortest
from test_kicks import M2, M, planar

from esntools.basins.attractors import polish_cycle
from esntools.basins.horizons import Allowed, Horizons, anchors
from esntools.fixed_points import find_fixed_points
from esntools.maps import FunctionMap
from esntools.network import EchoStateNetwork


def test_shortest_allowed_kick_onto_planes() -> None:
    """Projection in closed form, and active bounds, against sequential quadratic programming."""
    rng = np.random.default_rng(0)
    for k in (1, 2):
        G = rng.standard_normal((k, 6))
        basis = np.linalg.qr(rng.standard_normal((6, 4)))[0]
        low, high = -rng.uniform(0.05, 0.6, 6), rng.uniform(0.05, 0.6, 6)
        for allowed in (
            Allowed(6), Allowed(6, basis), Allowed(6, None, (low, high)), Allowed(6, basis, (low, high))
        ):  # fmt: skip
            # Near the faces of the box: bounds are active.
            inside = basis @ basis.T @ rng.standard_normal(6)
            c = G @ inside * 0.95 * float(Allowed(6, None, (low, high)).room(inside))
            d = allowed.nearest(G, c)
            assert d is not None
            exact = naive_shortest(G, c, allowed.basis, allowed.box)
            np.testing.assert_allclose(d, exact, atol=1e-6)
            np.testing.assert_allclose(G @ d, c, atol=1e-9)
    # Nothing within the box reaches that far.
    assert Allowed(6, None, (low, high)).nearest(G, 1e3 * c) is None


def test_manifolds_of_saddles_with_several_unstable_directions() -> None:
    """Two bits and their product: the point nearest to x on the stable manifold of the origin is 0 itself."""
    bits = EchoStateNetwork(np.diag([1.5, 2.0, 0.5]))
    origin = polish_cycle(bits, np.zeros(3), 1)
    assert origin is not None
    (anchor,) = anchors(bits, origin)
    np.testing.assert_allclose(np.abs(anchor.left @ np.eye(3)[:, :2]), np.eye(2)[::-1], atol=1e-9)
    found = Horizons(bits).land(np.array([M, M2, 0.0]), anchor, Allowed(3))
    assert found
    np.testing.assert_allclose(found[0].kick, [-M, -M2, 0.0], atol=1e-9)
    assert anchors(bits, origin, most=1) == ()
    # A focus: complex multipliers, and a map that knows only its Jacobian.
    focus = FunctionMap(planar().step, planar().jacobian, 2)
    cycle = polish_cycle(focus, np.array([-0.0944, 0.0211]), 1)
    assert cycle is not None
    (anchor,) = anchors(focus, cycle)
    x = find_fixed_points(planar()).stable[0].x
    (landing, *_) = Horizons(focus).land(x, anchor, Allowed(2))
    np.testing.assert_allclose(x + landing.kick, anchor.x, atol=1e-7)
