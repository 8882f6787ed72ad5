"""Fixed points: what a call costs, and the same seeds given to FixedPointFinder.

    python tests/benchmarks/bench_fixed_points.py
    python tests/benchmarks/bench_fixed_points.py --fpf FixedPointFinder --units 64 251 501

The first part is the whole of `find_fixed_points` with 256 seeds on trained 3-bit flip-flops: seeds, search,
polish, multipliers, audit. The second needs torch and the source folder of FixedPointFinder
(https://github.com/mattgolub/fixed-point-finder): both get the same seeds; its float32 defaults, without
Jacobians, against one round of ours with multipliers. Process CPU time, alternately, best of `--repeats`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from flip_flops import block_flip_flop, trained_flip_flop

from esntools.fixed_points import FixedPoints, find_fixed_points
from esntools.fixed_points.search import Search
from esntools.network import EchoStateNetwork

NEAR = 1e-2


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def hopfield(n: int, n_patterns: int, beta: float) -> EchoStateNetwork:
    patterns = np.random.default_rng(1).choice([-1.0, 1.0], (n_patterns, n))
    return EchoStateNetwork(beta * patterns.T @ patterns / n)


def random_states(network: EchoStateNetwork, n: int) -> np.ndarray:
    """States along short runs from random states."""
    rng = np.random.default_rng(2)
    X, seen = rng.uniform(-1.0, 1.0, (n, network.n_units)), []
    for _ in range(8):
        X = network.step(X)
        seen.append(X[: n // 8 + 1])
    return np.vstack(seen)[:n]


def readout_grid(network: EchoStateNetwork, n_each: int) -> np.ndarray:
    """Relaxed states with the feedback held on a grid in [-1.5, 1.5]."""
    axis = np.linspace(-1.5, 1.5, n_each)
    grid = np.stack([g.ravel() for g in np.meshgrid(*[axis] * network.n_outputs)], axis=1)
    X = np.zeros((len(grid), network.n_units))
    for _ in range(60):
        X = np.tanh(X @ network.dense_W().T + grid @ network.W_fb.T + network.b)
    return X


def cases(units: list[int]) -> list[tuple[str, EchoStateNetwork, np.ndarray]]:
    out = []
    for n in (99, 501):
        network = block_flip_flop(n // 3, 0.1)
        out.append((f"block flip-flop + 0.1 noise, N={n}", network, random_states(network, 256)))
    for n in units:
        driven, run, wrong = trained_flip_flop(n)
        network = driven.at_input(np.zeros(3))
        rng = np.random.default_rng(3)
        along = run[rng.integers(0, len(run), 256)]
        out.append((f"ESN flip-flop (bit error {wrong:.1%}), N={n}, run", network, along))
        out.append((f"ESN flip-flop, N={n}, readout grid", network, readout_grid(network, 6)))
    network = hopfield(100, 5, 2.0)
    out.append(("Hopfield, 5 patterns, beta 2, N=100", network, random_states(network, 256)))
    W = 1.5 * np.random.default_rng(4).standard_normal((100, 100)) / 10.0
    network = EchoStateNetwork(W)
    out.append(("random, g = 1.5, N=100", network, random_states(network, 256)))
    return out


def peer(path: str, network: EchoStateNetwork, seeds: np.ndarray) -> tuple[np.ndarray, float]:
    """The states that FixedPointFinder returns as unique, and its CPU seconds."""
    import torch

    torch.set_num_threads(1)
    if path not in sys.path:
        sys.path.insert(0, path)
    from FixedPointFinderTorch import FixedPointFinderTorch

    folded, n = network.folded(), network.n_units
    rnn = torch.nn.RNN(1, n, batch_first=True)
    with torch.no_grad():
        rnn.weight_hh_l0.copy_(torch.tensor(folded.dense_W()))
        rnn.bias_hh_l0.copy_(torch.tensor(folded.b))
        rnn.weight_ih_l0.zero_()
        rnn.bias_ih_l0.zero_()
    with contextlib.redirect_stdout(io.StringIO()):
        finder = FixedPointFinderTorch(
            rnn, do_compute_jacobians=False, do_decompose_jacobians=False, verbose=False
        )
        (found, _), seconds = timed(
            lambda: finder.find_fixed_points(seeds.astype(np.float32), np.zeros((1, 1), dtype=np.float32))
        )
    return np.asarray(found.xstar, dtype=np.float64), seconds


def ours(network: EchoStateNetwork, seeds: np.ndarray) -> Search:
    search = Search(network, np.zeros(0), 1e-12, np.random.default_rng(0), None)
    search.run(seeds, hard=True)
    return search


def matched(states: np.ndarray, known: np.ndarray) -> int:
    """How many of the known points have one of the states next to them."""
    if len(states) == 0:
        return 0
    return int(sum(np.min(np.max(np.abs(states - x), axis=1)) < NEAR for x in known))


def whole_calls(units: list[int], repeats: int) -> list[dict[str, Any]]:
    rows = []
    print("| N | starts | CPU s | points by unstable dimension | audit | rounds |\n|--:|--:|--:|---|---|--:|")
    for n in units:
        for radius, noise in ((0.5, 0.1), (0.8, 0.1), (0.8, 0.02)):
            driven, run, _ = trained_flip_flop(n, radius=radius, noise=noise)
            network, best = driven.at_input(np.zeros(3)), np.inf
            for _ in range(repeats):
                found, seconds = timed(lambda a=network, s=run[::4]: find_fixed_points(a, starts=s))
                best = min(best, seconds)
            kinds = np.bincount([p.n_unstable for p in found]).tolist()
            print(
                f"| {n} (radius {radius}, noise {noise}) | {found.n_starts} | {best:.2f} "
                f"| {len(found)}: {kinds} | {found.audit}, {found.index_sum} | {found.rounds} |", flush=True,
            )  # fmt: skip
            rows.append({"n": n, "radius": radius, "noise": noise, "seconds": best, "points": kinds})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fpf", help="folder of FixedPointFinder's source")
    parser.add_argument("--units", type=int, nargs="*", default=[64, 251, 501], help="of the ESN flip-flops")
    parser.add_argument("--whole", type=int, nargs="*", default=[501, 2001], help="sizes of the first part")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    rows = whole_calls(arguments.whole, arguments.repeats) if arguments.whole else []
    if arguments.fpf:
        print(
            "\n| network, seeds | B | known | ours s | found | FixedPointFinder s | matched / returned "
            "| ratio |\n|---|--:|--:|--:|--:|--:|--:|--:|"
        )
        for name, network, seeds in cases(arguments.units):
            reference: FixedPoints = find_fixed_points(network, starts=seeds)
            known = np.array([p.x for p in reference])
            states, theirs = peer(arguments.fpf, network, seeds)
            search, seconds = timed(lambda a=network, s=seeds: ours(a, s))
            for _ in range(arguments.repeats - 1):
                seconds = min(seconds, timed(lambda a=network, s=seeds: ours(a, s))[1])
            print(
                f"| {name} | {len(seeds)} | {len(known)} ({reference.audit}, {reference.index_sum}) "
                f"| {seconds:.2f} | {len(search.points)} | {theirs:.1f} "
                f"| {matched(states, known)} / {len(states)} | {theirs / seconds:.0f} |", flush=True,
            )  # fmt: skip
            rows.append({"name": name, "ours": seconds, "theirs": theirs, "known": len(known)})
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
