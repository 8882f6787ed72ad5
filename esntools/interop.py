"""ReservoirPy in both directions: the only file that knows ReservoirPy's attributes.

Networks are drawn with ReservoirPy's initialisers, read from its models, and given back as its models. Its
`Reservoir.step` and its linear readouts are the map of `EchoStateNetwork`; whatever is not is refused by name.
"""

from __future__ import annotations

import math
from typing import Any, Final, Never

import numpy as np
import scipy.sparse
import scipy.special
from numpy.typing import ArrayLike
from reservoirpy import mat_gen
from scipy.sparse.csgraph import connected_components

from esntools._typing import RandomState
from esntools.activations import Activation
from esntools.errors import InvalidInputError, nearest_name
from esntools.network import EchoStateNetwork, WeightMatrix

__all__ = ["from_reservoirpy", "reservoir_weights", "to_reservoirpy"]

# -- drawing ----------------------------------------------------------------------------------------------

_DRAWS: Final = 100
_OPTIONS: Final = (
    "activation", "bias_scaling", "connectivity", "input_connectivity", "input_scaling", "leak_rate",
    "n_inputs", "n_units", "seed", "spectral_radius",
)  # fmt: skip
_RESERVOIRPY_OPTIONS: Final = {
    "bias": "bias_scaling",
    "input_dim": "n_inputs",
    "lr": "leak_rate",
    "rc_connectivity": "connectivity",
    "sr": "spectral_radius",
    "units": "n_units",
}


def _count(value: int, place: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise InvalidInputError(place, repr(value), f"must be a whole number, at least {least}")
    return int(value)


def _number(value: float, place: str, rule: str, low: float, high: float, *, open_low: bool = False) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not low <= number <= high or not math.isfinite(number) or (open_low and number == low):
        raise InvalidInputError(place, repr(value), rule)
    return number


def _draw_recurrent(n: int, connectivity: float, rng: np.random.Generator) -> tuple[WeightMatrix, float]:
    """Return a matrix with entries uniform in (-1, 1) and its spectral radius, redrawn while degenerate."""
    # What the circular law predicts for variance 1/3 and this in-degree.
    expected = math.sqrt(max(connectivity * n, 1.0) / 3.0)
    for _ in range(_DRAWS):
        W = mat_gen.uniform(n, n, connectivity=connectivity, seed=rng)
        # A graph without a directed cycle is nilpotent: its radius is exactly 0, whatever LAPACK says.
        n_components, _labels = connected_components(W != 0, directed=True, connection="strong")
        if n_components == n and not np.any(W.diagonal()):
            continue
        radius = EchoStateNetwork(W).spectral_radius()
        if radius >= 0.25 * expected:
            return W, radius
    raise InvalidInputError(
        "connectivity", repr(connectivity),
        f"{_DRAWS} draws with {n} units had (nearly) no directed cycle, so no spectral radius can be set",
        f"use at least {min(1.0, 3.0 / n):.3g}",
    )  # fmt: skip


def reservoir_weights(
    n_units: int,
    n_inputs: int,
    *,
    spectral_radius: float = 0.9,
    input_scaling: float | ArrayLike = 1.0,
    bias_scaling: float = 0.5,
    connectivity: float | None = None,
    input_connectivity: float = 1.0,
    leak_rate: float | ArrayLike = 1.0,
    activation: str | Activation = "tanh",
    seed: RandomState = None,
    **unknown: Never,
) -> EchoStateNetwork:
    r"""Draw a reservoir with ReservoirPy's initialisers: a network without readout.

    .. math::

        W = \rho\, W_0 / \rho(W_0), \quad W_\mathrm{in} = W_1\, \mathrm{diag}(\sigma), \quad b = \beta\, w_2,

    where the nonzero entries of :math:`W_0, W_1, w_2` are independent and uniform in (-1, 1)
    (`reservoirpy.mat_gen.uniform`), each from its own stream spawned from `seed`. So the same seed with other
    scalings gives the same network, rescaled.

    Parameters
    ----------
    n_units, n_inputs : int
        At least 1 and 0.
    spectral_radius : float, optional
        rho >= 0. Default 0.9.
    input_scaling : float or array_like, shape (n_inputs,), optional
        sigma, one for all inputs or one each. Default 1.
    bias_scaling : float, optional
        beta >= 0. Default 0.5: with ReservoirPy's default of no bias the map is odd, and the attractor of a
        forecast has a mirror image.
    connectivity : float, optional
        Share of nonzero entries of W, in (0, 1]; W is CSR below 1 and dense at 1. Default min(1, 10 / n_units):
        ten incoming weights per unit.
    input_connectivity : float, optional
        Share of nonzero entries of W_in, in (0, 1]. Default 1; with ReservoirPy's default of 0.1 a scalar
        input reaches a tenth of the units.
    leak_rate : float or array_like, shape (n_units,), optional
        In (0, 1]. Default 1.
    activation : str or Activation, optional
        Default ``"tanh"``.
    seed : int, Generator or None, optional
        The network is a function of it.

    Raises
    ------
    InvalidInputError
        When a value is out of range, a keyword is unknown, or `connectivity` is so small that the graph has
        no directed cycle (W is nilpotent; ReservoirPy would divide it by 1e-8).

    Notes
    -----
    The spectral radius is taken from all eigenvalues (LAPACK) for a dense W or up to 500 units, and from the six
    leading ones (implicitly restarted Arnoldi, fixed start vector) otherwise. A draw whose radius is below a
    quarter of the circular law's prediction is drawn again.

    Examples
    --------
    >>> network = reservoir_weights(100, 1, spectral_radius=0.8, seed=1)
    >>> network
    EchoStateNetwork(n_units=100 (CSR, density 0.1), n_inputs=1, n_outputs=0, tanh)
    >>> round(network.spectral_radius(), 12)
    0.8
    """
    for name in unknown:
        known = _RESERVOIRPY_OPTIONS.get(name)
        raise InvalidInputError(
            f"reservoir_weights({name}=...)", repr(unknown[name]), "there is no such option",
            f"did you mean {known!r}?" if known else nearest_name(name, _OPTIONS),
        )  # fmt: skip
    n = _count(n_units, "n_units", 1)
    m = _count(n_inputs, "n_inputs", 0)
    rho = _number(spectral_radius, "spectral_radius", "must be finite and at least 0", 0.0, math.inf)
    beta = _number(bias_scaling, "bias_scaling", "must be finite and at least 0", 0.0, math.inf)
    density = min(1.0, 10.0 / n) if connectivity is None else connectivity
    density = _number(density, "connectivity", "must lie in (0, 1]", 0.0, 1.0, open_low=True)
    input_density = _number(
        input_connectivity, "input_connectivity", "must lie in (0, 1]", 0.0, 1.0, open_low=True
    )
    sigma = np.asarray(input_scaling, dtype=np.float64)
    if sigma.shape not in ((), (m,)) or not np.all(np.isfinite(sigma)):
        raise InvalidInputError("input_scaling", repr(input_scaling), f"must be finite, one number or {m}")

    streams = np.random.default_rng(seed).spawn(3)
    W, radius = _draw_recurrent(n, density, streams[0])
    W_in = np.zeros((n, m))
    if m:
        drawn = mat_gen.uniform(n, m, connectivity=input_density, seed=streams[1])
        W_in = drawn.toarray() if scipy.sparse.issparse(drawn) else drawn
        if not np.any(W_in):
            raise InvalidInputError(
                "input_connectivity", repr(input_connectivity), "leaves no input weight", "use a larger one"
            )  # fmt: skip
    b = mat_gen.uniform(n, seed=streams[2])
    return EchoStateNetwork(
        W * (rho / radius), W_in=W_in * sigma, b=b * beta, leak_rate=leak_rate, activation=activation
    )


def from_reservoirpy(model: Any) -> EchoStateNetwork:
    """Return the network that a ReservoirPy model is."""
    raise NotImplementedError


def to_reservoirpy(network: EchoStateNetwork) -> Any:
    """Return the ReservoirPy model that a network is."""
    raise NotImplementedError
