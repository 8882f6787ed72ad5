"""Smallest kicks: CPU seconds of one pair and of all pairs, on a trained flip-flop and on noisy blocks.

Run from the repository root: python tests/benchmarks/bench_kicks.py [n_units]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from flip_flops import block_flip_flop, trained_flip_flop

from esntools.basins import Kick, find_smallest_kick
from esntools.excitable.landscape import find_landscape
from esntools.excitable.state_kicks import kick_thresholds
from esntools.fixed_points import find_fixed_points
from esntools.network import EchoStateNetwork


def one_by_one(network: EchoStateNetwork, name: str, starts: np.ndarray | None = None) -> None:
    points = find_fixed_points(network, starts=starts)
    find_smallest_kick(network, points.stable[0].x, attractors=points)  # compiles
    for target in (None, 1, 3, len(points.stable) - 1):
        for box in (None, "range"):
            start = time.process_time()
            kick = find_smallest_kick(network, points.stable[0].x, target=target, box=box, attractors=points)
            seconds = time.process_time() - start
            what = f"{kick.size:.6f} checked={kick.checked}" if isinstance(kick, Kick) else kick.reason
            print(f"{name:24s} 0 -> {target!s:5s} box={box!s:6s} {seconds:6.2f} s CPU  {what}")


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    one_by_one(block_flip_flop(n // 3, 0.1), f"blocks, N = {3 * (n // 3)}")
    network, run, _ = trained_flip_flop(n)
    one_by_one(network.at_input(np.zeros(3)), f"trained, N = {n}", run[::10])
    landscape = find_landscape(network, starts=run[::10])
    for metric in ("state", "range"):
        start = time.process_time()
        found = kick_thresholds(landscape, metric=metric)
        seconds = time.process_time() - start
        checked = sum(c["checked"] for c in found)
        print(
            f"all pairs ({metric}): {len(found)} of {len(landscape) * (len(landscape) - 1)}, "
            f"{checked} checked, "
            f"{seconds:.1f} s CPU, {seconds / max(1, len(found)):.2f} s a pair"
        )


if __name__ == "__main__":
    main()
