"""Wrong certificates about fixed points, attracting balls and tubes."""

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
    attracting,
    ball,
    box,
    constant,
    number,
    tube,
)
from forged_certificates import Forged, changed, edited, entries, faster, times


def refutations(v: dict[str, Document]) -> Forged:
    forged = Forged()
    add = forged.add
    two, pair, letters = v["two-box"], v["two-pair-any"], v["two-periodic-alphabet"]
    loose, periodic, wells = v["unstable-skew-leak"], v["unstable-periodic-box"], v["attracting-pair"]
    ball_ = "witness.balls.0"
    add(
        "input-outside-the-box", "0.125 is not in the box", changed(two, ("claim.inputs", box([0.25], [0.5])))
    )
    add(
        "input-not-a-symbol",
        "0.125 is no symbol",
        changed(letters, ("claim.inputs", alphabet([[0.1], [-0.25]]))),
    )
    add(
        "input-of-another-constant",
        "0 is not 0.25",
        changed(v["two-logistic-constant"], ("claim.inputs", constant([0.25]))),
    )
    add("input-not-zero", "the class holds only zero", changed(two, ("claim.inputs", ZERO)))
    add("input-not-constant", "two rows differ", changed(periodic, ("claim.inputs", constant([0.125]))))
    add(
        "input-without-rows",
        "the period is at least 1",
        changed(two, ("witness.input", array(np.zeros((0, 1))))),
    )
    add(
        "input-of-another-width",
        "a drive has two components",
        changed(pair, ("witness.input", array([[0.125]]))),
    )
    add("input-vector", "rows, even for one", changed(two, ("witness.input", array([0.125]))))
    add("input-moved", "no fixed point of this input", changed(two, ("witness.input", array([[0.5]]))))
    add(
        "signal-refuted",
        "a signal is no class of inputs here",
        changed(two, ("claim.inputs", {"kind": "signal", "values": array([[0.125]])})),
    )
    add("balls-the-same", "one fixed point twice", changed(two, ("witness.balls", lambda b: [b[0], b[0]])))
    add(
        "balls-overlap",
        "two balls about one fixed point",
        changed(
            two,
            ("witness.balls", lambda b: [b[0], changed(b[0], ("centre", edited(lambda x: x + 2.0**-10)))]),
        ),
    )
    add("balls-one", "one ball", changed(two, ("witness.balls", lambda b: b[:1])))
    add("balls-three", "exactly two balls", changed(two, ("witness.balls", lambda b: [*b, b[0]])))
    add(
        "ball-radius-too-large",
        "the ball reaches beyond the test",
        changed(two, (f"{ball_}.radius", number(0.75))),
    )
    add(
        "ball-radius-too-small",
        "the fixed point is outside",
        changed(two, (f"{ball_}.radius", number(2.0**-50))),
    )
    add("ball-radius-negative", "0 < radius", changed(two, (f"{ball_}.radius", number(-0.03125))))
    add("ball-radius-two", "radius <= 1", changed(two, (f"{ball_}.radius", number(2.0))))
    add("ball-moved", "no fixed point here", changed(two, (f"{ball_}.fine", array([0.0625]))))
    add("ball-C-zero", "C is not near an inverse", changed(two, (f"{ball_}.C", times(0.0))))
    add("ball-C-negative", "C is not near an inverse", changed(pair, (f"{ball_}.C", times(-1.0))))
    # With one bit more in an input the orbit of the other phase does not belong to it.
    add(
        "phase-of-another-input",
        "a shifted orbit belongs to the shifted input",
        changed(
            letters,
            ("witness.balls", lambda b: [b[0], changed(b[0], ("centre", edited(lambda x: np.roll(x, 1))))]),
        ),
    )
    add(
        "period-too-short",
        "balls of another period",
        changed(letters, ("witness.input", edited(lambda u: u[:2]))),
    )
    add("unstable-v", "v'Pv = 0", changed(loose, ("witness.v", array([0.0, 0.0]))))
    add(
        "unstable-P-asymmetric",
        "P is not symmetric",
        changed(loose, ("witness.P", edited(lambda P: P + np.array([[0, 1], [0, 0]])))),
    )
    add("unstable-P-negative", "v'Pv > 0", changed(loose, ("witness.P", times(-1.0))))
    add(
        "unstable-R-singular",
        "R is singular",
        changed(loose, ("witness.R", edited(lambda R: R * np.array([[1], [0]])))),
    )
    stable = Network([[0.0, -3.0], [3.0, 0.0]], a=0.125)
    witness = {"P": array(-np.eye(2)), "R": array(np.eye(2)), "v": array([1.0, 0.0])}
    add(
        "unstable-but-stable",
        "the origin is stable",
        changed(
            loose,
            ("network", stable.section()),
            ("witness.ball", ball(stable, [0.0, 0.0], [np.zeros(2)], 2.0**-6)),
            ("witness.P", witness["P"]),
            ("witness.R", witness["R"]),
            ("witness.v", witness["v"]),
        ),
    )
    add(
        "unstable-another-period",
        "the input has one phase",
        changed(periodic, ("witness.input", array([[0.0]]))),
    )
    add(
        "attracting-input-outside-the-class",
        "0 is not in the class",
        changed(wells, ("claim.inputs", box([0.25], [0.5]))),
    )
    add(
        "attracting-input-outside-the-balls-inputs",
        "the balls are kept for other inputs",
        changed(wells, ("witness.inputs", box([0.03125], [0.0625]))),
    )
    add(
        "attracting-inputs-too-wide",
        "at u = -1 one well is lost",
        changed(wells, ("witness.inputs", box([-1.0], [0.0]))),
    )
    add("attracting-one-ball", "one ball refutes nothing", changed(wells, ("witness.balls", lambda b: b[:1])))
    add(
        "attracting-two-inputs",
        "one constant input",
        changed(wells, ("witness.input", array([[0.0], [0.0]]))),
    )
    add("attracting-same-ball", "not disjoint", changed(wells, ("witness.balls", lambda b: [b[0], b[0]])))
    add(
        "attracting-pair-local",
        "a witness that refutes is no local one",
        changed(wells, ("verdict", "local")),
    )
    return forged


def locals_(v: dict[str, Document]) -> Forged:
    forged = Forged()
    add = forged.add
    two, four, squares = v["responses-two"], v["responses-four-zero"], v["responses-squares"]
    part = "witness.balls.0"
    add("responses-more-than-balls", "two balls, three responses", changed(two, ("claim.responses", 3)))
    add("responses-none", "at least one", changed(two, ("claim.responses", 0), ("witness.balls", [])))
    add(
        "responses-true",
        "true is not an integer",
        changed(v["responses-one-alphabet"], ("claim.responses", True)),
    )
    add(
        "responses-overlap",
        "two balls that meet",
        changed(two, ("witness.balls", lambda b: [b[0], changed(b[0], ("slopes.fine", array([2.0**-7])))])),
    )
    add("responses-any-input", "no ball is kept for every input", changed(two, ("claim.inputs", ANY)))
    add(
        "responses-wider-inputs",
        "the balls are not kept",
        changed(two, ("claim.inputs", box([-0.75], [0.75]))),
    )
    add(
        "responses-rate-too-good", "no contraction at this rate", changed(two, (f"{part}.rate", faster(0.75)))
    )
    add("responses-rate-one", "rate < 1", changed(two, (f"{part}.rate", number(1.0))))
    add(
        "responses-slopes-too-narrow",
        "steeper slopes are met",
        changed(two, (f"{part}.slopes.high", times(0.25)), (f"{part}.rate", number(0.5))),
    )
    add(
        "responses-radius-too-large",
        "slopes beyond the bounds in the ball",
        changed(two, (f"{part}.slopes.radius", number(0.5))),
    )
    add(
        "responses-radius-too-small",
        "not kept under all inputs",
        changed(two, (f"{part}.slopes.radius", number(2.0**-8))),
    )
    add("responses-radius-zero", "radius > 0", changed(two, (f"{part}.slopes.radius", number(0.0))))
    add(
        "responses-moved",
        "the centre is not near a response",
        changed(two, (f"{part}.slopes.fine", array([-0.25]))),
    )
    add("responses-range", "the range of a ball", changed(two, (f"{part}.slopes.range", "box")))
    add("responses-theorem", "a list is no theorem", changed(two, (f"{part}.theorem", ["perron-weights"])))
    add(
        "responses-four-at-a-drive",
        "the balls are kept at input zero",
        changed(four, ("claim.inputs", constant([1.0, -1.0]))),
    )
    # About the unstable origin of tanh(2 x), whatever the radius.
    origin = attracting(
        "perron-weights", 0.9375, (0.0, 0.46875), np.zeros(1), 2.0**-6, {"weights": array([1.0])}
    )
    add(
        "responses-unstable-origin",
        "the slope at 0 is 1",
        changed(two, ("claim.inputs", ZERO), ("witness.balls.1", origin)),
    )
    add(
        "responses-squares-by-another-norm",
        "with squares only perron-weights",
        changed(
            squares,
            (f"{part}.theorem", "diagonal-schur"),
            (f"{part}.witness", {"weights": array([1.0, 1.0]), "R": array(np.eye(2))}),
        ),
    )
    add(
        "responses-squares-radius",
        "the squares change the weights",
        changed(squares, (f"{part}.slopes.radius", number(2.0**-6))),
    )
    return forged | tubes(v)


def tubes(v: dict[str, Document]) -> Forged:
    forged = Forged()
    add = forged.add
    plain, forgets, entry, boxed = v["tube-tanh"], v["tube-washout"], v["tube-entry"], v["tube-entry-box"]

    def moved(x: Any) -> Any:
        x[5] += [0.0, 0.0078125]
        return x

    add("tube-step-changed", "one state moved", changed(plain, ("witness.states", edited(moved))))
    add(
        "tube-signal-changed",
        "another signal",
        changed(plain, ("claim.inputs.values", edited(lambda u: u + 0.0625))),
    )
    add("tube-state-missing", "T + 1 states", changed(plain, ("witness.states", edited(lambda x: x[:-1]))))
    add(
        "tube-signal-longer",
        "no state for the last input",
        changed(plain, ("claim.inputs.values", edited(lambda u: np.vstack([u, u[:1]])))),
    )
    add("tube-radius-too-large", "starts outside the tube", changed(plain, ("claim.radius", faster(1.25))))
    add("tube-radius-zero", "radius > 0", changed(plain, ("claim.radius", number(0.0))))
    add(
        "tube-too-wide",
        "slopes vary too much",
        changed(plain, ("witness.tube", number(1.0)), ("claim.radius", number(0.25))),
    )
    add(
        "tube-rate-too-good",
        "the radius does not fit to this rate",
        changed(plain, ("claim.rate", number(0.5))),
    )
    add("tube-rate-one", "rate < 1", changed(plain, ("claim.rate", number(1.0))))
    add("tube-other-inputs", "a tube needs a signal", changed(plain, ("claim.inputs", box([-1.0], [1.0]))))
    add(
        "tube-empty-signal",
        "at least one step",
        changed(
            plain,
            ("claim.inputs.values", array(np.zeros((0, 1)))),
            ("witness.states", edited(lambda x: x[:1])),
        ),
    )
    add("tube-washout-too-early", "not forgotten yet", changed(forgets, ("claim.washout.steps", 5)))
    add(
        "tube-washout-after-the-end",
        "nothing is known after the signal",
        changed(forgets, ("claim.washout.steps", 11)),
    )
    add(
        "tube-washout-spread",
        "starts outside the tube",
        changed(forgets, ("claim.washout.spread", number(1.0))),
    )
    add("tube-washout-of-the-box", "without entry", changed(entry, ("witness.entry", None)))
    add("tube-entry-too-early", "not in the tube yet", changed(entry, ("witness.entry.steps", 2)))
    add(
        "tube-entry-after-the-end",
        "the entry is in the signal",
        changed(entry, ("witness.entry.steps", 25), ("claim.washout", None)),
    )
    add(
        "tube-entry-rate",
        "the rate of the proof is not this good",
        changed(entry, ("witness.entry.rate", number(0.5))),
    )
    net = Network([[0.5, 0.25], [-0.25, 0.5]], W_in=[[1.0], [0.5]], a=[1.0, 0.75])
    witness, radius = tube(net, entries(entry["claim"]["inputs"]["values"]), [0.0, 1.5], 0.75, 0.125)
    witness["entry"] = entry["witness"]["entry"]
    add(
        "tube-entry-outside-the-box",
        "the first state is no value of tanh",
        changed(entry, ("witness", witness), ("claim.radius", number(0.9375 * radius))),
    )
    add(
        "tube-entry-slopes",
        "steeper slopes are met",
        changed(boxed, ("witness.entry.slopes.high", array([0.5, 0.5]))),
    )
    add(
        "tube-entry-washout-too-early",
        "the entry is at step 14",
        changed(entry, ("claim.washout.steps", 13), ("claim.washout.epsilon", number(4.0))),
    )
    add(
        "tube-entry-washout-spread",
        "the box of values is 2 wide",
        changed(entry, ("claim.washout.spread", number(1.0))),
    )
    bent = Network([[0.25]], W_in=[[1.0]], W_fb=[[1.0]], W_out=[[0.0]], W_sq=[[0.0]], b_out=[0.0])
    add(
        "tube-with-bend",
        "squares in the feedback, even if zero",
        changed(
            plain,
            ("network", bent.section()),
            ("witness.states", array(np.zeros((11, 1)))),
            ("claim.inputs.values", array(np.zeros((10, 1)))),
        ),
    )
    return forged
