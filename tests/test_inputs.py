"""Input classes: what they hold, what they refuse, how they are written down."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import arrays

from esntools.errors import InvalidInputError
from esntools.inputs import AnyInput, Constant, InputAlphabet, InputBox, InputSignal, Zero


@given(arrays((2, 3)))
@settings(deadline=None)
def test_a_box_holds_its_ends_and_refuses_them_swapped(ends: np.ndarray) -> None:
    low, high = ends.min(axis=0), ends.max(axis=0)
    box = InputBox(low, high)
    np.testing.assert_array_equal(box.low, low)
    np.testing.assert_array_equal(box.high, high)
    if np.any(low < high):
        with pytest.raises(InvalidInputError, match="low must not exceed high"):
            InputBox(high, low)


def test_one_end_holds_for_every_component() -> None:
    np.testing.assert_array_equal(InputBox(-1, [1, 2]).low, [-1.0, -1.0])
    np.testing.assert_array_equal(InputBox([-1, -2], 0.5).high, [0.5, 0.5])
    assert InputBox(-1, 1).low.shape == (1,)


@given(arrays((5, 2)))
@settings(deadline=None)
def test_the_hull_is_the_smallest_box(u: np.ndarray) -> None:
    for hull in (InputSignal(u).hull(), InputAlphabet(u).hull()):
        np.testing.assert_array_equal(hull.low, u.min(axis=0))
        np.testing.assert_array_equal(hull.high, u.max(axis=0))


def test_a_flat_series_is_one_input() -> None:
    assert InputSignal([0.0, 1.0, 2.0]).u.shape == (3, 1)
    assert InputAlphabet([0.0, 1.0]).symbols.shape == (2, 1)


DOCUMENTS = [
    (Zero(), {"kind": "zero"}),
    (AnyInput(), {"kind": "any"}),
    (Constant([0.5, -1]), {"kind": "constant", "c": [0.5, -1.0]}),
    (InputBox(-1, [1, 2]), {"kind": "box", "low": [-1.0, -1.0], "high": [1.0, 2.0]}),
    (InputSignal([[0.1], [0.2]]), {"kind": "signal", "u": [[0.1], [0.2]]}),
    (InputAlphabet([[0, 1], [1, 0]]), {"kind": "alphabet", "symbols": [[0.0, 1.0], [1.0, 0.0]]}),
]


@pytest.mark.parametrize(("inputs", "document"), DOCUMENTS)
def test_a_document_is_json_and_keeps_every_digit(inputs: object, document: dict) -> None:
    assert json.loads(json.dumps(inputs.to_document(), allow_nan=False)) == document


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_constant_keeps_every_digit(c: float) -> None:
    assert json.loads(json.dumps(Constant(c).to_document()))["c"] == [c]


def test_arrays_are_copied_and_read_only() -> None:
    u = np.zeros((4, 1))
    signal = InputSignal(u)
    u[0] = 1.0
    assert not np.any(signal.u)
    for array in (
        signal.u,
        InputBox(0, 1).low,
        InputBox(0, [1, 2]).low,
        Constant(0).c,
        InputAlphabet([0]).symbols,
    ):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0
    with pytest.raises(FrozenInstanceError):
        signal.u = u


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: InputBox(1, -1), r"^InputBox\[0\]: \[1\.0, -1\.0\].*swap"),
        (lambda: InputBox([0, 3], [1, 2]), r"^InputBox\[1\]"),
        (lambda: InputBox(0, math.inf), r"^InputBox\.high\[0\]: inf; every entry must be finite"),
        (lambda: InputBox(math.nan, 0), r"^InputBox\.low\[0\]: nan"),
        (lambda: InputBox([[0]], [[1]]), r"^InputBox\.low: shape"),
        (lambda: InputBox([0, 0], [1, 1, 1]), "2 lower and 3 upper ends"),
        (lambda: InputBox("a", 1), r"^InputBox\.low: .*real numbers"),
        (lambda: InputBox(None, 1), r"^InputBox\.low: .*real numbers"),
        (lambda: InputBox(0, 1j), r"^InputBox\.high: .*real numbers"),
        (lambda: Constant([[1.0]]), r"^Constant\.c: shape"),
        (lambda: Constant(math.nan), r"^Constant\.c\[0\]: nan"),
        (lambda: Constant([[1.0], [1.0, 2.0]]), r"^Constant\.c: a ragged list"),
        (lambda: InputSignal([]), r"^InputSignal\.u: shape \(0, 1\)"),
        (lambda: InputSignal(0.5), r"^InputSignal\.u: shape \(\)"),
        (lambda: InputSignal(np.zeros((2, 2, 2))), r"^InputSignal\.u: shape"),
        (lambda: InputSignal([[0.0], [math.nan]]), r"^InputSignal\.u\[1, 0\]: nan"),
        (lambda: InputSignal(["a", "b"]), r"^InputSignal\.u: .*real numbers"),
        (lambda: InputAlphabet([[0.0], [0.0, 1.0]]), r"^InputAlphabet\.symbols: a ragged list"),
    ],
)
def test_what_is_not_an_input_is_refused(make: object, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make()
