"""Recurrent weights with a property that holds by construction: orthogonal, of given norm, a ring, a line."""

from __future__ import annotations

import numpy as np
import scipy.sparse

from esntools._typing import FloatArray, RandomState
from esntools.arguments import real_number, seeded, whole_number
from esntools.errors import InvalidInputError

__all__ = ["delay_line_weights", "norm_constrained_weights", "orthogonal_weights", "ring_weights"]


def _checked_size(n_units: int) -> int:
    return whole_number(n_units, "n_units")


def _checked_gain(gain: float, place: str) -> float:
    gain = real_number(gain, place)
    if gain < 0.0:
        raise InvalidInputError(place, str(gain), "must be finite and not negative")
    return gain


def _haar(n: int, rng: np.random.Generator) -> FloatArray:
    Q, R = np.linalg.qr(rng.standard_normal((n, n)))
    # Without the signs of diag(R) the factor Q is not uniform: LAPACK's convention shows through.
    return np.asarray(Q * np.where(np.diag(R) < 0.0, -1.0, 1.0))


def orthogonal_weights(n_units: int, *, gain: float = 1.0, rng: RandomState = None) -> FloatArray:
    r"""Draw W = g Q with Q orthogonal, uniform in the Haar measure.

    Every singular value of W is g, every eigenvalue has modulus g, so that the linear map neither mixes time
    scales nor, at g = 1, lets a gradient vanish or explode.

    Parameters
    ----------
    n_units : int
    gain : float, optional
        g >= 0. Default 1.
    rng : int, Generator or None

    Returns
    -------
    ndarray, shape (n_units, n_units)

    Raises
    ------
    InvalidInputError
        When a number is out of its range.

    Examples
    --------
    >>> W = orthogonal_weights(50, gain=0.9, rng=1)
    >>> np.allclose(W.T @ W, 0.81 * np.eye(50))
    True

    References
    ----------
    F. Mezzadri, Notices of the AMS 54 (2007) 592 (the factor of a Gaussian matrix, with its signs);
    O. L. White, D. D. Lee, H. Sompolinsky, Phys. Rev. Lett. 92 (2004) 148102,
    doi:10.1103/PhysRevLett.92.148102 (orthogonal networks and memory).
    """
    n = _checked_size(n_units)
    return _checked_gain(gain, "gain") * _haar(n, seeded(rng))


def norm_constrained_weights(
    n_units: int,
    *,
    norm: float = 0.99,
    decay: float = 1.0,
    symmetric: bool = False,
    rng: RandomState = None,
) -> FloatArray:
    r"""Draw W with a prescribed spectral norm and spread of singular values.

    .. math:: W = U \,\mathrm{diag}(\sigma)\, V^\mathsf{T}, \qquad
              \sigma_i = \text{norm} \cdot \text{decay}^{(i-1)/(n-1)},

    U and V independent and uniform in the Haar measure (V = U D with random signs D when `symmetric`). With
    slopes of phi in [0, 1] and leak rate 1, the norm is a Lipschitz constant of the map: below 1 the network
    forgets its initial state under every input.

    Parameters
    ----------
    n_units : int
    norm : float, optional
        The largest singular value. Default 0.99.
    decay : float, optional
        Ratio of the smallest to the largest singular value, 0 < decay <= 1. Default 1.
    symmetric : bool, optional
        Whether W equals its transpose: then all eigenvalues are real. Default False.
    rng : int, Generator or None

    Returns
    -------
    ndarray, shape (n_units, n_units)

    Raises
    ------
    InvalidInputError
        When a number is out of its range.

    Examples
    --------
    >>> W = norm_constrained_weights(30, norm=0.9, decay=0.1, rng=1)
    >>> singular = np.linalg.svd(W, compute_uv=False)
    >>> singular[[0, -1]].round(6)
    array([0.9 , 0.09])

    References
    ----------
    M. Buehner, P. Young, IEEE Trans. Neural Networks 17 (2006) 820, doi:10.1109/TNN.2006.872357 (norms and
    the echo state property).
    """
    n = _checked_size(n_units)
    norm = _checked_gain(norm, "norm")
    if not 0.0 < real_number(decay, "decay") <= 1.0:
        raise InvalidInputError("decay", str(decay), "must lie in (0, 1]")
    generator = seeded(rng)
    sigma = norm * decay ** (np.arange(n) / max(n - 1, 1))
    U = _haar(n, generator)
    if not symmetric:
        return np.asarray((U * sigma) @ _haar(n, generator))
    W = (U * (sigma * generator.choice([-1.0, 1.0], n))) @ U.T
    # The product is symmetric up to rounding only.
    return np.asarray(0.5 * (W + W.T))


def ring_weights(n_units: int, *, gain: float = 0.9) -> scipy.sparse.csr_array:
    r"""Return the simple cycle reservoir: unit i hears unit i - 1 with weight g, the first hears the last.

    Its eigenvalues are :math:`g\,e^{2\pi i k/n}`; as a matrix it is g times a permutation.

    Parameters
    ----------
    n_units : int
    gain : float, optional
        g >= 0. Default 0.9.

    Returns
    -------
    csr_array, shape (n_units, n_units)

    Examples
    --------
    >>> ring_weights(3, gain=0.5).toarray()
    array([[0. , 0. , 0.5],
           [0.5, 0. , 0. ],
           [0. , 0.5, 0. ]])

    References
    ----------
    A. Rodan, P. Tino, IEEE Trans. Neural Networks 22 (2011) 131, doi:10.1109/TNN.2010.2089641.
    """
    n = _checked_size(n_units)
    weights = np.full(n, _checked_gain(gain, "gain"))
    return scipy.sparse.csr_array((weights, (np.arange(n), np.arange(-1, n - 1) % n)), shape=(n, n))


def delay_line_weights(n_units: int, *, gain: float = 1.0) -> scipy.sparse.csr_array:
    r"""Return the delay line: unit i hears unit i - 1 with weight g, the first hears none.

    W is nilpotent, so a network with leak rate 1 has the echo state property for every g, and a linear one
    remembers exactly its last n inputs when the input enters at the first unit.

    Parameters
    ----------
    n_units : int
    gain : float, optional
        g >= 0. Default 1.

    Returns
    -------
    csr_array, shape (n_units, n_units)

    Examples
    --------
    >>> W = delay_line_weights(4).toarray()
    >>> int(np.linalg.matrix_power(W, 3).sum()), int(np.linalg.matrix_power(W, 4).sum())
    (1, 0)
    """
    n = _checked_size(n_units)
    weights = np.full(n - 1, _checked_gain(gain, "gain"))
    return scipy.sparse.csr_array((weights, (np.arange(1, n), np.arange(n - 1))), shape=(n, n))
