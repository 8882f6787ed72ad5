"""How far the rungs get and how long they take, beside cvxpy with Clarabel and SCS.

Two tables, in process CPU time on one thread. `thresholds`: the mean largest spectral radius that each rung
proves, in floating point, for random networks. `times`: the same task (a diagonal X for diagonal Schur
stability; P and X for the Lur'e inequality) by our solvers and by cvxpy, where that is installed, in turn in
one process; and what the exact checker takes for the result.

    python tests/benchmarks/bench_certificates.py [thresholds] [times] [--large] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import scipy
from threadpoolctl import threadpool_limits

from esntools.certificates import check_certificate
from esntools.certificates.documents import proved_document, slopes_section
from esntools.certificates.lurie import incremental_lurie
from esntools.certificates.norms import diagonal_schur, perron_weights, spectral_norm
from esntools.certificates.scaling import optimal_lurie, osborne
from esntools.certificates.sectors import Sector
from esntools.inputs import AnyInput
from esntools.network import EchoStateNetwork

try:
    import cvxpy
except ImportError:
    cvxpy = None

#: Beside each row the largest radius for the full-P inequality that its prototype reached (any input).
PROTOTYPE = {
    (10, "dense", 1.0): 0.87, (10, "sparse", 1.0): 0.93, (50, "dense", 1.0): 0.82, (50, "sparse", 1.0): 0.81,
    (100, "dense", 1.0): 0.775, (100, "sparse", 1.0): 0.794,
    (10, "dense", 0.3): 1.08, (10, "sparse", 0.3): 1.05, (50, "dense", 0.3): 0.91, (50, "sparse", 0.3): 0.87,
    (100, "dense", 0.3): 0.82, (100, "sparse", 0.3): 0.83,
    (10, "dense", 0.1): 1.10, (10, "sparse", 0.1): 1.07, (50, "dense", 0.1): 0.91, (50, "sparse", 0.1): 0.87,
    (100, "dense", 0.1): 0.82, (100, "sparse", 0.1): 0.84,
}  # fmt: skip


def network(n_units, kind, seed, radius=1.0):
    """Gaussian weights; sparse: about ten links per row, of ten units three."""
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(n_units, n_units))
    if kind == "sparse":
        W = W * (rng.random((n_units, n_units)) < (0.3 if n_units <= 10 else 10 / n_units))
    return W * (radius / np.abs(np.linalg.eigvals(W)).max())


def sector_of(W, a):
    n = len(W)
    return Sector(W, np.full(n, a), np.zeros(n), np.ones(n))


def timed(function):
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


# -- how far -------------------------------------------------------------------------------------------

REACHING = {
    "Perron": perron_weights,
    "spectral": spectral_norm,
    "diagonal Schur": lambda s: diagonal_schur(s, optimise=True),
    "Lur'e, S = I": incremental_lurie,
    "balanced": lambda s: incremental_lurie(s, osborne(s)),
    "optimal": lambda s: optimal_lurie(s, optimise=True),
}


def thresholds(sizes, leaks, count):
    rows = []
    print(
        f"{'N':>4} {'W':6} {'leak':>4}", *(f"{name:>15}" for name in REACHING), "   dual  prototype  seconds"
    )
    for n in sizes:
        for kind in ("dense", "sparse"):
            for a in leaks:
                gains = {name: [] for name in REACHING}
                duals, seconds = [], 0.0
                number = 5 * count if n <= 10 else count if n <= 100 else 3
                for seed in range(number):
                    sector = sector_of(network(n, kind, seed), a)
                    for name, rung in REACHING.items():
                        used, found = timed(lambda rung=rung, sector=sector: rung(sector))
                        gains[name].append(found.bound.critical_gain)
                    if found.bound.dual is not None:
                        duals.append(found.bound.dual)
                    seconds += used / number
                row = {
                    "n_units": n, "kind": kind, "leak": a, "dual": float(np.mean(duals)), "duals": len(duals),
                    "seconds": seconds,
                    **{name: [float(np.mean(g)), float(np.std(g))] for name, g in gains.items()},
                }  # fmt: skip
                rows.append(row)
                print(
                    f"{n:4d} {kind:6} {a:4g}",
                    *(f"   {row[name][0]:6.3f} +-{row[name][1]:4.2f}" for name in REACHING),
                    f" {row['dual']:6.3f}",
                    f" {PROTOTYPE.get((n, kind, a), math.nan):9.3f}  {row['seconds']:7.2f}",
                    flush=True,
                )
    return rows


# -- how long ------------------------------------------------------------------------------------------


def schur_problem(sector):
    """Maximise s: X - W'XW >= s I over diagonal X of trace n."""
    n, W = len(sector.a), sector.W
    x, s = cvxpy.Variable(n), cvxpy.Variable()
    F = cvxpy.diag(x) - W.T @ cvxpy.diag(x) @ W
    return cvxpy.Problem(cvxpy.Maximize(s), [0.5 * (F + F.T) >> s * np.eye(n), cvxpy.sum(x) == n]), s


def lurie_problem(sector):
    """Maximise s: the Lur'e matrix of (P, X) >= s I, X diagonal of trace n."""
    n, W, a = len(sector.a), sector.W, sector.a
    P, x, s = cvxpy.Variable((n, n), symmetric=True), cvxpy.Variable(n), cvxpy.Variable()
    A0, B = np.diag(1.0 - a) + 0.5 * a[:, None] * W, np.diag(0.5 * a)
    AB = np.hstack([A0, B])
    zero = np.zeros((n, n))
    outer, inner = np.hstack([np.eye(n), zero]), np.hstack([zero, np.eye(n)])
    M = outer.T @ P @ outer - AB.T @ P @ AB - outer.T @ (W.T @ cvxpy.diag(x) @ W) @ outer
    M = M + inner.T @ cvxpy.diag(x) @ inner
    return cvxpy.Problem(
        cvxpy.Maximize(s), [0.5 * (M + M.T) >> s * np.eye(2 * n), cvxpy.sum(x) == n, P >> 0]
    ), s  # fmt: skip


def theirs(problem, sector, solver, limit):
    # "Solution may be inaccurate": the margin is in the table.
    warnings.simplefilter("ignore", UserWarning)
    options = {"CLARABEL": {"time_limit": limit}, "SCS": {"time_limit_secs": limit, "eps": 1e-4}}[solver]
    built, s = problem(sector)
    try:
        built.solve(solver=solver, **options)
    except cvxpy.error.SolverError:
        return None
    return None if s.value is None else float(s.value)


def checked(sector, rung):
    document = proved_document(
        EchoStateNetwork(sector.W, leak_rate=sector.a), rung.candidate, AnyInput(),
        slopes_section("global", sector.low, sector.high), states="all", notes={},
    )  # fmt: skip
    return check_certificate(document).valid


TASKS = {
    # name: radius as a share of the critical one, ours, sizes, larger sizes, theirs, sizes of theirs
    "diagonal Schur, feasible": (0.97, "diagonal", lambda s: diagonal_schur(s), (50, 100, 200, 500, 1000),
        (2000,), "schur", {"CLARABEL": (50, 100), "SCS": (50, 100, 200)}),
    "diagonal Schur, optimum": (0.97, "diagonal", lambda s: diagonal_schur(s, optimise=True, gap=1e-3),
        (50, 100, 200, 500), (1000,), None, {}),
    "Lur'e, fixed S, with P and R": (0.97, "balanced", lambda s: incremental_lurie(s, osborne(s)),
        (20, 50, 100, 200, 500, 1000), (2000,), None, {}),
    "Lur'e, optimal S, feasible": (0.97, "optimal", lambda s: optimal_lurie(s), (20, 40, 100, 200, 500),
        (1000,), "lurie", {"CLARABEL": (20, 40), "SCS": (20, 40, 100)}),
    "Lur'e, optimal S, optimum": (0.97, "optimal", lambda s: optimal_lurie(s, optimise=True),
        (20, 40, 100, 200, 500), (1000,), None, {}),
}  # fmt: skip


def critical(which, sector):
    """Return a gain near where the rung stops; beyond 500 units that of the balanced scaling."""
    if which == "diagonal":
        return diagonal_schur(sector, optimise=len(sector.a) <= 500).bound.critical_gain
    if which == "balanced" or len(sector.a) > 500:
        return incremental_lurie(sector, osborne(sector)).bound.critical_gain
    return optimal_lurie(sector, optimise=True).bound.critical_gain


def times(large, limit, check_up_to):
    rows = []
    print(f"{'task':30} {'N':>5} {'W':6} {'ours s':>8} {'check s':>8}  theirs s (theirs / ours)")
    for name, (share, which, ours, sizes, more, problem, solvers) in TASKS.items():
        for n in sizes + (more if large else ()):
            kind = "sparse"
            # A circular law instead of eigenvalues, which take longer than the solvers.
            W = network(n, kind, 1) if n <= 500 else circular(n, 1)
            sector = sector_of(W, 1.0)
            sector = sector.scaled(share * critical(which, sector))
            used, rung = timed(lambda ours=ours, sector=sector: ours(sector))
            row = {
                "task": name,
                "n_units": n,
                "kind": kind,
                "ours": used,
                "found": rung.candidate is not None,
            }
            text = ""
            if rung.candidate is not None and n <= check_up_to:
                row["check"], row["valid"] = timed(lambda s=sector, r=rung: checked(s, r))
            for solver, possible in solvers.items():
                if n in possible and cvxpy is not None:
                    build = {"schur": schur_problem, "lurie": lurie_problem}[problem]
                    taken, value = timed(lambda b=build, s=sector, o=solver: theirs(b, s, o, limit))
                    row[solver] = {"seconds": taken, "margin": value, "ratio": taken / used}
                    text += f"  {solver} {taken:.2f} ({taken / used:.0f}x)"
            rows.append(row)
            check = f"{row['check']:8.2f}" if "check" in row else "        "
            failed = "" if row["found"] and row.get("valid", True) else "  FAILED"
            print(f"{name:30} {n:5d} {kind:6} {used:8.3f} {check}{text}{failed}", flush=True)
    return rows


def circular(n, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, n)) * (rng.random((n, n)) < 10 / n) / math.sqrt(10.0)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", choices=["thresholds", "times", []], default=[])
    parser.add_argument("--sizes", type=int, nargs="+", default=(10, 50, 100))
    parser.add_argument("--leaks", type=float, nargs="+", default=(1.0, 0.3, 0.1))
    parser.add_argument(
        "--count",
        type=int,
        default=8,
        help="networks per row; five times as many up to 10 units, three beyond 100",
    )
    parser.add_argument("--large", action="store_true", help="also the sizes that take minutes")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for each of cvxpy's solvers")
    parser.add_argument("--check-up-to", type=int, default=200, help="largest N whose result is checked")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    what = arguments.what or ["thresholds", "times"]
    document = {"python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__}
    if "thresholds" in what:
        document["thresholds"] = thresholds(arguments.sizes, arguments.leaks, arguments.count)
    if "times" in what:
        if cvxpy is None:
            print(
                "cvxpy is not installed, so there is nothing to compare with: pip install cvxpy clarabel scs"
            )
        document["times"] = times(arguments.large, arguments.limit, arguments.check_up_to)
    if arguments.json:
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    failed = [r for r in document.get("times", []) if not (r["found"] and r.get("valid", True))]
    return 1 if failed else 0


if __name__ == "__main__":
    with threadpool_limits(1):
        sys.exit(main())
