"""Try to break the verdicts: random networks near the proved edge against adversaries.

    python tests/benchmarks/soundness_campaign.py --seconds 3600 --processes 2 -o campaign.json
    python tests/benchmarks/soundness_campaign.py --replay 17

A case is a network and an input class, drawn from its number. Its weights are scaled so that the best bound
lies near its edge. Whatever `certify_esp` answers is attacked:

* proved: slope patterns that maximise the one-step growth in the certificate's own norm and the spectral
  radius of their products; pairs of trajectories under inputs chosen greedily to keep them apart, against the
  rate and the proved washout; permuted, sign-changed and shrunk networks must not be refuted; documents with
  a better rate or a larger claim must not pass the checker.
* refuted: the network must contract under no rung, its replayed trajectories must stay apart.

Exit code 0: nothing was broken. Violations are listed with the number that replays them.
"""

from __future__ import annotations

import argparse
import base64
import copy
import json
import math
import multiprocessing
import sys
import time
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from esntools import files
from esntools.activations import Activation
from esntools.certificates import Certified, Inconclusive, Refuted, certify_esp, check_certificate
from esntools.errors import EsntoolsError
from esntools.inputs import AnyInput, Constant, InputAlphabet, InputBox, InputClass, Zero
from esntools.network import EchoStateNetwork

ACTIVATIONS = ("tanh", "tanh", "tanh", "logistic", "erf", "softsign", "sine", "identity", "relu", "hard_tanh")
CUSTOM = ("atan(x)", "x/sqrt(1 + x**2)", "tanh(x)/2 + x/4")
#: What a proof may never be given for, whatever the weights: steps have no slope, softmax is no phi.
REFUSED = ("Heaviside(x)", "sign(x)", "floor(x)", "Piecewise((0, x < 0), (1, True))")
# Floating-point adversaries may overshoot an exact bound by their own rounding.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Case:
    number: int
    network: EchoStateNetwork
    inputs: InputClass
    kind: str


def _weights(rng: np.random.Generator, n: int) -> tuple[np.ndarray, str]:
    kind = str(
        rng.choice(
            ["dense", "sparse", "ring", "orthogonal", "cascade", "skew", "own", "low rank", "nilpotent"]
        )
    )
    W = rng.standard_normal((n, n)) / math.sqrt(n)
    match kind:
        case "sparse":
            W *= rng.random((n, n)) < min(1.0, 4.0 / n)
        case "ring":
            W = np.roll(np.diag(rng.uniform(0.2, 3.0, n)), 1, axis=0)
        case "orthogonal":
            W = np.linalg.qr(W)[0]
        case "cascade":
            size = max(1, n // 3)
            W = W * (np.arange(n)[:, None] // size >= np.arange(n)[None, :] // size) * 1.5
        case "skew":
            W = W - W.T + 0.1 * W
        case "own":
            W = 0.5 * W - np.diag(rng.uniform(0.0, 2.0, n))
        case "low rank":
            W = np.outer(rng.standard_normal(n), rng.standard_normal(n)) / math.sqrt(n) + 0.2 * W
        case "nilpotent":
            W = np.tril(3.0 * W, -1)
    return W, kind


def draw(seed: int, number: int) -> Case:
    """Return the case of that number."""
    rng = np.random.default_rng([seed, number])
    n = int(rng.choice([1, 2, 3, 4, 6, 8, 12, 20, 40], p=[0.1, 0.15, 0.15, 0.15, 0.15, 0.1, 0.1, 0.07, 0.03]))
    W, kind = _weights(rng, n)
    phi: Any = str(rng.choice(ACTIVATIONS))
    if rng.random() < 0.04:
        phi = Activation.from_sympy(str(rng.choice(CUSTOM)))
    leak: Any = 1.0
    if rng.random() < 0.5:
        leak = rng.uniform(0.05, 1.0) if rng.random() < 0.7 else rng.uniform(0.05, 1.0, n)
    m = int(rng.integers(1, 3))
    b = rng.uniform(-1.0, 1.0, n) * float(rng.choice([0.0, 0.0, 0.5, 2.0]))
    network = EchoStateNetwork(W, rng.uniform(-1.0, 1.0, (n, m)) * 0.5, b, leak, phi)
    inputs: InputClass
    match int(rng.integers(0, 6)):
        case 0 | 1:
            inputs = AnyInput()
        case 2:
            centre, width = rng.uniform(-3.0, 3.0, m), rng.uniform(0.0, 2.0, m)
            inputs = InputBox(centre - width, centre + width)
        case 3:
            inputs = Constant(rng.uniform(-2.0, 2.0, m))
        case 4:
            inputs = InputAlphabet(rng.uniform(-1.0, 1.0, (3, m)))
        case _:
            inputs = Zero()
    # Near the edge: where the best of the bounds meets 1, give or take.
    try:
        probe = certify_esp(network, inputs, budget=2.0, bracket=False)
        gains = [b.critical_gain for b in probe.bounds if b.critical_gain and math.isfinite(b.critical_gain)]
    except EsntoolsError:
        gains = []
    edge = max(gains, default=1.0)
    factor = edge * float(
        rng.choice([rng.uniform(0.9, 0.999), rng.uniform(0.97, 1.05), rng.uniform(1.0, 1.5)])
    )
    if kind == "nilpotent" or not 1e-6 < factor < 1e6:
        factor = 1.0
    if rng.random() < 0.1:
        network = replace(network, W=scipy.sparse.csr_array(network.dense_W()))
    return Case(number, network.scaled(factor), inputs, kind)


# -- reading a certificate as floats, independently of the library ------------------------------------------


def numbers(section: Any) -> np.ndarray:
    data = base64.b64decode(section["data"])
    return (
        np.frombuffer(data, {"f8": "<f8", "f4": "<f4"}[section["type"]])
        .astype(float)
        .reshape(section["shape"])
    )


def norm_of(theorem: str, witness: Any, n: int) -> Any:
    """Return the norm of the theorem as a function of rows of differences; None when it is composite."""
    if theorem == "perron-weights":
        v = numbers(witness["weights"])
        return lambda d: np.abs(d / v).max(axis=-1)
    if theorem == "spectral-norm":
        return lambda d: np.sqrt((d * d).sum(axis=-1))
    if theorem == "diagonal-schur":
        y = numbers(witness["weights"])
        return lambda d: np.sqrt((y * d * d).sum(axis=-1))
    if "P" in witness:
        P = numbers(witness["P"])
        return lambda d: np.sqrt(np.maximum(0.0, np.einsum("...i,ij,...j->...", d, P, d)))
    if theorem == "cascade":
        parts = []
        for weight, block in zip(numbers(witness["weights"]), witness["blocks"], strict=True):
            units = np.array(block["units"])
            parts.append((weight, units, norm_of(block["theorem"], block["witness"], len(units))))
        return lambda d: np.max([part(d[..., units]) / w for w, units, part in parts], axis=0)
    return None


def adversarial_growth(
    W: np.ndarray, a: np.ndarray, low: np.ndarray, high: np.ndarray, norm: Any, rng: Any
) -> float:
    """Ascend the one-step growth of a difference in the norm, over slopes in their range and directions."""
    n, best = len(a), 0.0
    for _ in range(12):
        d = rng.standard_normal(n)
        slopes = np.where(rng.random(n) < 0.5, low, high)
        for _ in range(15):
            size = float(norm(d))
            if not size > 0.0:
                break
            d = d / size
            z = W @ d
            at = float(norm((1.0 - a) * d + a * slopes * z))
            for i in rng.permutation(n)[: min(n, 24)]:
                other = slopes.copy()
                other[i] = low[i] + high[i] - slopes[i]
                value = float(norm((1.0 - a) * d + a * other * z))
                if value > at:
                    slopes, at = other, value
            best = max(best, at)
            # Power iteration turns the direction towards more growth.
            J = np.diag(1.0 - a) + (a * slopes)[:, None] * W
            d = J.T @ (J @ d) + 1e-3 * rng.standard_normal(n) * np.abs(d).max()
    return best


def adversarial_radius(W: np.ndarray, a: np.ndarray, low: np.ndarray, high: np.ndarray, rng: Any) -> float:
    """Ascend the spectral radius of products of one to three slope patterns, per step."""
    n, best = len(a), 0.0
    for _ in range(6):
        period = int(rng.integers(1, 4))
        D = np.where(rng.random((period, n)) < 0.7, high, low)

        def radius(D: np.ndarray) -> float:
            M = np.eye(n)
            for d in D:
                M = (np.diag(1.0 - a) + (a * d)[:, None] * W) @ M
            return float(np.abs(np.linalg.eigvals(M)).max()) ** (1.0 / len(D))

        at = radius(D)
        for _ in range(40):
            k, i = int(rng.integers(period)), int(rng.integers(n))
            trial = D.copy()
            trial[k, i] = low[i] + high[i] - D[k, i] if rng.random() < 0.7 else rng.uniform(low[i], high[i])
            value = radius(trial)
            if value >= at:
                D, at = trial, value
        best = max(best, at)
    return best


def drives(case: Case, rng: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return candidate drives v (rows), z = V x + v; for any input those that meet the steepest slopes."""
    network, m = case.network, case.network.n_inputs
    match case.inputs:
        case AnyInput():
            W = network.dense_W()
            # The midpoint of the two arguments at the steepest slope, or anywhere.
            middle = -0.5 * (W @ x + W @ y)
            return np.stack(
                [middle, middle + rng.normal(0, 0.5, len(x)), middle + rng.normal(0, 2.0, len(x))]
            )
        case InputBox():
            u = rng.uniform(case.inputs.low, case.inputs.high, (4, m))
            corner = np.where(rng.random((4, m)) < 0.5, case.inputs.low, case.inputs.high)
            u = np.concatenate([u, corner])
        case Constant():
            u = case.inputs.c[None, :]
        case InputAlphabet():
            u = case.inputs.symbols
        case _:
            u = np.zeros((1, m))
    return np.asarray(u @ network.W_in.T + network.b)


def attack_trajectories(case: Case, verdict: Certified, norm: Any, rng: Any) -> list[str]:
    """Drive pairs of states apart; compare with the rate, and with the proved washout."""
    network, found = case.network, []
    W, a, phi = network.dense_W(), network.leak_rate, network.activation
    claim, slopes = verdict.document["claim"], verdict.document["slopes"]
    rate = float.fromhex(claim["rate"])
    start = int(slopes.get("steps") or 0)
    pairwise = slopes["range"] in ("global", "box")
    low, high = (-1.0, 1.0) if not phi.bounded else phi.value_bounds
    row = 1.0 + np.abs(W).sum(axis=1)
    units = None if norm is None else np.array([float(norm(e)) for e in np.eye(len(a))])
    for _ in range(4):
        x, y = rng.uniform(low, high, (2, len(a)))
        if rng.random() < 0.5:
            x, y = np.full(len(a), high), np.where(rng.random(len(a)) < 0.5, low, high)
        allowed = None
        for k in range(80):
            if pairwise and norm is not None and k >= start:
                size = float(norm(x - y))
                # The step itself is rounded, and the norm may weigh one component a million times more.
                noise = float(units @ (1e-14 * row * (1.0 + np.abs(x) + np.abs(y))))
                if allowed is not None and size > allowed * (1.0 + ROUNDING) + noise:
                    found.append(f"a pair of states shrank slower than the rate {rate} at step {k}")
                    break
                allowed = rate * size
            washout = claim.get("washout")
            if washout and k >= washout["steps"]:
                epsilon = float.fromhex(washout["epsilon"])
                if float(np.abs(x - y).max()) > epsilon * (1.0 + ROUNDING) + 1e-13:
                    found.append(f"states differ by more than {epsilon} after the proved washout, step {k}")
                    break
            options = drives(case, rng, x, y)
            nexts = [(1.0 - a) * s + a * phi(s @ W.T + options) for s in (x, y)]
            chosen = int(np.argmax(np.abs(nexts[0] - nexts[1]).max(axis=1)))
            x, y = nexts[0][chosen], nexts[1][chosen]
    return found


def metamorphic(case: Case, verdict: Certified | Refuted, rng: Any) -> list[str]:
    """Ask about the same network in other clothes, and about a smaller one."""
    network, n, found = case.network, case.network.n_units, []
    W, order = network.dense_W(), rng.permutation(n)
    signs = rng.choice([-1.0, 1.0], n) if network.activation.odd else np.ones(n)
    dressed = EchoStateNetwork(
        (signs[:, None] * W * signs)[np.ix_(order, order)], (signs[:, None] * network.W_in)[order],
        (signs * network.b)[order], network.leak_rate[order], network.activation,
    )  # fmt: skip
    opposite = {"proved": "refuted", "refuted": "proved"}[verdict.verdict]
    if certify_esp(dressed, case.inputs, budget=3.0, bracket=False).verdict == opposite:
        found.append(f"{verdict.verdict}, but {opposite} after a permutation and change of signs")
    if isinstance(verdict, Certified) and verdict.document["slopes"]["range"] == "global":
        # Slopes 0 to L times s W are among the slopes 0 to L times W.
        smaller = network.scaled(float(rng.uniform(0.3, 0.99)))
        monotone = network.activation.monotone and network.activation.name != "identity"
        if monotone and certify_esp(smaller, AnyInput(), budget=3.0, bracket=False).verdict == "refuted":
            found.append("proved for any input, but refuted with smaller weights")
    return found


def forged(verdict: Certified | Refuted) -> list[str]:
    """Change the statement for a better one; the checker must not agree."""
    found = []
    document = copy.deepcopy(verdict.document)
    if isinstance(verdict, Certified):
        rate = float.fromhex(document["claim"]["rate"])
        for name, value in (("rate", (0.5 * rate).hex()), ("inputs", {"kind": "any"})):
            other = copy.deepcopy(document)
            if name == "inputs" and document["claim"]["inputs"] == value:
                continue
            other["claim"][name] = value
            if name == "rate" and other["claim"].get("washout"):
                other["claim"]["washout"] = None
            if check_certificate(other).valid and name == "inputs":
                found.append(f"the checker accepts the same proof for {name} = {value}")
            # Half the rate may by chance be true of this witness: the adversary decides.
            elif name == "rate" and check_certificate(other).valid and verdict.method != "perron-weights":
                found.append("the checker accepts half the rate")
    else:
        document["verdict"] = "proved"
        if check_certificate(document).valid:
            found.append("a refutation passes as a proof")
    return found


def judge(case: Case, seed: int, budget: float = 6.0) -> tuple[str, str, list[str]]:
    """Return verdict, theorem and what was broken."""
    rng = np.random.default_rng([seed, case.number, 1])
    verdict = certify_esp(case.network, case.inputs, budget=budget, bracket=False)
    if isinstance(verdict, Inconclusive):
        return "inconclusive", "none", []
    found = []
    if not check_certificate(verdict.document).valid:
        found.append("the document of a verdict is not valid")
    if isinstance(verdict, Certified):
        document = verdict.document
        network, slopes = case.network, document["slopes"]
        norm = norm_of(document["theorem"], document["witness"], network.n_units)
        rate = float.fromhex(document["claim"]["rate"])
        if norm is not None and slopes["range"] in ("global", "box", "secant"):
            low, high = numbers(slopes["low"]), numbers(slopes["high"])
            W, a = network.dense_W(), network.leak_rate
            if adversarial_growth(W, a, low, high, norm, rng) > rate * (1.0 + ROUNDING):
                found.append("a slope pattern grows faster than the rate, in the norm of the certificate")
            if network.n_units <= 12 and adversarial_radius(W, a, low, high, rng) > rate * (1.0 + ROUNDING):
                found.append("a product of slope patterns has a spectral radius above the rate")
        found += attack_trajectories(case, verdict, norm, rng)
        if slopes["range"] == "odd" and not isinstance(case.inputs, Zero):
            found.append("multipliers for zero input under another input class")
        sine = network.activation.name == "sine" and slopes["range"] in ("global", "odd")
        if sine and float(numbers(slopes["low"]).min()) > -1.0:
            found.append("the sine was taken for monotone")
    else:
        replay = getattr(verdict.witness, "replay", None)
        if replay is not None:
            one, two = replay(200)
            apart = np.abs(np.asarray(one) - np.asarray(two)).max(axis=1)
            if not float(apart[len(apart) // 2 :].max()) > 1e-6:
                found.append("the replayed trajectories meet")
    if case.network.n_units <= 12:
        found += metamorphic(case, verdict, rng)
        found += forged(verdict)
    return (
        verdict.verdict,
        f"{verdict.method} ({verdict.document.get('slopes', {}).get('range', '-')})",
        found,
    )


def run_case(task: tuple[int, int]) -> dict[str, Any]:
    seed, number = task
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            case = draw(seed, number)
            verdict, theorem, found = judge(case, seed)
            phi, inputs, n = case.network.activation.name, type(case.inputs).__name__, case.network.n_units
            kind = case.kind
        except Exception as error:  # a crash is a finding, not the end of the campaign
            verdict, theorem, found = "crash", "none", [f"{type(error).__name__}: {error}"]
            phi, inputs, n, kind = "?", "?", 0, "?"
    return {
        "number": number, "verdict": verdict, "theorem": theorem, "activation": phi, "inputs": inputs,
        "n": n, "kind": kind, "found": found, "seconds": time.process_time() - start,
    }  # fmt: skip


def never_proved() -> list[str]:
    """What has no slope bound is refused or inconclusive, even with vanishing weights."""
    found = []
    for expression in REFUSED:
        try:
            phi = Activation.from_sympy(expression)
            verdict = certify_esp(EchoStateNetwork([[0.01]], activation=phi), AnyInput(), budget=5.0).verdict
        except EsntoolsError:
            continue
        if verdict == "proved":
            found.append(f"{expression} was proved")
    return found


def campaign(seconds: float, *, seed: int = 0, processes: int = 1, say: Any = None) -> dict[str, Any]:
    """Run cases until the time is over; return counts and violations."""
    stop = time.monotonic() + seconds
    counts: dict[str, Counter[str]] = {
        k: Counter() for k in ("verdict", "theorem", "activation", "inputs", "kind", "n")
    }
    violations = [{"number": -1, "found": [text]} for text in never_proved()]
    done = 0

    def tasks() -> Any:
        number = 0
        while time.monotonic() < stop:
            yield seed, number
            number += 1

    def note(result: dict[str, Any]) -> None:
        nonlocal done
        done += 1
        for name, counter in counts.items():
            counter[f"{result[name]}: {result['verdict']}" if name != "verdict" else result[name]] += 1
        if result["found"]:
            violations.append(result)
        if say is not None and (done % 50 == 0 or result["found"]):
            say(f"{done} cases, {dict(counts['verdict'])}, {len(violations)} violations")

    if processes == 1:
        for task in tasks():
            note(run_case(task))
    else:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            # Chunks of one and a generator that ends: the queue holds little beyond the time limit.
            waiting: list[Any] = []
            for task in tasks():
                waiting.append(pool.apply_async(run_case, (task,)))
                while len(waiting) >= 2 * processes:
                    note(waiting.pop(0).get())
            for result in waiting:
                note(result.get())
    return {
        "format": "esntools-campaign", "seed": seed, "cases": done, "seconds": seconds,
        "counts": {name: dict(sorted(counter.items())) for name, counter in counts.items()},
        "violations": violations, "provenance": files.provenance(),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3600.0, help="how long (default: an hour)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--replay", type=int, metavar="NUMBER", help="run one case again")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    if options.replay is not None:
        print(json.dumps(run_case((options.seed, options.replay)), indent=1))
        return 0
    result = campaign(
        options.seconds, seed=options.seed, processes=options.processes,
        say=lambda text: print(text, file=sys.stderr, flush=True),
    )  # fmt: skip
    if options.output:
        files.write_json(options.output, result)
    print(json.dumps(result["counts"], indent=1))
    for violation in result["violations"]:
        print(violation)
    print(f"{result['cases']} cases, {len(result['violations'])} violations")
    return 1 if result["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
