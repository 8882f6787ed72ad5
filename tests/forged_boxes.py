"""Wrong certificates about boxes of states, washouts, secants and zero input."""

from __future__ import annotations

from typing import Any

import numpy as np
from certificate_pieces import (
    ANY,
    ZERO,
    Document,
    Network,
    alphabet,
    array,
    ball,
    box,
    constant,
    multipliers,
    number,
    proved,
    washout,
)
from forged_certificates import Forged, changed, entries, times


def boxes(v: dict[str, Document]) -> Forged:
    forged = Forged()
    add = forged.add
    tanh, letters, secant = v["box-tanh-washout"], v["alphabet-tanh"], v["secant-tanh-washout"]
    add("box-slopes-too-narrow", "steeper slopes are met", changed(tanh, ("slopes.high", times(2.0**-7))))
    add("box-too-few-steps", "the first box meets the slope 1", changed(tanh, ("slopes.steps", 0)))
    add("box-steps-too-many", "at most 1000 steps", changed(tanh, ("slopes.steps", 1001)))
    add("box-steps-negative", "steps are counted", changed(tanh, ("slopes.steps", -1)))
    add(
        "box-inputs-wider",
        "at u = -1.5 there are two responses",
        changed(tanh, ("claim.inputs", box([-1.5], [0.5]))),
    )
    add("box-inputs-inverted", "low exceeds high", changed(tanh, ("claim.inputs", box([0.5], [0.0]))))
    add("box-any-input", "a box needs bounded inputs", changed(tanh, ("claim.inputs", ANY)))
    add("box-all-states", "a box starts from the values of phi", changed(tanh, ("claim.states", "all")))
    add(
        "alphabet-another-letter",
        "one symbol leaves the slopes",
        changed(letters, ("claim.inputs", alphabet([[0.0], [-1.5]]))),
    )
    add(
        "alphabet-empty",
        "at least one symbol",
        changed(letters, ("claim.inputs", alphabet(np.zeros((0, 1))))),
    )
    relu = proved(
        Network([[0.5]], phi="relu"),
        "perron-weights",
        0.75,
        0,
        1,
        {"weights": array([1.0])},
        inputs=ZERO,
        range="box",
        steps=0,
    )
    add("box-of-the-rectifier", "a box needs a bounded activation", relu)
    add("washout-too-early", "not forgotten yet at step 24", changed(tanh, ("claim.washout.steps", 24)))
    add(
        "washout-before-the-box",
        "the contraction starts at step 8",
        changed(tanh, ("claim.washout", washout(2.0, 4.0, 7))),
    )
    add(
        "washout-spread-below-the-box",
        "the box of values is 2 wide",
        changed(tanh, ("claim.washout.spread", number(1.0))),
    )
    add("washout-epsilon-zero", "epsilon > 0", changed(tanh, ("claim.washout.epsilon", number(0.0))))
    add(
        "washout-steps-true",
        "true is not an integer",
        changed(
            v["perron-logistic-washout"],
            ("claim.washout", washout(2.0**-10, 1.0, 1)),
            ("claim.washout.steps", True),
        ),
    )
    add(
        "secant-slopes-too-narrow", "the chord to 0 is steeper", changed(secant, ("slopes.high", times(0.75)))
    )
    add(
        "secant-lower-slope-too-high",
        "the slope at the fixed point is 0.01",
        changed(secant, ("slopes.low", array([0.0625])), ("claim.washout", None)),
    )
    add(
        "secant-ball-elsewhere",
        "no fixed point in the ball",
        changed(secant, ("slopes.ball.centre", times(0.875)), ("claim.washout", None)),
    )
    add(
        "secant-for-an-alphabet",
        "secants need one constant input",
        changed(secant, ("claim.inputs", alphabet(np.zeros((1, 0))))),
    )
    # tanh(2 x): the chord from one well to the other has exactly the slope that keeps both.
    wells = Network([[2.0]])
    held = ball(wells, [1.0], [wells.drive([])], 2.0**-12)
    kept: dict[str, Any] = {"inputs": ZERO, "range": "secant", "steps": 0, "ball": held}
    unit = {"weights": array([1.0])}
    add(
        "secant-two-wells",
        "the other well is a fixed point too",
        proved(wells, "perron-weights", 0.9921875, 0.0, 0.49609375, unit, **kept),
    )
    # One factor 1/2 early: two states that approach x* from both sides may be twice as far apart.
    single = Network([[0.5]])
    halves = {**proved(single, "perron-weights", 0.5, 0, 1, unit), "notes": {}}
    held = ball(single, [0.0], [single.drive([])], 2.0**-12)
    secants = {"range": "secant", "steps": 0, "low": array([0.0]), "high": array([1.0]), "ball": held}
    add(
        "washout-secant-once",
        "two states about a fixed point are up to twice the distance apart",
        changed(
            halves,
            ("slopes", secants),
            ("claim.inputs", ZERO),
            ("claim.states", "box"),
            ("claim.washout", washout(2.0, 2**-10, 11)),
        ),
    )
    odd, soft = v["odd-tanh-washout"], v["odd-softsign-feedback"]
    W = entries(odd["network"]["W"])
    P, Q = np.eye(3), entries(odd["witness"]["Q"])
    net = Network(W, b=[0.0, 2.0**-40, 0.0])
    same: dict[str, Any] = {"inputs": ZERO, "range": "odd"}
    witness = multipliers(net, P, Q, 1.0, 0.96875)
    add(
        "odd-with-bias",
        "the bias is not zero",
        proved(net, "zero-input-multipliers", 0.96875, 0, 1, witness, **same),
    )
    for name, phi in (
        ("sine", "sine"),
        ("logistic", "logistic"),
        ("rectifier", "relu"),
        ("unknown", "arctan"),
    ):
        net = Network(W, phi=phi)
        add(
            f"odd-{name}",
            f"{name}: not known as odd and nondecreasing",
            proved(net, "zero-input-multipliers", 0.96875, 0, 1, witness, **same),
        )
    add("odd-under-any-input", "only at input zero", changed(odd, ("claim.inputs", ANY)))
    add(
        "odd-under-constant-zero",
        "only at input zero, which is said so",
        changed(odd, ("claim.inputs", constant(np.zeros(0)))),
    )
    add(
        "odd-incremental",
        "these multipliers prove nothing about differences",
        changed(odd, ("slopes.range", "global"), ("claim.inputs", ANY)),
    )
    add(
        "odd-range-for-another-theorem",
        "odd belongs to zero-input-multipliers",
        proved(single, "perron-weights", 0.5, 0, 1, unit, **same),
    )
    add(
        "odd-uneven-slopes",
        "one upper slope for all units",
        changed(odd, ("slopes.high", array([1.0, 1.0, 1.0625]))),
    )
    add(
        "odd-upper-slope-too-small", "softsign has the slope 1", changed(soft, ("slopes.high", times(0.9375)))
    )
    add("odd-lower-slope", "low is 0", changed(odd, ("slopes.low", array([-0.5] * 3))))
    # The matrix test passes; only the dominance of rows, or of columns, fails.
    calm = Network(0.125 * W)
    lopsided = np.array([[1.0, 0.9375, 0.0], [0.0, 1.0, 0.0], [0.0, 0.125, 1.0]])
    for side, M in (("columns", lopsided), ("rows", lopsided.T)):
        witness = multipliers(calm, 0.25 * P, M, 1.0, 0.96875)
        add(
            f"odd-multiplier-{side}",
            f"the {side} of Q do not dominate",
            proved(calm, "zero-input-multipliers", 0.96875, 0, 1, witness, **same),
        )
    add(
        "odd-washout-once",
        "two states may have opposite signs",
        changed(odd, ("claim.washout", washout(1.0, 1.96875 * 0.96875**100, 100))),
    )
    return forged
