r"""A network that decouples: its strongly connected components, and the norm made of theirs.

Ordered so that every component is driven only by earlier ones, W is block triangular. When each diagonal
block contracts in a norm N_b of its own at a rate r_b, the whole contracts in

.. math:: N(d) = \max_b N_b(d_b) / w_b, \qquad
          r_b w_b + \sum_{c \ne b} K_{bc} w_c \le r\, w_b,

where K_bc bounds what a difference of N_c-size 1 in block c adds to N_b in one step. This is the Perron test
with blocks for units; for triangular K it succeeds at every rate above the largest r_b.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph

from esntools._typing import FloatArray, IntArray
from esntools.certificates.sectors import Candidate, Sector

__all__ = ["cascade", "components"]

#: Rates tried, as shares of the way from the least possible one to 1.
_SHARES: Final = (0.01, 0.03, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 0.95)
#: Bounds here are rounded, the checker's are exact and rounded up.
_ROOM: Final = 1.0 + 1e-9
#: Weights that differ by more would make the checker's integers long.
_SPAN: Final = 2.0**200
#: Squares of larger weights overflow.
_LARGEST: Final = 1e140


def _sparse(W: Any) -> Any:
    """Return a copy of W as a CSR array of float64 without stored zeros; a network's own is read-only."""
    matrix = scipy.sparse.csr_array(W, dtype=np.float64, copy=True)
    matrix.eliminate_zeros()
    return matrix


def components(W: Any) -> list[IntArray]:
    """Return the strongly connected components of the network, each driven only by itself and earlier ones.

    The graph has an edge from unit j to unit i where W[i, j] is not zero. Among several possible orders,
    units that form a component alone come as early as they can, so that they stand in few runs.

    Parameters
    ----------
    W : array or sparse array (n, n)

    Returns
    -------
    list of int arrays
        The units of each component, increasing; upstream first.

    Examples
    --------
    >>> components(np.array([[0.5, 1.0, 0.0], [0.0, 0.0, 2.0], [0.0, 3.0, 0.0]]))
    [array([1, 2]), array([0])]
    """
    graph = _sparse(W)
    count, label = scipy.sparse.csgraph.connected_components(graph, directed=True, connection="strong")
    members = np.split(np.argsort(label, kind="stable"), np.cumsum(np.bincount(label, minlength=count))[:-1])
    if count == 1:
        return members

    import networkx as nx

    entries = graph.tocoo()
    source, target = label[entries.col], label[entries.row]
    edges = np.unique(np.column_stack([source, target])[source != target], axis=0)
    quotient = nx.DiGraph()
    quotient.add_nodes_from(range(count))
    quotient.add_edges_from(edges.tolist())
    order = nx.lexicographical_topological_sort(
        quotient, key=lambda c: (len(members[c]) > 1, int(members[c][0]))
    )
    return [members[c] for c in order]


# -- what the norm of one block bounds ------------------------------------------------------------------


@final
@dataclass(frozen=True, eq=False)
class _Block:
    """Units that contract in a norm, and how that norm and single components bound each other."""

    units: IntArray
    candidate: Candidate
    reach: FloatArray  # |d_j| <= reach_j N(d)

    def size(self, e: FloatArray) -> FloatArray:
        """Bound N(d) for |d| <= e, for every column of e."""
        witness, n = self.candidate.witness, len(self.units)
        if self.candidate.theorem == "perron-weights":
            return np.asarray((e / witness["weights"][:, None]).max(axis=0))
        if "P" in witness:
            squares = np.einsum("ik,ik->k", e, np.abs(witness["P"]) @ e)
        else:
            squares = np.asarray(witness.get("weights", np.ones(n))) @ (e * e)
        return np.asarray(np.sqrt(squares))


def _block(units: IntArray, candidate: Candidate) -> _Block | None:
    """Return the block of a candidate of its own; None for a theorem that is no norm here."""
    witness, n = candidate.witness, len(units)
    if candidate.theorem == "perron-weights":
        reach = np.asarray(witness["weights"], dtype=np.float64)
    elif candidate.theorem in ("spectral-norm", "diagonal-schur"):
        reach = 1.0 / np.sqrt(np.asarray(witness.get("weights", np.ones(n))))
    elif candidate.theorem in ("incremental-lurie", "common-quadratic"):
        R = witness["R_P"]
        product = R @ witness["P"] @ R.T
        margin = float((2.0 * np.diag(product) - np.abs(product).sum(axis=1)).min())
        if margin <= 0.0:
            return None
        reach = np.sqrt((R * R).sum(axis=0) / margin)
    else:
        return None
    return _Block(units, candidate, reach * _ROOM)


def _coupling(sector: Sector, blocks: Sequence[_Block]) -> Any:
    """Return K as a CSR array: r_b on the diagonal, N_b of what a unit of N_c adds elsewhere."""
    n, count = len(sector.a), len(blocks)
    home = np.empty(n, dtype=np.intp)
    reach = np.empty(n)
    for b, block in enumerate(blocks):
        home[block.units], reach[block.units] = b, block.reach
    weights = abs(_sparse(sector.W))
    spread = scipy.sparse.csr_array((reach, (np.arange(n), home)), shape=(n, count))
    reached = scipy.sparse.csr_array(scipy.sparse.diags_array(sector.a * sector.gain) @ (weights @ spread))
    rows, columns, values = (
        [np.arange(count)],
        [np.arange(count)],
        [np.array([b.candidate.rate for b in blocks])],
    )
    for b, block in enumerate(blocks):
        part = reached[block.units]
        used = np.unique(part.indices)
        used = used[used != b]
        if used.size:
            rows.append(np.full(used.size, b))
            columns.append(used)
            values.append(block.size(part[:, used].toarray()) * _ROOM)
    where = (np.concatenate(rows), np.concatenate(columns))
    return scipy.sparse.csr_array((np.concatenate(values), where), shape=(count, count))


# -- weights --------------------------------------------------------------------------------------------


def _weights(K: Any, rate: float) -> FloatArray | None:
    """Return w > 0, at most 1, with K w < rate w; None when there is none, or none of sensible size.

    The Jacobi iteration for (r - K) w = 1 at a rate r just below: exact after as many steps as a triangular K
    is deep, and every row keeps a share of its own size as slack, however different the sizes are.
    """
    own = K.diagonal()
    beside = scipy.sparse.csr_array(K - scipy.sparse.diags_array(own))
    below = rate - 0.02 * (rate - float(own.max()))
    w = 1.0 / (below - own)
    for _ in range(max(200, min(len(w) + 200, 10**9 // (K.nnz + 1)))):
        driven = beside @ w
        if bool(np.all(driven + own * w <= (0.5 * rate + 0.5 * below) * w)):
            break
        with np.errstate(over="ignore"):
            w = (1.0 + driven) / (below - own)
        if not w.max() < 1e200 or not w.max() / _SPAN < w.min():
            return None
    w = w / w.max()
    for digits in (np.float32, np.float64):
        # Shorter numbers where the slack allows.
        rounded = np.asarray(w.astype(digits).astype(np.float64), dtype=np.float64)
        if rounded.min() > 0.0 and bool(np.all(K @ rounded <= rate * (1.0 - 1e-13) * rounded)):
            return rounded
    return None


def _best_weights(K: Any, size: FloatArray, reach: FloatArray) -> tuple[float, FloatArray] | None:
    """Return the rate and weights with which differences of 1 fall below 1e-6 soonest.

    A rate near the least possible one asks for weights of very different sizes, hence a long way to go.

    Parameters
    ----------
    size, reach : arrays (B,)
        Of each block: N_b of a difference of 1 in every unit, and the largest component of one with N_b = 1.
    """
    low, best, found = float(K.diagonal().max()), math.inf, None
    for share in _SHARES:
        rate = low + share * (1.0 - low)
        rate = math.ceil(rate * 2.0**30) / 2.0**30
        w = _weights(K, rate) if low < rate < 1.0 else None
        if w is None:
            continue
        factor = float((size / w).max()) * float((reach * w).max())
        steps = max(1.0, math.log(max(1.0, factor) * 1e6)) / -math.log(rate)
        if steps < best:
            best, found = steps, (rate, w)
    return found


def _comparison(sector: Sector, units: IntArray) -> Any:
    """Return the Perron comparison matrix of some units as a CSR array."""
    W = _sparse(sector.W)[units][:, units]
    a, gain = sector.a[units], sector.gain[units]
    own = W.diagonal()
    ends = [np.abs(1.0 - a + a * slope[units] * own) for slope in (sector.low, sector.high)]
    M = scipy.sparse.diags_array(a * gain) @ abs(W)
    return scipy.sparse.csr_array(M + scipy.sparse.diags_array(np.maximum(*ends) - M.diagonal()))


def _perron(sector: Sector, units: IntArray) -> Candidate | None:
    ones = np.ones(len(units))
    found = _best_weights(_comparison(sector, units), ones, ones)
    return None if found is None else Candidate("perron-weights", found[0], {"weights": found[1]})


def cascade(sector: Sector, parts: Sequence[tuple[IntArray, Candidate]]) -> Candidate | None:
    """Join proofs for parts of a network into one for the whole.

    Units that no part names are covered by Perron weights: together when that works, else in runs along the
    topological order, between which the named parts stand. So for the trivial components (units without a
    cycle through them) nothing needs to be prepared.

    Parameters
    ----------
    sector : Sector
        The whole; its W may be sparse.
    parts : sequence of (units, candidate)
        Disjoint sets of increasing units, each with a candidate for the sector restricted to them: theorem,
        rate and witness. Best the components of `components` with more than one unit.

    Returns
    -------
    Candidate or None
        Of theorem ``"cascade"``, or that of the only block when one covers all; None when no weights make
        the blocks contract together, or a part comes with a theorem that is no norm.
    """
    n = len(sector.a)
    if not abs(_sparse(sector.W)).max() < _LARGEST:
        return None
    covered = np.zeros(n, dtype=np.bool_)
    given: list[_Block] = []
    for units, candidate in parts:
        block = _block(np.asarray(units, dtype=np.intp), candidate)
        if block is None or bool(covered[block.units].any()) or bool(np.any(np.diff(block.units) <= 0)):
            return None
        covered[block.units] = True
        given.append(block)
    loose = np.flatnonzero(~covered)
    for groups in _groupings(sector, loose, covered, bool(given)):
        blocks = list(given)
        for units in groups:
            candidate_ = _perron(sector, units)
            block = None if candidate_ is None else _block(units, candidate_)
            if block is None:
                break
            blocks.append(block)
        else:
            joined = _join(sector, blocks)
            if joined is not None:
                return joined
    return None


def _groupings(sector: Sector, loose: IntArray, covered: Any, mixed: bool) -> list[list[IntArray]]:
    """Return ways to group the loose units, coarsest first."""
    if not loose.size:
        return [[]]
    if not mixed:
        return [[loose]]
    runs: list[list[IntArray]] = []
    open_run = False
    singles: list[IntArray] = []
    for component in components(sector.W):
        free = component[~covered[component]]
        if not free.size:
            open_run = False
            continue
        singles.append(free)
        if open_run:
            runs[-1].append(free)
        else:
            runs.append([free])
            open_run = True
    return [[loose], [np.sort(np.concatenate(run)) for run in runs], singles]


def _join(sector: Sector, blocks: list[_Block]) -> Candidate | None:
    if len(blocks) == 1:
        return blocks[0].candidate
    K = _coupling(sector, blocks)
    size = np.array([float(block.size(np.ones((len(block.units), 1)))[0]) for block in blocks])
    reach = np.array([float(block.reach.max()) for block in blocks])
    found = _best_weights(K, size, reach)
    if found is None:
        return None
    described = [
        {
            "units": [int(i) for i in block.units],
            "theorem": block.candidate.theorem,
            "rate": block.candidate.rate,
            "witness": block.candidate.witness,
        }
        for block in blocks
    ]
    return Candidate("cascade", found[0], {"blocks": described, "weights": found[1]})
