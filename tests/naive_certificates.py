"""A second checker of certificates, written from FORMAT.md alone: fractions, lists and interval arithmetic.

Slow and obvious. Nothing is shared with `esntools.certificates.check`: no flint, no scaled integers,
elementary functions by their power series, and intervals where the other one uses midpoints and radii.
"""

from __future__ import annotations

from fractions import Fraction as Q
from pathlib import Path
from typing import Any

from naive_attracting import all_apart, attracting_ball
from naive_boxes import Pair, arguments, box_slopes, global_slopes, invariant_box, slope_bounds
from naive_decoding import (
    Net,
    Rejected,
    admits,
    demand,
    inputs,
    keys,
    load,
    matrix,
    natural,
    positive_scalar,
    rate_in,
    scalar,
    table,
    vector,
)
from naive_enclosures import (
    LINE,
    ODD_MONOTONE,
    Interval,
    apply,
    bounds,
    power_above,
    secants_lie_in,
    slopes,
    transposed,
    values,
)
from naive_fixed_points import apart, ball, stein
from naive_norms import BLOCK_SOURCES, Norm, Part, contraction, dot, zero_input_multipliers
from naive_tube import tube

__all__ = ["naive_check", "naive_check_file", "naive_outcome", "slopes", "values"]

PROVED_SOURCES = BLOCK_SOURCES | {"cascade": "FORMAT.md", "zero-input-multipliers": "FORMAT.md"}
REFUTED_SOURCES = {
    "unstable-fixed-point": "doi:10.1016/j.neunet.2012.07.005",
    "two-fixed-points": "doi:10.1007/BF02234767",
    "attracting-balls": "doi:10.1016/j.physd.2020.132609",
}
LOCAL_SOURCES = {
    "attracting-balls": "doi:10.1016/j.physd.2020.132609",
    "contracting-tube": "FORMAT.md",
}
SOURCES = {"proved": PROVED_SOURCES, "refuted": REFUTED_SOURCES, "local": LOCAL_SOURCES}


def forgotten(net: Net, washout: Any, norm: Norm, rate: Q, start: int, states: str, factor: int) -> None:
    """The washout that a proof promises."""
    if washout is None:
        return
    spread_text, epsilon_text, steps = keys(washout, "spread", "epsilon", "steps")
    spread, epsilon = positive_scalar(spread_text), positive_scalar(epsilon_text)
    natural(steps, start, 10**20)
    if states == "box":
        low, high = bounds(net.phi)
        demand(spread >= high - low, "the box of values is wider")
    first = factor * norm.size([spread] * net.n)
    demand(first * power_above(rate, steps - start) * max(norm.reach) <= epsilon, "washout")


def odd_slopes(net: Net, part: Any) -> Q:
    _, low_part, high_part = keys(part, "range", "low", "high")
    low, high = slope_bounds(low_part, high_part, net.n)
    demand(net.phi in ODD_MONOTONE and not any(net.c) and not any(low), "odd, no bias, low = 0")
    demand(high[0] >= LINE[net.phi][1] and set(high) == {high[0]}, "one upper slope")
    return high[0]


def secant_slopes(net: Net, part: Any, u: list[Q]) -> tuple[Pair, int]:
    _, steps, low_part, high_part, ball_part = keys(part, "range", "steps", "low", "high", "ball")
    natural(steps, 0, 1000)
    pair = slope_bounds(low_part, high_part, net.n)
    drives = net.drives([u])
    met = arguments(net, invariant_box(net, drives, steps), drives)
    held = ball(net, ball_part, [net.drive(u)])
    stars = arguments(net, [(x - held.radius, x + held.radius) for x in held.centre], drives)
    for z, star, low, high in zip(met, stars, *pair, strict=True):
        demand(secants_lie_in(net.phi, z, star, (low, high)), "secants")
    return pair, steps


def proved(document: Any, net: Net) -> None:
    theorem, witness, part = document["theorem"], document["witness"], document["slopes"]
    claim, states, rate_text, washout = keys(document["claim"], "inputs", "states", "rate", "washout")
    kind, us = inputs(claim, net.m)
    r = rate_in(rate_text)
    demand(net.straight, "no bend")
    demand(isinstance(part, dict), "slopes")
    source, steps, factor = part.get("range"), 0, 1
    demand((theorem == "zero-input-multipliers") == (source == "odd"), "odd")
    if source == "odd":
        demand(kind == "zero" and states == "all", "odd: zero input")
        factor = 2
        norm = zero_input_multipliers(net.a, net.V, odd_slopes(net, part), witness, r)
    else:
        if source == "global":
            demand(kind == "any" and states == "all", "global claims any input, all states")
            pair = global_slopes(net, part, assumed(document["assumes"], net))
        elif source == "box":
            demand(kind != "any" and states == "box", "box")
            pair, steps = box_slopes(net, part, net.drives(us))
        else:
            demand(source == "secant" and kind in ("zero", "constant") and states == "box", "secant")
            pair, steps = secant_slopes(net, part, us[0])
            factor = 2
        norm = contraction(theorem, Part(net.V, net.a, *pair), witness, r)
    forgotten(net, washout, norm, r, steps, states, factor)


def assumed(part: Any, net: Net) -> Interval:
    if net.known:
        return LINE[net.phi]
    low, high = (scalar(x) for x in keys(part, "low", "high"))
    demand(low <= high, "low <= high")
    return low, high


def refuted(document: Any, net: Net) -> None:
    (claim,) = keys(document["claim"], "inputs")
    kind, us = inputs(claim, net.m)
    width = net.n if kind == "any" else net.m
    theorem, witness = document["theorem"], document["witness"]
    names = {"unstable-fixed-point": ("ball", "P", "R", "v"), "two-fixed-points": ("balls",)}
    u_part, *parts = keys(witness, "input", *names.get(theorem, ("inputs", "balls")))
    rows = table(u_part, width, 1 if theorem == "attracting-balls" else 4000)
    demand(all(admits(kind, us, u) for u in rows), "inputs of the class")
    if theorem == "attracting-balls":
        demand(isinstance(parts[1], list) and len(parts[1]) >= 2, "two balls or more")
        held, hull = inputs(parts[0], width)
        demand(held != "any" and admits(held, hull, rows[0]), "holds the input")
        drives = [(min(h), max(h)) for h in zip(*hull, strict=True)] if kind == "any" else net.drives(hull)
        demand(all_apart([attracting_ball(net, part, drives) for part in parts[1]]), "disjoint")
        return
    drives_ = rows if kind == "any" else [net.drive(u) for u in rows]
    if theorem == "two-fixed-points":
        demand(isinstance(parts[0], list) and len(parts[0]) == 2, "two balls")
        demand(apart([ball(net, part, drives_) for part in parts[0]]), "disjoint")
        return
    held_ = ball(net, parts[0], drives_)
    k = len(held_.centre)
    P, R, v = matrix(parts[1], k, k), matrix(parts[2], k, k), vector(parts[3], k)
    demand(transposed(P) == P, "P must be symmetric")
    demand(dot(v, apply(P, v)) < 0, "v'Pv < 0")
    demand(stein(held_, P, R), "P - J'PJ")


def local(document: Any, net: Net) -> None:
    if document["theorem"] == "contracting-tube":
        tube(document, net)
        return
    claim, responses = keys(document["claim"], "inputs", "responses")
    kind, us = inputs(claim, net.m)
    demand(kind != "any", "bounded inputs")
    (parts,) = keys(document["witness"], "balls")
    demand(isinstance(parts, list) and len(parts) == natural(responses, 1, 10**6), "responses")
    demand(all_apart([attracting_ball(net, part, net.drives(us)) for part in parts]), "disjoint")


def examine(document: Any, folder: Path | None) -> str:
    demand(isinstance(document, dict), "object")
    demand(document.get("format") == "esntools-certificate", "format")
    natural(document.get("version"), 2, 2)
    verdict, theorem = document.get("verdict"), document.get("theorem")
    demand(isinstance(verdict, str) and verdict in SOURCES and isinstance(theorem, str), "verdict")
    source = SOURCES[verdict].get(theorem)
    demand(source is not None and document.get("source") == source, "theorem, source")
    top = ("format", "version", "verdict", "theorem", "source", "network", "assumes", "claim", "witness")
    keys(document, *top, "notes", *(("slopes",) if verdict == "proved" else ()))
    demand(isinstance(document["notes"], dict), "notes")
    net = Net(document["network"], folder)
    assumes = document["assumes"]
    demand((assumes is None) == net.known, "an assumption exactly for unknown activations")
    part = document.get("slopes")
    demand(net.known or (isinstance(part, dict) and part.get("range") == "global"), "only global slopes")
    {"proved": proved, "refuted": refuted, "local": local}[verdict](document, net)
    return "valid" if assumes is None else "assumption"


def naive_outcome(document: Any, folder: Path | None = None) -> str:
    """`valid`, `assumption` or the reason against a certificate whose network file stands in `folder`."""
    try:
        return examine(document, folder)
    except Rejected as reason:
        return f"rejected: {reason}"


def naive_check(document: Any, folder: Path | None = None) -> bool:
    """Whether the certificate is valid by FORMAT.md, perhaps under the assumption that it states."""
    return not naive_outcome(document, folder).startswith("rejected")


def naive_check_file(path: Path) -> str:
    """The outcome for a file."""
    try:
        return examine(load(path), path.parent)
    except Rejected as reason:
        return f"rejected: {reason}"
