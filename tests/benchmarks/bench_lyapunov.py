"""Speed of Lyapunov spectra against the plain numpy loop: the same network, alternating in one process.

The plain loop forms the Jacobian, multiplies the frame by it and calls numpy.linalg.qr, at every step. Ours
is `lyapunov_spectrum` as called by a user, with its error bars and sum rule. Times are process CPU time on
one thread; ratios are medians of pairs measured in turn. Beside them stand the machine's limits: the
operations of a step at the rate at which one product of BLAS of this shape was measured to run.

    python tests/benchmarks/bench_lyapunov.py [--sizes 100 500 1000] [--repeats 3] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path

import numpy as np
import scipy
import scipy.sparse
from scipy.linalg import blas
from threadpoolctl import threadpool_limits

from esntools.lyapunov import lyapunov_spectrum
from esntools.network import EchoStateNetwork

GAIN = 2.0


def make_network(n_units, density, seed=0):
    rng = np.random.default_rng(seed)
    if density == 1.0:
        return EchoStateNetwork(GAIN * rng.normal(size=(n_units, n_units)) / np.sqrt(n_units))
    W = scipy.sparse.random_array((n_units, n_units), density=density, format="csr", rng=rng)
    W.data = GAIN * rng.normal(size=W.nnz) / np.sqrt(n_units * density)
    return EchoStateNetwork(W)


def plain(network, x, k, n_steps):
    """Return the mean logarithms of the diagonal of R, by the textbook's loop."""
    W = network.W
    Q = np.linalg.qr(np.random.default_rng(1).normal(size=(len(x), k)))[0]
    total = np.zeros(k)
    for _ in range(n_steps):
        x = np.tanh(W @ x)
        if network.is_sparse:
            J = scipy.sparse.diags_array(1.0 - x**2) @ W
        else:
            J = (1.0 - x**2)[:, None] * W
        Q, R = np.linalg.qr(J @ Q)
        total += np.log(np.abs(np.diag(R)))
    return total / n_steps


def timed(function):
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


def best(function, repeats, count=1):
    function()
    return min(timed(lambda: [function() for _ in range(count)])[0] for _ in range(repeats)) / count


def limits(n_units, k, repeats):
    """Return ms per step of: a product W [x | Q]; for k = n, that and Cholesky QR; and 5/3 n^3 operations."""
    rng = np.random.default_rng(2)
    W = np.asfortranarray(rng.normal(size=(n_units, n_units)))
    columns = np.asfortranarray(rng.normal(size=(n_units, -(-(k + 1) // 4) * 4 if k < n_units else n_units)))
    product = best(lambda: blas.dgemm(1.0, W, columns), repeats, max(1, int(2e9 / columns.size / n_units)))
    rate = 2.0 * n_units * columns.size / product
    if k < n_units:
        return {"rate_gflops": rate / 1e9, "product_ms": 1e3 * 2.0 * n_units**2 * (k + 1) / rate}
    return {
        "rate_gflops": rate / 1e9, "product_ms": 1e3 * product,
        "cholesky_qr_ms": 1e3 * 4.33 * n_units**3 / rate, "triangular_ms": 1e3 * 5 / 3 * n_units**3 / rate,
    }  # fmt: skip


def compare(network, k, repeats):
    n = network.n_units
    n_steps = int(np.clip(3e9 / (n * n * k), 100 if k == n else 500, 3000))
    x = 0.1 * np.random.default_rng(3).normal(size=n)
    for _ in range(100):
        x = network.step(x)
    # Twenty steps with the frame before the average, in both.
    ours_steps = n_steps - 20
    lyapunov_spectrum(network, x, n_exponents=k, n_steps=20, transient=4)

    def ours():
        return lyapunov_spectrum(network, x, n_exponents=k, n_steps=ours_steps, transient=40).exponents

    def theirs():
        return plain(network, x, k, n_steps + 20)

    pairs = [(timed(ours), timed(theirs)) for _ in range(repeats)]
    times = np.array([(a[0], b[0]) for a, b in pairs]) / (n_steps + 20) * 1e3
    ratios = times[:, 0] / times[:, 1]
    return {
        "ours_ms": float(np.median(times[:, 0])), "plain_ms": float(np.median(times[:, 1])),
        "ratio": float(np.median(ratios)), "least": float(ratios.min()), "largest": float(ratios.max()),
        "leading": [float(pairs[0][0][1][0]), float(pairs[0][1][1][0])],
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=(100, 500, 1000))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    head = f"{'N':>5} {'density':>7} {'k':>5} {'ours ms':>9} {'plain ms':>9} {'ratio':>6}  range"
    print(f"{head:<64} limits")
    rows = []
    cases = [(n, 1.0, k) for n in arguments.sizes for k in (10, n)]
    cases += [(n, d, 10) for n in (arguments.sizes[-1], 2 * arguments.sizes[-1]) for d in (0.1, 0.01)]
    for n_units, density, k in cases:
        r = compare(make_network(n_units, density), k, arguments.repeats)
        bound = limits(n_units, k, arguments.repeats) if density == 1.0 else {}
        rows.append({"n_units": n_units, "density": density, "k": k, **r, **bound})
        print(
            f"{n_units:5d} {density:7g} {k:5d} {r['ours_ms']:9.3f} {r['plain_ms']:9.3f} {r['ratio']:6.3f}  "
            f"[{r['least']:.3f}, {r['largest']:.3f}]  "
            + ", ".join(f"{name} {value:.3g}" for name, value in bound.items()),
            flush=True,
        )
    if arguments.json:
        versions = {m.__name__: m.__version__ for m in (np, scipy)}
        document = {"python": platform.python_version(), "versions": versions, "rows": rows}
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    worst = {True: 0.55, False: 0.30}
    dense = [r for r in rows if r["density"] == 1.0 and r["n_units"] >= 1000]
    return 1 if any(r["ratio"] > worst[r["k"] == r["n_units"]] for r in dense) else 0


if __name__ == "__main__":
    with threadpool_limits(1):
        sys.exit(main())
