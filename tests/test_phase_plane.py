"""Pictures of state space: attractors lie in their basins where they are drawn, saddles between two."""

from __future__ import annotations

import numpy as np
import pytest
from flip_flops import block_flip_flop, trained_flip_flop

from esntools import plotting
from esntools.errors import InvalidInputError
from esntools.excitable import Landscape, excitable_network, find_landscape
from esntools.network import EchoStateNetwork, Readout
from esntools.study import PhasePlane, phase_plane, pulse_paths


def label_at(plane: PhasePlane, state: np.ndarray) -> int:
    assert plane.labels is not None
    at = plane.project(state)
    return int(plane.labels[np.argmin(np.abs(plane.y - at[1])), np.argmin(np.abs(plane.x - at[0]))])


@pytest.fixture(scope="module")
def trained() -> tuple[EchoStateNetwork, Landscape]:
    network, run, _ = trained_flip_flop(50, n_bits=2)
    return network, find_landscape(network, starts=run[::10])


def test_every_attractor_lies_in_its_own_basin_and_every_saddle_between_two(
    trained: tuple[EchoStateNetwork, Landscape],
) -> None:
    network, landscape = trained
    graph = excitable_network(
        network, [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], landscape=landscape
    )
    plane = phase_plane(landscape, pulse_paths(graph, network), resolution=41)
    assert len(landscape) == 4
    np.testing.assert_allclose(plane.axes @ plane.axes.T, np.eye(2), atol=1e-12)
    for k, attractor in enumerate(landscape.attractors):
        assert label_at(plane, attractor.states[0]) == k
    assert plane.labels is not None
    step = np.array([plane.x[1] - plane.x[0], plane.y[1] - plane.y[0]])
    for saddle in landscape.saddles:
        if saddle.n_unstable != 1:
            continue
        at = plane.project(saddle.x)
        near = (np.abs(plane.x - at[0]) < 2.5 * step[0], np.abs(plane.y - at[1]) < 2.5 * step[1])
        around = set(plane.labels[np.ix_(near[1], near[0])].ravel().tolist())
        assert set(saddle.leads_to or ()) <= around
    assert len(plane.branches) == 2 * sum(s.n_unstable == 1 for s in landscape.saddles)
    ax = plotting.plot_phase_graph(graph, network, plane=plane, spurious=[1])
    assert len(ax.images) == 1
    assert sum(line.get_marker() == "s" for line in ax.get_lines()) == 1
    assert sum(line.get_marker() == "o" for line in ax.get_lines()) == 3
    assert ax.get_xlabel() == plane.names[0]


def test_no_two_corners_of_a_cube_cover_each_other() -> None:
    landscape = find_landscape(block_flip_flop(2))
    assert len(landscape) == 8
    plane = phase_plane(landscape, resolution=9)
    flat = plane.project(landscape.X)
    gaps = np.linalg.norm(flat[:, None] - flat[None], axis=2) + 99.0 * np.eye(8)
    assert gaps.min() > 0.1 * np.ptp(flat, axis=0).max()
    np.testing.assert_allclose(plane.axes @ plane.axes.T, np.eye(2), atol=1e-12)


def test_attractors_on_a_line_and_a_cycle() -> None:
    bit = EchoStateNetwork(np.diag([1.5, 0.2, 0.1]), readout=Readout([[1.0, 0.0, 0.0]]))
    landscape = find_landscape(bit)
    plane = phase_plane(landscape, resolution=5)
    assert plane.variance == pytest.approx(1.0)
    assert plane.labels is not None
    assert {tuple(np.sign(plane.labels - 0.5)[:, k]) for k in (0, 4)} == {(-1.0,) * 5, (1.0,) * 5}
    turning = EchoStateNetwork([[-2.0, 0.0], [0.0, 0.5]], W_in=[[1.0], [0.0]])
    landscape = find_landscape(turning)
    assert landscape.attractors[0].period == 2
    graph = excitable_network(turning, landscape=landscape)
    ax = plotting.plot_phase_graph(graph, plane=phase_plane(landscape, resolution=4))
    assert any(line.get_marker() == "h" for line in ax.get_lines())


def test_one_unit_has_no_picture_of_basins() -> None:
    plane = phase_plane(find_landscape(EchoStateNetwork([[1.5]])))
    assert plane.labels is None
    with pytest.raises(InvalidInputError, match="resolution"):
        phase_plane(find_landscape(EchoStateNetwork([[1.5]])), resolution=1)
