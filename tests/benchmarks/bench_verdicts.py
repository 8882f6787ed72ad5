"""How much is decided: proved, refuted and open by size, leak rate, input class and spectral radius.

    python tests/benchmarks/bench_verdicts.py --sizes 10 50 100 --networks 8 --processes 2 -o verdicts.json

Networks are drawn as in the literature: a Gaussian matrix, dense or with about ten links per row, scaled to
the spectral radius. Classes: `any` (no bias), `box` (scalar input in [-1, 1], W_in and bias uniform in
[-1, 1]), `zero` (zero input, zero bias), `constant` (the same bias, input 0.5). Every verdict has passed the
exact checker.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from esntools import files
from esntools.certificates import certify_esp
from esntools.inputs import AnyInput, Constant, InputBox, InputClass, Zero
from esntools.network import EchoStateNetwork

RADII = {
    "any": (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.99, 1.1),
    "box": (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.5),
    "zero": (0.8, 0.9, 0.95, 0.98, 1.01),
    "constant": (0.7, 0.8, 0.9, 1.0, 1.1, 1.3),
}


def random_network(n: int, kind: str, radius: float, leak: float, inputs: str, seed: int) -> EchoStateNetwork:
    """Return a network whose W has that spectral radius; the same seed gives the same directions."""
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((n, n))
    if kind == "sparse":
        W *= rng.random((n, n)) < min(1.0, 10.0 / n if n > 20 else 0.3)
    size = float(np.abs(np.linalg.eigvals(W)).max())
    W *= radius / size if size > 0.0 else 0.0
    W_in, b = rng.uniform(-1.0, 1.0, (n, 1)), rng.uniform(-1.0, 1.0, n)
    if inputs in ("any", "zero"):
        b = np.zeros(n)
    stored: Any = scipy.sparse.csr_array(W) if kind == "sparse" else W
    return EchoStateNetwork(stored, W_in, b, leak)


def input_class(name: str) -> InputClass:
    classes = {"any": AnyInput(), "box": InputBox(-1, 1), "zero": Zero(), "constant": Constant(0.5)}
    return classes[name]


def ask(task: tuple[int, str, float, float, str, int, float]) -> tuple[tuple[Any, ...], str, str, float]:
    n, kind, radius, leak, inputs, seed, budget = task
    start = time.perf_counter()
    network = random_network(n, kind, radius, leak, inputs, seed)
    verdict = certify_esp(network, input_class(inputs), budget=budget, bracket=False)
    slopes = verdict.document.get("slopes", {}).get("range", "")
    method = f"{verdict.method}{f' ({slopes})' if slopes and slopes != 'global' else ''}"
    period = getattr(getattr(verdict, "witness", None), "period", 1)
    method += f", period {period}" if period > 1 else ""
    return (inputs, n, kind, leak, radius), verdict.verdict, method, time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 50, 100])
    parser.add_argument("--networks", type=int, default=8)
    parser.add_argument("--leaks", type=float, nargs="+", default=[1.0, 0.3])
    parser.add_argument("--classes", nargs="+", default=list(RADII), choices=list(RADII))
    parser.add_argument("--kinds", nargs="+", default=["dense", "sparse"])
    parser.add_argument("--radii", type=float, nargs="+", help="instead of the usual ones")
    parser.add_argument("--budget", type=float, default=20.0, help="seconds for each verdict")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    tasks = [
        (n, kind, radius, leak, inputs, seed, options.budget)
        for inputs in options.classes
        for n in options.sizes
        for kind in options.kinds
        for leak in options.leaks
        for radius in options.radii or RADII[inputs]
        for seed in range(options.networks)
    ]
    rows: dict[tuple[Any, ...], Counter[str]] = {}
    seconds: dict[tuple[Any, ...], float] = {}
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for done, (key, verdict, method, took) in enumerate(pool.imap_unordered(ask, tasks)):
            rows.setdefault(key, Counter())[f"{verdict[0].upper()} {method}"] += 1
            seconds[key] = seconds.get(key, 0.0) + took
            if done % 20 == 0:
                print(f"{done} of {len(tasks)}", file=sys.stderr, flush=True)
    table = []
    print("| inputs | N | W | leak | radius | proved | refuted | open | by | s each |")
    print("|---|--:|---|--:|--:|--:|--:|--:|---|--:|")
    for key in sorted(rows, key=lambda k: (list(RADII).index(k[0]), *k[1:])):
        counts = rows[key]
        total = {v: sum(c for name, c in counts.items() if name[0] == v) for v in "PRI"}
        by = ", ".join(f"{name[2:]} {count}" for name, count in counts.most_common() if name[0] != "I")
        each = seconds[key] / sum(counts.values())
        cells = [*map(str, key), *(str(total[v]) for v in "PRI"), by, f"{each:.2f}"]
        print(f"| {' | '.join(cells)} |")
        table.append({"key": list(key), "counts": dict(counts), "seconds_each": each})
    if options.output:
        files.write_json(
            options.output, {"format": "esntools-verdicts", "rows": table, "provenance": files.provenance()}
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
