"""Speed of drive, forecast and fit against ReservoirPy: the same weights, alternating in one process.

Each case is timed in process CPU time, on one thread, ours and theirs in turn; the table gives the median and
the range of the ratios of the pairs. Before timing, the results are compared.

    python tests/benchmarks/bench_kernels.py [--sizes 100 500] [--densities 0.1] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path

import numpy as np
import reservoirpy
import scipy.linalg
import scipy.sparse
from reservoirpy.nodes import Reservoir, Ridge
from threadpoolctl import threadpool_limits

from esntools.network import EchoStateNetwork, Readout
from esntools.simulation import accumulate_gram, drive, forecast

RIDGE = 1e-4
WASHOUT = 20
SIZES = (100, 500, 1000, 2000)
DENSITIES = (1.0, 0.1, 0.01)


def make_case(n_units, density, seed=0):
    """Return our network and ReservoirPy's model, of the same weights; the closed loop is stable."""
    rng = np.random.default_rng(seed)
    scale = 0.5 / np.sqrt(n_units * density)
    if density < 1.0:
        W = scipy.sparse.random_array((n_units, n_units), density=density, format="csr", rng=rng)
        W.data = rng.normal(size=W.nnz) * scale
    else:
        W = rng.normal(size=(n_units, n_units)) * scale
    W_in, b = rng.uniform(-1, 1, (n_units, 1)), rng.uniform(-0.5, 0.5, n_units)
    W_out, b_out = rng.normal(size=(1, n_units)) * 0.3 / n_units, rng.normal(size=1)
    network = EchoStateNetwork(W, W_in=W_in, b=b, leak_rate=0.7, readout=Readout(W_out, None, b_out))
    reservoir = Reservoir(W=W, Win=W_in, bias=b, lr=0.7)
    readout = Ridge(ridge=RIDGE, Wout=W_out.T.copy(), bias=b_out)
    # ReservoirPy sizes its nodes at their first call.
    (reservoir >> readout).run(np.zeros((1, 1)))
    return network, reservoir, readout


def series(n_steps):
    k = np.arange(n_steps + 1, dtype=np.float64)
    return (np.sin(0.2 * k) + 0.3 * np.sin(0.511 * k))[:, None]


def solve(network, u, y):
    moments = accumulate_gram(network, u, y, washout=WASHOUT, squares=False).moments()
    factor = scipy.linalg.cho_factor(moments.ff + RIDGE * np.eye(len(moments.ff)))
    return scipy.linalg.cho_solve(factor, moments.fy)


def timed(function):
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


def compare(ours, theirs, n_steps, repeats):
    """Return the medians in microseconds per step, and the ratio theirs / ours: median, least, largest."""
    pairs = np.array([(timed(ours)[0], timed(theirs)[0]) for _ in range(repeats)])
    ratios = pairs[:, 1] / pairs[:, 0]
    us = np.median(pairs, axis=0) / n_steps * 1e6
    return {
        "ours_us": float(us[0]), "theirs_us": float(us[1]),
        "ratio": float(np.median(ratios)), "least": float(ratios.min()), "largest": float(ratios.max()),
    }  # fmt: skip


def drive_case(network, reservoir, readout, n_steps, repeats):
    u = series(n_steps)[:-1]

    def theirs():
        reservoir.reset()
        return reservoir.run(u)

    difference = np.abs(drive(network, u).states - theirs()).max()
    return {**compare(lambda: drive(network, u), theirs, n_steps, repeats), "difference": float(difference)}


def forecast_case(network, reservoir, readout, n_steps, repeats):
    closed = network.closed_loop()
    model = reservoir >> readout
    x0 = drive(network, series(50)[:-1]).last_state

    def theirs():
        reservoir.state = {"out": x0.copy()}
        y = readout(x0)
        outputs = np.empty((n_steps, 1))
        for k in range(n_steps):
            outputs[k] = y
            y = model.step(y)
        return outputs

    difference = np.abs(forecast(closed, x0, n_steps).outputs - theirs()).max()
    return {
        **compare(lambda: forecast(closed, x0, n_steps), theirs, n_steps, repeats),
        "difference": float(difference),
    }


def fit_case(network, reservoir, readout, n_steps, repeats):
    data = series(n_steps)
    u, y = data[:-1], data[1:]

    def theirs():
        fitted = Ridge(ridge=RIDGE)
        reservoir.reset()
        (reservoir >> fitted).fit(u, y, warmup=WASHOUT)
        return fitted

    ours = solve(network, u, y)
    difference = np.abs(ours - theirs().Wout).max() / np.abs(ours).max()
    return {
        **compare(lambda: solve(network, u, y), theirs, n_steps, repeats),
        "difference": float(difference),
    }


def batch_case(network, reservoir, readout, n_steps, repeats, n_batch=100):
    n_steps = max(30, n_steps // 20)
    u = np.random.default_rng(1).uniform(-1, 1, (n_steps, n_batch, 1))
    theirs_input = np.ascontiguousarray(u.transpose(1, 0, 2))

    def theirs():
        reservoir.reset()
        return reservoir.run(theirs_input)

    difference = np.abs(drive(network, u).states - np.asarray(theirs()).transpose(1, 0, 2)).max()
    return {
        **compare(lambda: drive(network, u), theirs, n_steps * n_batch, repeats),
        "difference": float(difference),
    }


def limits(network, repeats):
    """Return microseconds of one W @ x by BLAS or SciPy, and of one row of a dsyrk of 512 rows."""
    x, rows = np.ones(network.n_units), np.random.default_rng(2).normal(size=(512, network.n_units))
    count = max(3, int(3e7 / network.n_units**2))

    def products():
        for _ in range(count):
            network.W @ x

    def update():
        scipy.linalg.blas.dsyrk(1.0, rows.T)

    products(), update()
    product = min(timed(products)[0] for _ in range(repeats)) / count * 1e6
    syrk = min(timed(update)[0] for _ in range(repeats)) / 512 * 1e6
    return {"product_us": product, "dsyrk_us": syrk}


CASES = {"drive": drive_case, "forecast": forecast_case, "fit": fit_case, "batch of 100": batch_case}


def first_calls():
    """Return the seconds of process time that the first single and batched runs take (compiled or cached)."""
    network = make_case(20, 1.0)[0]
    one = timed(lambda: forecast(network.closed_loop(), np.zeros(20), 3))[0]
    return {"single": one, "batch": timed(lambda: drive(network, np.zeros((3, 1)), np.zeros((2, 20))))[0]}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--densities", type=float, nargs="+", default=DENSITIES)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    first = first_calls()
    print(f"first calls: single {first['single']:.1f} s, batch {first['batch']:.1f} s (process time)")
    print(f"{'case':13} {'N':>5} {'density':>7} {'ours us':>9} {'theirs us':>9} {'ratio':>6}  range", end="")
    print("          W@x us  dsyrk us  difference")
    rows = []
    for n_units in arguments.sizes:
        for density in arguments.densities:
            case = make_case(n_units, density)
            bound = limits(case[0], arguments.repeats)
            work = 2e8 if density == 1.0 else 6e8
            n_steps = int(np.clip(work / n_units**2, 50, 5000))
            for name, run in CASES.items():
                steps = max(n_steps, n_units + 100) if name == "fit" else n_steps
                r = run(*case, steps, arguments.repeats)
                rows.append({"case": name, "n_units": n_units, "density": density, **bound, **r})
                print(
                    f"{name:13} {n_units:5d} {density:7g} {r['ours_us']:9.2f} {r['theirs_us']:9.2f} "
                    f"{r['ratio']:6.2f}  [{r['least']:.2f}, {r['largest']:.2f}]".ljust(75)
                    + f"{bound['product_us']:9.2f} {bound['dsyrk_us']:9.2f}  {r['difference']:.0e}",
                    flush=True,
                )
    slower = [r for r in rows if r["ratio"] <= 1.0]
    print(f"slower than ReservoirPy in {len(slower)} of {len(rows)} cases")
    if arguments.json:
        versions = {m.__name__: m.__version__ for m in (np, reservoirpy, scipy)}
        document = {"python": platform.python_version(), "versions": versions, "first": first, "rows": rows}
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    return 1 if slower else 0


if __name__ == "__main__":
    with threadpool_limits(1):
        sys.exit(main())
