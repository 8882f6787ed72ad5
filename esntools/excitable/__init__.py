"""Excitable network attractors and visit graphs: what a network does, as a directed graph."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import ArrayLike

from esntools._typing import FloatArray, IntArray, Progress, RandomState, no_progress
from esntools.errors import InvalidInputError
from esntools.excitable.basins import Basins, fastest_form, random_states, wilson_interval
from esntools.excitable.graphs import read_graph, write_graph
from esntools.excitable.visits import visit_graph
from esntools.fixed_points import FixedPoints, find_fixed_points
from esntools.network import EchoStateNetwork

__all__ = ["excitable_network", "read_graph", "visit_graph", "write_graph"]


def _pulsed(network: EchoStateNetwork, X: FloatArray, inputs: FloatArray, length: int) -> FloatArray:
    for _ in range(length):
        X = network.step(X, inputs)
    return X


def _thresholds(
    network: EchoStateNetwork,
    basins: Basins,
    pulses: FloatArray,
    length: int,
    amplitudes: FloatArray,
    tolerance: float,
    progress: Progress,
) -> tuple[IntArray, list[dict[str, Any]]]:
    """Return the destinations at every (attractor, pulse, amplitude), and the first crossing into each.

    Destinations need not be monotone in the amplitude: the scan finds the first amplitude that leads to j,
    and bisection refines between it and the one before.
    """
    K, P, A = len(basins.X), len(pulses), len(amplitudes)
    i, p, m = (a.ravel() for a in np.meshgrid(range(K), range(P), range(A), indexing="ij"))

    def destination(i: IntArray, p: IntArray, g: FloatArray) -> IntArray:
        if len(i) == 0:
            return np.zeros(0, dtype=np.intp)
        return basins.label(_pulsed(network, basins.X[i], g[:, None] * pulses[p], length))

    scan = np.empty(K * P * A, dtype=np.intp)
    for start in range(0, len(scan), 4096):
        part = slice(start, start + 4096)
        scan[part] = destination(i[part], p[part], amplitudes[m[part]])
        progress("pulse amplitudes", min(1.0, (start + 4096) / len(scan)) * 0.5)
    table = scan.reshape(K, P, A)

    crossings = []
    for source in range(K):
        for pulse in range(P):
            for target in set(table[source, pulse].tolist()) - {-1, source}:
                first = int(np.argmax(table[source, pulse] == target))
                before = 0.0 if first == 0 else float(amplitudes[first - 1])
                crossings.append((source, pulse, target, before, float(amplitudes[first])))
    sources, kinds, targets = (np.array([c[k] for c in crossings], dtype=np.intp) for k in range(3))
    low = np.array([c[3] for c in crossings], dtype=np.float64)
    high = np.array([c[4] for c in crossings], dtype=np.float64)
    for step in range(60):
        active = np.flatnonzero(high - low > tolerance * high)
        if len(active) == 0:
            break
        middle = 0.5 * (low[active] + high[active])
        lands = destination(sources[active], kinds[active], middle) == targets[active]
        high[active[lands]] = middle[lands]
        low[active[~lands]] = middle[~lands]
        progress("thresholds", 0.5 + 0.45 * min(1.0, (step + 1) / 20))
    above = destination(sources, kinds, 1.001 * high) == targets
    below = destination(sources, kinds, 0.999 * high) == targets
    unit = int(np.argmin(np.abs(amplitudes - 1.0)))
    found = [
        {
            "source": int(sources[c]),
            "target": int(targets[c]),
            "pulse": int(kinds[c]),
            "threshold": float(high[c]),
            "at_unit": bool(table[sources[c], kinds[c], unit] == targets[c]),
            "checked": bool(above[c] and not below[c]),
        }
        for c in range(len(crossings))
    ]
    return table[:, :, unit], found


def _saddles(network: EchoStateNetwork, basins: Basins, fixed_points: FixedPoints) -> list[dict[str, Any]]:
    """Describe every unstable fixed point; for one unstable direction, where its two branches lead."""
    described, branches, owners = [], [], []
    for point in fixed_points.saddles:
        unstable = point.eigenvalues[: point.n_unstable]
        described.append(
            {
                "x": point.x.tolist(),
                "output": None if point.output is None else point.output.tolist(),
                "n_unstable": point.n_unstable,
                "index": point.index,
                "unstable_multipliers": [[float(m.real), float(m.imag)] for m in unstable],
                "connects": None,
            }
        )
        if point.n_unstable == 1:
            values, vectors = np.linalg.eig(network.jacobian(point.x))
            direction = np.real(vectors[:, np.argmax(np.abs(values))])
            direction *= 1e-4 * max(1e-2, float(np.linalg.norm(point.x))) / np.linalg.norm(direction)
            branches += [point.x - direction, point.x + direction]
            owners.append(len(described) - 1)
    if branches:
        labels = basins.label(np.array(branches)).reshape(-1, 2)
        for owner, ends in zip(owners, labels):
            described[owner]["connects"] = sorted(int(e) for e in ends)
    return described


def excitable_network(
    network: EchoStateNetwork,
    pulses: ArrayLike,
    *,
    relax_steps: int = 3000,
    pulse_length: int = 1,
    max_amplitude: float = 4.0,
    n_amplitudes: int = 48,
    n_random: int = 512,
    tolerance: float = 1e-6,
    starts: ArrayLike | None = None,
    fixed_points: FixedPoints | None = None,
    rng: RandomState = 0,
    progress: Progress = no_progress,
) -> nx.DiGraph:
    r"""Extract the excitable network attractor of a network under input pulses.

    Nodes are the stable fixed points of the map at zero input. There is an edge from i to j when a single
    pulse :math:`u = g\,v` (one of the rows v of `pulses`, an amplitude :math:`0 < g \le` `max_amplitude`,
    `pulse_length` steps long) applied at i leads to j. Its threshold is the smallest such g over all pulses.

    Parameters
    ----------
    network : EchoStateNetwork
        With inputs, normally trained with output feedback.
    pulses : array_like, shape (n_pulses, n_inputs)
        The task's pulses at amplitude 1.
    relax_steps : int
        Steps after a pulse within which an attractor must be reached. Default 3000.
    pulse_length : int
        Steps that a pulse lasts. Default 1.
    max_amplitude : float
        Default 4.
    n_amplitudes : int
        Amplitudes scanned before bisection; a window narrower than the scan's mesh can be missed. Default 48.
    n_random : int
        Random initial states, uniform in the activation's range, for the basin shares. Default 512.
    tolerance : float
        Relative width of the bracket at which bisection stops. Default 1e-6.
    starts : array_like, shape (n, n_units), optional
        States of a run, as further seeds for the fixed points.
    fixed_points : FixedPoints, optional
        Of ``network.at_input(0)``, when they are known already.
    rng : int, Generator or None
        Default 0.
    progress : callable, optional

    Returns
    -------
    networkx.DiGraph
        Nodes 0, 1, ... sorted by output, with ``x``, ``output`` (lists), ``radius`` (largest modulus of the
        multipliers), ``share`` and ``share_interval`` (of random starts; 95 % Wilson).

        Edges with ``pulse`` (row), ``threshold``, ``at_unit`` (some pulse of amplitude 1 does it),
        ``checked`` (replayed: 1.001 times the threshold lands in the target, 0.999 times does not),
        ``label``, and ``alternatives`` (the same for other pulses that do it).

        Graph attributes: ``pulses``, ``pulse_length``, ``max_amplitude``; ``pulse_table`` (attractor by
        pulse: where a pulse of amplitude 1 leads, -1 for no attractor within relax_steps); ``saddles`` (every
        unstable fixed point, with ``connects``: the attractors at the ends of a one-dimensional unstable
        manifold), ``n_saddles``; ``index_sum``, ``audit``, ``audit_reason``; ``unresolved_share`` (of random
        starts that reach no attractor).

    Raises
    ------
    InvalidInputError
        When the pulses have the wrong width or a number is out of its range.

    Examples
    --------
    >>> from esntools.network import EchoStateNetwork, Readout
    >>> bit = EchoStateNetwork([[1.5]], W_in=[[1.0]], readout=Readout([[1.0]]))
    >>> graph = excitable_network(bit, [[1.0], [-1.0]])
    >>> graph.graph["pulse_table"], graph.graph["audit"]
    ([[0, 0], [1, 1]], 'passed')
    >>> round(graph.edges[0, 1]["threshold"], 4)  # 1.5 times the fixed point 0.85856
    1.2878

    References
    ----------
    A. Ceni, P. Ashwin, L. Livi, Cognitive Computation 12 (2020) 330, doi:10.1007/s12559-019-09634-2;
    P. Ashwin, C. Postlethwaite, Biol. Cybern. 115 (2021) 519, doi:10.1007/s00422-021-00895-5.
    """
    pulses = np.array(pulses, dtype=np.float64)
    if pulses.ndim != 2 or pulses.shape[1] != network.n_inputs or pulses.size == 0:
        raise InvalidInputError(
            "pulses", f"shape {pulses.shape}", f"must have shape (n_pulses, n_inputs = {network.n_inputs})"
        )
    if not np.all(np.isfinite(pulses)):
        raise InvalidInputError("pulses", "NaN or infinite", "every entry must be finite")
    for place, value, least in (
        ("relax_steps", relax_steps, 1), ("pulse_length", pulse_length, 1),
        ("n_amplitudes", n_amplitudes, 2), ("n_random", n_random, 1),
    ):  # fmt: skip
        if value < least:
            raise InvalidInputError(place, str(value), f"must be at least {least}")
    if not (np.isfinite(max_amplitude) and max_amplitude > 0.0):
        raise InvalidInputError("max_amplitude", str(max_amplitude), "must be positive")
    if not 1e-12 <= tolerance <= 1e-3:
        raise InvalidInputError("tolerance", str(tolerance), "must lie in [1e-12, 1e-3]")
    # Streams of their own: the states sampled do not depend on how many numbers the search draws.
    generator, sampling = np.random.default_rng(rng).spawn(2)
    driven = fastest_form(network)
    quiet = driven.at_input(np.zeros(network.n_inputs))
    silent = network.at_input(np.zeros(network.n_inputs))

    def share_of(low: float, high: float) -> Progress:
        return lambda label, fraction: progress(label, low + (high - low) * fraction)

    if fixed_points is None:
        fixed_points = find_fixed_points(silent, starts=starts, rng=generator, progress=share_of(0.0, 0.3))
    random = random_states(network, n_random, sampling)
    basins = Basins(quiet, fixed_points, relax_steps)
    labels = basins.label(random)
    lost = random[labels < 0]
    if len(lost):
        # A run that comes to rest elsewhere has found an attractor that the search missed.
        for _ in range(relax_steps):
            lost = quiet.step(lost)
        resting = lost[np.max(np.abs(quiet.step(lost) - lost), axis=1) < 1e-6]
        if len(resting):
            known = np.array([p.x for p in fixed_points]).reshape(-1, network.n_units)
            again = find_fixed_points(silent, starts=np.vstack([resting, known]), rng=generator)
            if len(again) > len(fixed_points):
                fixed_points, basins = again, Basins(quiet, again, relax_steps)
                labels = basins.label(random)
    progress("basins", 0.4)

    amplitudes = np.linspace(0.0, max_amplitude, n_amplitudes + 1)[1:]
    amplitudes = np.unique(np.append(amplitudes, 1.0))
    table, crossings = _thresholds(
        driven, basins, pulses, pulse_length, amplitudes, tolerance, share_of(0.4, 0.95)
    )
    graph = nx.DiGraph(
        kind="excitable network", pulses=pulses.tolist(), pulse_length=pulse_length,
        max_amplitude=float(max_amplitude), pulse_table=table.tolist(),
        saddles=_saddles(quiet, basins, fixed_points), n_saddles=len(fixed_points.saddles),
        index_sum=fixed_points.index_sum, audit=fixed_points.audit, audit_reason=fixed_points.audit_reason,
        unresolved_share=float(np.mean(labels < 0)),
    )  # fmt: skip
    for k, point in enumerate(basins.nodes):
        count = int(np.sum(labels == k))
        output = None if network.readout is None else network.output(point.x).tolist()
        graph.add_node(
            k, x=point.x.tolist(), output=output, radius=float(np.abs(point.eigenvalues[0])),
            share=count / n_random, share_interval=list(wilson_interval(count, n_random)),
        )  # fmt: skip
    for crossing in sorted(crossings, key=lambda c: (c["threshold"], c["pulse"])):
        i, j = crossing.pop("source"), crossing.pop("target")
        if not graph.has_edge(i, j):
            label = f"pulse {crossing['pulse']}: {crossing['threshold']:.3g}"
            graph.add_edge(i, j, **crossing, label=label, alternatives=[])
        else:
            edge = graph.edges[i, j]
            edge["alternatives"].append(crossing)
            edge["at_unit"] = edge["at_unit"] or crossing["at_unit"]
    progress("excitable network", 1.0)
    return graph
