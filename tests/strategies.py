"""Hypothesis strategies for networks: every combination of what `EchoStateNetwork` can hold."""

from __future__ import annotations

from typing import Any

import hypothesis.extra.numpy
import numpy as np
import scipy.sparse
from hypothesis import strategies as st

from esntools.activations import ACTIVATIONS
from esntools.network import EchoStateNetwork, Readout

#: Numbers small enough that no formula overflows, with zeros, subnormals and exact halves among them.
weights = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 5e-324, 1e-17, 3.0]),
    st.floats(-3.0, 3.0, allow_subnormal=True),
)
leak_rates = st.one_of(st.just(1.0), st.floats(1e-3, 1.0))


def arrays(shape: tuple[int, ...], elements: st.SearchStrategy[float] = weights) -> st.SearchStrategy[Any]:
    return hypothesis.extra.numpy.arrays(np.float64, shape, elements=elements)


@st.composite
def networks(
    draw: st.DrawFn,
    *,
    max_units: int = 5,
    max_inputs: int = 3,
    max_outputs: int = 3,
    readout: bool | None = None,
    squares: bool | None = None,
    feedback: bool | None = None,
    same_width: bool = False,
    activations: tuple[str, ...] = tuple(sorted(ACTIVATIONS)),
) -> EchoStateNetwork:
    """Networks; options that are None are drawn, and `same_width` makes n_outputs = n_inputs."""
    n = draw(st.integers(1, max_units))
    m = draw(st.integers(1 if same_width else 0, max_inputs))
    W = draw(arrays((n, n)))
    if draw(st.booleans()):
        W = draw(st.sampled_from([scipy.sparse.csr_array, scipy.sparse.csc_array, scipy.sparse.coo_array]))(W)
    psi, W_fb = None, None
    if draw(st.booleans()) if readout is None else readout:
        d = m if same_width else draw(st.integers(1, max_outputs))
        has_squares = draw(st.booleans()) if squares is None else squares
        psi = Readout(draw(arrays((d, n))), draw(arrays((d, n))) if has_squares else None, draw(arrays((d,))))
        if draw(st.booleans()) if feedback is None else feedback:
            W_fb = draw(arrays((n, d)))
    return EchoStateNetwork(
        W,
        W_in=draw(arrays((n, m))),
        b=draw(st.one_of(weights, arrays((n,)))),
        leak_rate=draw(st.one_of(leak_rates, arrays((n,), leak_rates))),
        activation=draw(st.sampled_from(activations)),
        readout=psi,
        W_fb=W_fb,
    )


@st.composite
def networks_at(draw: st.DrawFn, **options: Any) -> tuple[EchoStateNetwork, Any, Any]:
    """A network with one state and one input of it."""
    network = draw(networks(**options))
    return network, draw(arrays((network.n_units,))), draw(arrays((network.n_inputs,)))
