"""The one object: an echo state network as the equation that it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, final

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray

from esntools import files
from esntools._typing import Document, FloatArray
from esntools.activations import Activation
from esntools.errors import EsntoolsError, FileFormatError, InvalidInputError
from esntools.readout import Readout, checked_array

__all__ = ["MODEL_FORMAT", "MODEL_VERSION", "EchoStateNetwork", "Readout", "WeightMatrix"]

MODEL_FORMAT: Final = "esntools-model"
MODEL_VERSION: Final = 1

WeightMatrix: TypeAlias = FloatArray | scipy.sparse.csr_array


def _checked_recurrent(value: Any) -> WeightMatrix:
    if not scipy.sparse.issparse(value):
        array = checked_array(value, "W", (None, None), "(n_units, n_units)")
        if array.shape[0] != array.shape[1] or array.shape[0] == 0:
            raise InvalidInputError("W", f"shape {array.shape}", "must be square with at least one unit")
        return array
    if value.dtype.kind not in "biuf":
        raise InvalidInputError("W", f"dtype {value.dtype}", "must be an array of real numbers")
    matrix = scipy.sparse.csr_array(value, dtype=np.float64, copy=True)
    try:
        # An index out of range would make compiled code read outside the array.
        matrix.check_format(full_check=True)
    except ValueError as error:
        raise InvalidInputError("W", str(error), "must be a valid sparse array") from None
    if matrix.shape[0] != matrix.shape[1] or matrix.shape[0] == 0:
        raise InvalidInputError("W", f"shape {matrix.shape}", "must be square with at least one unit")
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    matrix.sort_indices()
    if not np.all(np.isfinite(matrix.data)):
        raise InvalidInputError("W", "a stored entry is NaN or infinite", "every weight must be finite")
    for part in (matrix.data, matrix.indices, matrix.indptr):
        part.setflags(write=False)
    return matrix


@final
@dataclass(frozen=True, eq=False, repr=False)
class EchoStateNetwork:
    r"""An echo state network, as the map

    .. math::

        x_{k+1} &= (1 - a) \circ x_k
            + a \circ \varphi\bigl(W x_k + W_\mathrm{in} u_{k+1} + W_\mathrm{fb}\, \psi(x_k) + b\bigr), \\
        y_k &= \psi(x_k).

    A frozen value: arrays are checked once, copied, and read-only. It has no state; trajectories have states.

    Parameters
    ----------
    W : array_like or sparse array, shape (n_units, n_units)
        Recurrent weights. Sparse stays sparse (CSR), dense stays dense.
    W_in : array_like, shape (n_units, n_inputs), optional
        Input weights; no inputs by default.
    b : array_like, shape () or (n_units,), optional
        Bias, zero by default.
    leak_rate : float or array_like, shape (n_units,), optional
        The leak rate a, one for all units or one each, 0 < a <= 1. Default 1.
    activation : str or Activation, optional
        phi; ``"tanh"`` by default.
    readout : Readout, optional
        psi; none by default.
    W_fb : array_like, shape (n_units, n_outputs), optional
        Feedback weights; they need a readout. No feedback by default.

    Raises
    ------
    InvalidInputError
        When a shape does not fit, a weight is not finite, or a leak rate is outside (0, 1].

    Examples
    --------
    >>> network = EchoStateNetwork([[0.5]], W_in=[[1.0]], leak_rate=0.5)
    >>> network.step(np.array([0.0]), np.array([1.0])).round(6)
    array([0.380797])

    References
    ----------
    H. Jaeger, "The 'echo state' approach to analysing and training recurrent neural networks", GMD Report 148
    (2001), eq. (1.5); leaky form: H. Jaeger, M. Lukosevicius, D. Popovici, U. Siewert, Neural Networks 20
    (2007) 335, doi:10.1016/j.neunet.2007.04.016, eq. (2).
    """

    W: WeightMatrix
    W_in: FloatArray = None  # type: ignore[assignment]
    b: FloatArray = 0.0  # type: ignore[assignment]
    leak_rate: FloatArray = 1.0  # type: ignore[assignment]
    activation: Activation = "tanh"  # type: ignore[assignment]
    readout: Readout | None = None
    W_fb: FloatArray | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            W: Any,
            W_in: ArrayLike | None = None,
            b: ArrayLike = 0.0,
            leak_rate: ArrayLike = 1.0,
            activation: str | Activation = "tanh",
            readout: Readout | None = None,
            W_fb: ArrayLike | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        W = _checked_recurrent(self.W)
        n = int(W.shape[0])
        W_in = np.zeros((n, 0)) if self.W_in is None else self.W_in
        b = [self.b] * n if np.ndim(self.b) == 0 else self.b
        a = [self.leak_rate] * n if np.ndim(self.leak_rate) == 0 else self.leak_rate
        a = checked_array(a, "leak_rate", (n,), "() or (n_units,)")
        outside = np.flatnonzero((a <= 0.0) | (a > 1.0))
        if len(outside):
            i = int(outside[0])
            raise InvalidInputError(f"leak_rate[{i}]", str(a[i]), "must lie in (0, 1]")
        phi = Activation.named(self.activation) if isinstance(self.activation, str) else self.activation
        if not isinstance(phi, Activation):
            raise InvalidInputError(
                "activation",
                type(phi).__name__,
                "must be a name or an Activation",
                "see Activation.from_sympy",
            )
        if self.readout is not None and self.readout.n_units != n:
            raise InvalidInputError(
                "readout", f"{self.readout.n_units} units", f"must read the network's {n} units"
            )
        if self.W_fb is not None:
            if self.readout is None:
                raise InvalidInputError("W_fb", "given without a readout", "feedback needs a readout")
            W_fb = checked_array(self.W_fb, "W_fb", (n, self.readout.n_outputs), "(n_units, n_outputs)")
            object.__setattr__(self, "W_fb", W_fb if np.any(W_fb) else None)
        object.__setattr__(self, "W", W)
        object.__setattr__(self, "W_in", checked_array(W_in, "W_in", (n, None), "(n_units, n_inputs)"))
        object.__setattr__(self, "b", checked_array(b, "b", (n,), "() or (n_units,)"))
        object.__setattr__(self, "leak_rate", a)
        object.__setattr__(self, "activation", phi)

    def __repr__(self) -> str:
        W = "dense" if isinstance(self.W, np.ndarray) else f"CSR, density {self.W.nnz / self.n_units**2:.3g}"
        feedback = ", feedback" if self.W_fb is not None else ""
        return (
            f"EchoStateNetwork(n_units={self.n_units} ({W}), n_inputs={self.n_inputs}, "
            f"n_outputs={self.n_outputs}, {self.activation.name}{feedback})"
        )

    # -- shape -------------------------------------------------------------------------------------------

    @property
    def n_units(self) -> int:
        return int(self.W.shape[0])

    @property
    def n_inputs(self) -> int:
        return int(self.W_in.shape[1])

    @property
    def n_outputs(self) -> int:
        return 0 if self.readout is None else self.readout.n_outputs

    @property
    def is_sparse(self) -> bool:
        return not isinstance(self.W, np.ndarray)

    @property
    def uniform_leak_rate(self) -> float | None:
        """The leak rate when all units share it, else None."""
        a = self.leak_rate
        return float(a[0]) if np.all(a == a[0]) else None

    def dense_W(self) -> FloatArray:
        """Return W as a dense array."""
        return self.W if isinstance(self.W, np.ndarray) else np.asarray(self.W.toarray())

    # -- the mathematics ---------------------------------------------------------------------------------

    def _input(self, u: ArrayLike | None, batch: tuple[int, ...]) -> FloatArray:
        if u is None:
            if self.n_inputs:
                raise InvalidInputError(
                    "u",
                    "None",
                    f"the network has {self.n_inputs} inputs",
                    "pass u, or use at_input or closed_loop",
                )
            return np.zeros((*batch, 0))
        u = np.asarray(u, dtype=np.float64)
        if u.ndim == 0 or u.shape[-1] != self.n_inputs:
            raise InvalidInputError(
                "u", f"shape {u.shape}", f"the last axis must be n_inputs = {self.n_inputs}"
            )
        return u

    def preactivation(self, x: ArrayLike, u: ArrayLike | None = None) -> FloatArray:
        """Return z = W x + W_in u + W_fb psi(x) + b for states (..., n_units) and inputs (..., n_inputs)."""
        x = np.asarray(x, dtype=np.float64)
        if x.ndim == 0 or x.shape[-1] != self.n_units:
            raise InvalidInputError(
                "x", f"shape {x.shape}", f"the last axis must be n_units = {self.n_units}"
            )
        if isinstance(self.W, np.ndarray):
            recurrent = x @ self.W.T
        else:
            recurrent = (self.W @ x.reshape(-1, self.n_units).T).T.reshape(x.shape)
        z = recurrent + self._input(u, x.shape[:-1]) @ self.W_in.T + self.b
        if self.W_fb is not None and self.readout is not None:
            z = z + self.readout(x) @ self.W_fb.T
        return np.asarray(z)

    def step(self, x: ArrayLike, u: ArrayLike | None = None) -> FloatArray:
        """Return the next state G(u, x); states (..., n_units), inputs (..., n_inputs)."""
        z = self.preactivation(x, u)
        a = self.leak_rate
        return np.asarray((1.0 - a) * np.asarray(x, dtype=np.float64) + a * self.activation(z))

    def output(self, x: ArrayLike) -> FloatArray:
        """Return y = psi(x); states (..., n_units)."""
        if self.readout is None:
            raise InvalidInputError("output", "no readout", "the network has no readout to evaluate")
        return self.readout(np.asarray(x, dtype=np.float64))

    def _gain(self, x: ArrayLike, u: ArrayLike | None) -> FloatArray:
        """Return a phi'(z) at one state."""
        z = self.preactivation(x, u)
        if z.ndim != 1:
            raise InvalidInputError("x", f"a batch of shape {z.shape}", "a Jacobian is taken at one state")
        return np.asarray(self.leak_rate * self.activation.slope(z))

    def jacobian(self, x: ArrayLike, u: ArrayLike | None = None) -> FloatArray:
        r"""Return :math:`D_xG = I - A + A\,\mathrm{diag}(\varphi'(z))\,(W + W_\mathrm{fb} D\psi(x))`.

        The result is dense, of shape (n_units, n_units), at one state x.
        """
        gain = self._gain(x, u)
        effective = self.dense_W()
        if self.W_fb is not None and self.readout is not None:
            effective = effective + self.W_fb @ self.readout.jacobian(np.asarray(x, dtype=np.float64))
        return np.asarray(np.diag(1.0 - self.leak_rate) + gain[:, None] * effective)

    def jacobian_vector(self, x: ArrayLike, V: ArrayLike, u: ArrayLike | None = None) -> FloatArray:
        """Return D_xG(u, x) V at one state for V of shape (n_units,) or (n_units, k); D_xG is not formed."""
        gain = self._gain(x, u)
        V = np.asarray(V, dtype=np.float64)
        if V.ndim not in (1, 2) or V.shape[0] != self.n_units:
            raise InvalidInputError("V", f"shape {V.shape}", "must be (n_units,) or (n_units, k)")
        W_V = np.asarray(self.W @ V)
        if self.W_fb is not None and self.readout is not None:
            W_V = W_V + self.W_fb @ (self.readout.jacobian(np.asarray(x, dtype=np.float64)) @ V)
        if V.ndim == 2:
            return np.asarray((1.0 - self.leak_rate)[:, None] * V + gain[:, None] * W_V)
        return np.asarray((1.0 - self.leak_rate) * V + gain * W_V)

    # -- relatives ---------------------------------------------------------------------------------------

    def closed_loop(self) -> EchoStateNetwork:
        r"""Return the autonomous network whose input is its own output, :math:`u_{k+1} = \psi(x_k)`.

        The output takes the place of the input as feedback: W_fb becomes W_fb + W_in, and no input is left.
        A sparse W stays sparse; `folded` absorbs an affine readout into W.

        Raises
        ------
        InvalidInputError
            When the numbers of inputs and outputs differ.
        """
        if self.n_inputs == 0 or self.n_inputs != self.n_outputs:
            raise InvalidInputError(
                "closed_loop", f"{self.n_inputs} inputs and {self.n_outputs} outputs",
                "closing the loop needs as many outputs as inputs, at least one",
                "use at_input for a constant input",
            )  # fmt: skip
        W_fb = self.W_in if self.W_fb is None else self.W_fb + self.W_in
        return replace(self, W_in=np.zeros((self.n_units, 0)), W_fb=W_fb)

    def at_input(self, u: ArrayLike) -> EchoStateNetwork:
        """Return the autonomous network under the constant input u (b becomes b + W_in u)."""
        u = checked_array(np.atleast_1d(u), "u", (self.n_inputs,), "(n_inputs,)")
        return replace(self, b=self.b + self.W_in @ u, W_in=np.zeros((self.n_units, 0)))

    def folded(self) -> EchoStateNetwork:
        """Return the equal network with an affine feedback absorbed: W + W_fb W_out and b + W_fb b_out."""
        if self.W_fb is None or self.readout is None:
            return self
        if not self.readout.is_affine:
            raise InvalidInputError(
                "folded", "a readout with squares", "only an affine readout can be absorbed into W",
                "keep the feedback",
            )  # fmt: skip
        W = self.dense_W() + self.W_fb @ self.readout.W_out
        return replace(self, W=W, b=self.b + self.W_fb @ self.readout.b_out, W_fb=None)

    def scaled(self, gain: float) -> EchoStateNetwork:
        """Return the network with W replaced by gain * W."""
        return replace(self, W=self.W * float(gain))

    def spectral_radius(self) -> float:
        """Return the largest |eigenvalue| of W."""
        n = self.n_units
        if self.is_sparse and n > 500:
            from scipy.sparse.linalg import ArpackError, eigs

            # A fixed start vector: ARPACK's own is random, and a spectral radius should not be.
            # Random eigenvalues crowd their circle: a single one from a small space is often not the largest.
            start = np.cos(np.arange(n, dtype=np.float64))
            try:
                values = eigs(self.W, k=6, ncv=80, return_eigenvectors=False, v0=start, maxiter=200)
            except ArpackError:
                # Eigenvalues of equal modulus (a ring, an orthogonal W) or W = 0.
                values = np.linalg.eigvals(self.dense_W())
        else:
            values = np.linalg.eigvals(self.dense_W())
        return float(np.max(np.abs(values)))

    # -- identity and files ------------------------------------------------------------------------------

    @property
    def content_hash(self) -> str:
        """SHA-256 of the equation, independent of how W is stored; defined in certificates/FORMAT.md."""
        W = scipy.sparse.coo_array(self.W)
        order = np.lexsort((W.col, W.row))
        nonzero = order[W.data[order] != 0.0]
        head = {
            "activation": self.activation.expression,
            "n_inputs": self.n_inputs,
            "n_outputs": self.n_outputs,
            "n_units": self.n_units,
        }
        digest = hashlib.sha256(b"esntools-network-1\n" + json.dumps(head, sort_keys=True).encode() + b"\n")
        nothing = np.zeros((0, 0))
        for array in (W.row[nonzero], W.col[nonzero]):
            digest.update(np.asarray(array, dtype="<i8").tobytes())
        r = self.readout
        for block in (
            W.data[nonzero], self.W_in, nothing if self.W_fb is None else self.W_fb, self.b, self.leak_rate,
            nothing if r is None else r.W_out, nothing if r is None or r.W_sq is None else r.W_sq,
            nothing if r is None else r.b_out,
        ):  # fmt: skip
            digest.update(f"{block.size}\n".encode() + np.asarray(block, dtype="<f8").tobytes())
        return digest.hexdigest()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EchoStateNetwork):
            return NotImplemented
        return self.content_hash == other.content_hash

    def __hash__(self) -> int:
        return hash(self.content_hash)

    def to_parts(self) -> tuple[Document, dict[str, NDArray[Any]]]:
        """Return the header section and the arrays that a model file stores for this network."""
        arrays: dict[str, NDArray[Any]] = {"W_in": self.W_in, "b": self.b, "leak_rate": self.leak_rate}
        if isinstance(self.W, np.ndarray):
            arrays["W"] = self.W
        else:
            arrays |= {"W_data": self.W.data, "W_indices": self.W.indices, "W_indptr": self.W.indptr}
        if self.W_fb is not None:
            arrays["W_fb"] = self.W_fb
        if self.readout is not None:
            arrays |= {"W_out": self.readout.W_out, "b_out": self.readout.b_out}
            if self.readout.W_sq is not None:
                arrays["W_sq"] = self.readout.W_sq
        section = {
            "activation": {"name": self.activation.name, "expression": self.activation.expression},
            "content_hash": self.content_hash,
        }
        return section, arrays

    @classmethod
    def from_parts(cls, section: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> EchoStateNetwork:
        """Return the network of which `to_parts` gave `section` and `arrays`."""
        name, expression = section["activation"]["name"], section["activation"]["expression"]
        activation = Activation.from_sympy(expression) if name == "custom" else Activation.named(name)
        W: Any = arrays.get("W")
        if W is None:
            n = len(arrays["b"])
            W = scipy.sparse.csr_array(
                (arrays["W_data"], arrays["W_indices"], arrays["W_indptr"]), shape=(n, n)
            )
        readout = None
        if "W_out" in arrays:
            readout = Readout(arrays["W_out"], arrays.get("W_sq"), arrays["b_out"])
        return cls(
            W, W_in=arrays["W_in"], b=arrays["b"], leak_rate=arrays["leak_rate"], activation=activation,
            readout=readout, W_fb=arrays.get("W_fb"),
        )  # fmt: skip

    def save(self, path: str | Path, *, provenance: Document | None = None) -> None:
        """Write the network to an npz model file (format ``esntools-model``, no pickle), atomically."""
        section, arrays = self.to_parts()
        header = {
            "format": MODEL_FORMAT,
            "version": MODEL_VERSION,
            "network": section,
            "provenance": files.provenance() if provenance is None else provenance,
        }
        files.write_npz(path, header, arrays)

    @classmethod
    def load(cls, path: str | Path) -> EchoStateNetwork:
        """Read the network from a model file.

        Raises
        ------
        FileFormatError
            When the file is missing, truncated, altered, a pickle, of another format, or of a newer version.
        InvalidInputError
            When a weight is not finite or a shape does not fit.
        """
        header, arrays = files.read_npz(path, MODEL_FORMAT, MODEL_VERSION)
        try:
            network = cls.from_parts(header["network"], arrays)
            content_hash = header["network"]["content_hash"]
        except EsntoolsError as error:
            # The file stands in front of the place that the weights' own check names.
            raise type(error)(f"{path}: {error.place}", error.value, error.rule, error.remedy) from None
        except (KeyError, TypeError, ValueError) as error:
            what = f"missing {error}" if isinstance(error, KeyError) else str(error)
            raise FileFormatError(str(path), what, "a model file needs every weight") from None
        if network.content_hash != content_hash:
            raise FileFormatError(
                str(path), "content hash differs", "the weights must be those that were saved"
            )
        return network
