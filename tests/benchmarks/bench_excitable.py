"""Excitable networks: what a whole extraction costs, by part.

    python tests/benchmarks/bench_excitable.py
    python tests/benchmarks/bench_excitable.py --units 100 500 1000 --metrics input state --json times.json

Trained 3-bit flip-flops of two kinds (`flip_flops.py`: spectral radius 0.5, settling in some tens of steps;
`test_excitable.py`: radius 0.9), from the weights to the graph: fixed points with multipliers and audit;
landscape (basins, unstable manifolds); every threshold of six unit pulses with its replay, and the pulse
table; the graph itself. Process CPU time in one process on one BLAS thread, and the wall time of a second run
of the whole, everything compiled. Parts are timed by passing on what the part before has found.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import flip_flops
import test_excitable

from esntools.excitable import excitable_network, find_landscape
from esntools.excitable.input_kicks import unit_pulses
from esntools.fixed_points import find_fixed_points
from esntools.network import EchoStateNetwork


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def trained(kind: str, n_units: int) -> EchoStateNetwork:
    if kind == "radius 0.5":
        return flip_flops.trained_flip_flop(n_units)[0]
    return test_excitable.trained_flip_flop(3, n_units, 2)


def measure(kind: str, n_units: int, metrics: list[str]) -> dict[str, Any]:
    network, pulses = trained(kind, n_units), unit_pulses(3)
    silent = network.at_input(np.zeros(3))
    points, of_points = timed(lambda: find_fixed_points(silent))
    space, of_space = timed(lambda: find_landscape(network, fixed_points=points))
    graph, of_input = timed(lambda: excitable_network(network, pulses, landscape=space))
    row: dict[str, Any] = {
        "kind": kind, "N": n_units, "attractors": len(graph), "points": len(points),
        "audit": graph.graph["audit"], "thresholds": len(graph.graph["connections"]),
        "checked": sum(c["checked"] for c in graph.graph["connections"]),
        "radius": round(max(graph.nodes[k]["radius"] for k in graph), 3),
        "fixed points": of_points, "landscape": of_space, "pulses": of_input,
    }  # fmt: skip
    for metric in metrics:
        if metric != "input":
            _, row[metric] = timed(
                lambda metric=metric: excitable_network(network, metrics=metric, landscape=space)
            )
    start = time.perf_counter()
    _, row["whole"] = timed(lambda: excitable_network(network, pulses))
    row["whole, wall"] = time.perf_counter() - start
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--units", type=int, nargs="+", default=[100, 500])
    parser.add_argument("--metrics", nargs="+", default=["input"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    bit = EchoStateNetwork([[1.5]], W_in=[[1.0]])
    excitable_network(bit)
    rows = []
    for kind in ("radius 0.5", "radius 0.9"):
        for n in options.units:
            row = measure(kind, n, options.metrics)
            rows.append(row)
            print(", ".join(f"{k} {v:.2f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
