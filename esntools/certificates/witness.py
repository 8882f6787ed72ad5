r"""What a refutation shows: periodic responses under a periodic input, their balls, their instability.

A p-periodic response is a fixed point of the map lifted to p copies of the state,

.. math:: X^j \leftarrow (1 - a) X^{j-1} + a\,\varphi\bigl(V X^{j-1} + Q (X^{j-1})^2 + h_j\bigr),
          \qquad j \bmod p,

so that one theorem about fixed points, FORMAT.md section 5, serves every period. Everything here is floating
point; the exact checker decides.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from typing import Final, final

import numpy as np
import scipy.linalg

from esntools._typing import ComplexArray, Document, FloatArray
from esntools.certificates.documents import array_section
from esntools.certificates.refine import refined_response
from esntools.certificates.sectors import congruence, largest_eigenpair
from esntools.errors import InvalidInputError
from esntools.network import EchoStateNetwork

__all__ = ["DrivenMap", "Refutation", "Response", "response_ball", "unstable_witness"]

_TOLERANCE: Final = 1e-11
# The checker encloses phi at the centre in units of 2**-80.
_ENCLOSURE: Final = 2.0**-77


@final
@dataclass(frozen=True, eq=False)
class Response:
    """A periodic response under a periodic drive, found in floating point.

    Attributes
    ----------
    states : array (period, n_units)
        Row j is the state after row j of the input.
    eigenvalues : array (n_units,)
        Of the product of Jacobians over one period.
    """

    states: FloatArray
    eigenvalues: ComplexArray

    @property
    def x(self) -> FloatArray:
        """The state at the end of a period; for period 1, the fixed point."""
        return np.asarray(self.states[-1])

    @property
    def period(self) -> int:
        return len(self.states)

    @property
    def stable(self) -> bool:
        return bool(np.all(np.abs(self.eigenvalues) < 1.0))

    @property
    def growth(self) -> float:
        """The factor per step by which small differences grow or shrink in the long run."""
        return float(float(np.abs(self.eigenvalues).max()) ** (1.0 / self.period))

    def shifted(self, by: int) -> Response:
        """Return the response in another phase; the eigenvalues are the same."""
        return Response(np.roll(self.states, by, axis=0), self.eigenvalues)


@final
class DrivenMap:
    """The network under one periodic drive: z = V x + Q x^2 + h_j, with the feedback folded in.

    Parameters
    ----------
    network : EchoStateNetwork
    rows : array (period, n_inputs) or (period, n_units)
        The input, or with `as_drive` what replaces W_in u + W_fb b_out + b.
    """

    def __init__(self, network: EchoStateNetwork, rows: FloatArray, *, as_drive: bool = False) -> None:
        self.network, self.a, self.rows, self.as_drive = network, network.leak_rate, rows, as_drive
        self.V = network.dense_W()
        self.bend: FloatArray | None = None
        offset = network.b
        readout = network.readout
        if network.W_fb is not None and readout is not None:
            self.V = self.V + network.W_fb @ readout.W_out
            offset = offset + network.W_fb @ readout.b_out
            if readout.W_sq is not None:
                self.bend = network.W_fb @ readout.W_sq
        # The drive is rounded; the input that it comes from, where there is one, is exact.
        self.drive = rows if as_drive else offset + rows @ network.W_in.T

    @property
    def period(self) -> int:
        return len(self.rows)

    def preactivation(self, x: FloatArray, j: int) -> FloatArray:
        z = x @ self.V.T + self.drive[j]
        return np.asarray(z if self.bend is None else z + (x * x) @ self.bend.T)

    def step(self, x: FloatArray, j: int) -> FloatArray:
        """The state after row j of the input; x may be a batch (.., n_units)."""
        j %= self.period
        return np.asarray((1.0 - self.a) * x + self.a * self.network.activation(self.preactivation(x, j)))

    def run(self, x: FloatArray, n_steps: int) -> FloatArray:
        """Return the states before the first step and after each, (n_steps + 1, .., n_units)."""
        states = [x]
        for k in range(n_steps):
            states.append(self.step(states[-1], k))
        return np.stack(states)

    def _weights(self, x: FloatArray) -> FloatArray:
        """The effective recurrent weights at x."""
        return self.V if self.bend is None else self.V + 2.0 * self.bend * x

    def jacobians(self, states: FloatArray) -> FloatArray:
        """Return J_j, the derivative of row j by the row before it, (period, n_units, n_units)."""
        found = np.empty((self.period, len(self.a), len(self.a)))
        for j in range(self.period):
            x = states[j - 1]
            slopes = self.network.activation.slope(self.preactivation(x, j))
            found[j] = np.diag(1.0 - self.a) + (self.a * slopes)[:, None] * self._weights(x)
        return found

    def residual(self, states: FloatArray) -> FloatArray:
        """Return X - f(X), (period, n_units)."""
        return np.stack([states[j] - self.step(states[j - 1], j) for j in range(self.period)])

    def response(self, states: FloatArray) -> Response | None:
        """Return these states with their eigenvalues; None where the product of Jacobians overflows."""
        product = np.eye(len(self.a))
        with np.errstate(all="ignore"):
            for J in self.jacobians(states):
                product = J @ product
        if not np.all(np.isfinite(product)):
            return None
        return Response(states, np.linalg.eigvals(product).astype(complex))

    def solve(self, states: FloatArray) -> FloatArray | None:
        """Return the states of a periodic response that Newton's method finds from there, or None.

        Steps that do not help are halved.
        """
        with np.errstate(all="ignore"), warnings.catch_warnings():
            # A nearly singular Newton matrix is an unlucky start, not an event to report.
            warnings.simplefilter("ignore", scipy.linalg.LinAlgWarning)
            return self._newton(states)

    def newton(self, states: FloatArray) -> Response | None:
        """Return the periodic response that Newton's method finds from there, or None."""
        found = self.solve(states)
        return None if found is None else self.response(found)

    def _newton(self, X: FloatArray) -> FloatArray | None:
        # With the leak divided out a residual means the same at every leak rate.
        g = self.residual(X) / self.a
        size = float(np.abs(g).max())
        for _ in range(40):
            step = self._newton_step(X, g * self.a)
            if step is None or not np.all(np.isfinite(step)):
                return None
            for halving in range(6):
                trial = X - step * 0.5**halving
                g_trial = self.residual(trial) / self.a
                size_trial = float(np.abs(g_trial).max())
                if size_trial < size or size_trial < 1e-15:
                    break
            converged = size < _TOLERANCE and not size_trial < 0.5 * size
            if size_trial < size:
                X, g, size = trial, g_trial, size_trial
            elif not converged:
                return None
            if converged or size == 0.0:
                return X
        return X if size < _TOLERANCE else None

    def _newton_step(self, X: FloatArray, g: FloatArray) -> FloatArray | None:
        """Solve d_j - J_j d_{j-1} = g_j around the cycle, by elimination of all rows but the last."""
        J = self.jacobians(X)
        product, carried = np.eye(len(self.a)), np.zeros_like(self.a)
        for j in range(self.period):
            product, carried = J[j] @ product, J[j] @ carried + g[j]
        try:
            last = np.linalg.solve(np.eye(len(self.a)) - product, carried)
        except np.linalg.LinAlgError:
            return None
        d = np.empty_like(X)
        for j in range(self.period):
            d[j] = last = J[j] @ last + g[j]
        return d

    def lifted_jacobian(self, states: FloatArray) -> FloatArray:
        """Return the derivative of the lifted map, (period n_units, period n_units)."""
        n, p = len(self.a), self.period
        lifted = np.zeros((p * n, p * n))
        for j, J in enumerate(self.jacobians(states)):
            before = (j - 1) % p
            lifted[j * n : (j + 1) * n, before * n : (before + 1) * n] = J
        return lifted


def response_ball(map_: DrivenMap, states: FloatArray) -> Document | None:
    """Return centre, radius and approximate inverse, or None when the response is too badly conditioned."""
    p, n = states.shape
    derivative = np.eye(p * n) - map_.lifted_jacobian(states)
    try:
        C = np.linalg.inv(derivative)
    except np.linalg.LinAlgError:
        return None
    rows = float(np.abs(derivative).sum(axis=1).max())
    if not np.all(np.isfinite(C)) or not math.isfinite(rows):
        return None
    digits = math.ceil(math.log2(64.0 * p * n * max(rows, 1.0)))
    C = np.round(C * 2.0**digits) / 2.0**digits
    before = np.roll(states, 1, axis=0)
    size = np.abs(before) @ np.abs(map_.V).T + np.abs(map_.drive) + 1.0
    if map_.bend is not None:
        size = size + (before * before) @ np.abs(map_.bend).T
    size = map_.a * size + np.abs(states) + np.abs(before)
    error = float((np.abs(C) @ (2.0**-52 * size.ravel())).max())
    if not np.isfinite(error) or error > 2.0**-10:
        return None
    x, fine = states.ravel(), np.zeros(p * n)
    # Over the ball the slopes turn by |phi''| |weights| radius, which C and the weights then magnify.
    turn = np.concatenate(
        [map_.a * np.abs(map_._weights(y)).sum(axis=1) * np.abs(map_._weights(y)).sum(axis=1) for y in before]
    )
    if 8.0 * error * float((np.abs(C) @ turn).max()) > 0.1:
        refined = refined_response(map_.network, None if map_.as_drive else map_.rows, map_.drive, states, C)
        if refined is not None:
            x, fine, left = (part.ravel() for part in refined)
            error = float((np.abs(C) @ (np.abs(left) + _ENCLOSURE * size.ravel())).max())
    radius = 2.0 ** math.ceil(math.log2(8.0 * max(error, 2.0**-900)))
    return {
        "centre": array_section(x),
        "fine": array_section(fine),
        "radius": radius.hex(),
        "C": array_section(C),
    }


def _periodic_stein(J: FloatArray) -> FloatArray | None:
    """Return P_j with P_{j-1} - J_j' P_j J_j = I around the cycle, (period, n, n)."""
    p, n = J.shape[:2]
    product, right = np.eye(n), np.zeros((n, n))
    for j in range(p):
        right = right + product.T @ product
        product = J[j] @ product
    last = np.zeros((n, n))
    # Multipliers far apart in size cost digits; what is left of the equation is solved again.
    for _ in range(4):
        left = right + product.T @ last @ product - last
        if not np.all(np.isfinite(left)):
            return None
        if float(np.abs(left).sum(axis=0).max()) < 1e-3:
            break
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                last = last + scipy.linalg.solve_discrete_lyapunov(
                    product.T, left, method="direct" if n <= 8 else "bilinear"
                )
        except (np.linalg.LinAlgError, ValueError):
            return None
        last = 0.5 * (last + last.T)
    P = np.empty_like(J)
    P[p - 1] = last
    for j in reversed(range(1, p)):
        P[j - 1] = np.eye(n) + J[j].T @ P[j] @ J[j]
    return 0.5 * (P + np.swapaxes(P, 1, 2)) if np.all(np.isfinite(P)) else None


def unstable_witness(map_: DrivenMap, response: Response) -> Document | None:
    """Return P, R and v for an unstable response: P - J'PJ > 0 and v'Pv < 0 for the lifted map."""
    moduli = np.abs(response.eigenvalues)
    if not moduli.max() > 1.0 + 1e-9 or np.abs(moduli - 1.0).min() < 1e-9:
        return None
    J = map_.jacobians(response.states)
    p, n = J.shape[:2]
    P = _periodic_stein(J)
    if P is None:
        return None
    # J'PJ cancels against P; this keeps an error well below the identity that remains.
    columns = float(np.abs(J).sum(axis=1).max())
    digits = 12 + math.ceil(math.log2(max(1.0, n * columns**2)))
    P = np.round(P * 2.0**digits) / 2.0**digits
    whole, R = np.zeros((p * n, p * n)), np.zeros((p * n, p * n))
    lowest, v = 0.0, np.zeros(p * n)
    for j in range(p):
        # Block j of P - J'PJ; row j + 1 of the response is the one that comes from row j.
        block = slice(j * n, (j + 1) * n)
        after = (j + 1) % p
        whole[block, block] = P[j]
        R_j = congruence(P[j] - J[after].T @ P[after] @ J[after])
        if R_j is None:
            return None
        R[block, block] = R_j
        value, vector = largest_eigenpair(-P[j])
        if -value < lowest:
            lowest, v = -value, np.zeros(p * n)
            v[block] = vector.astype(np.float32)
    if not float(v @ whole @ v) < 0.0:
        return None
    return {"P": array_section(whole), "R": array_section(R), "v": array_section(v)}


@final
@dataclass(frozen=True, eq=False)
class Refutation:
    """A verified witness that states are not forgotten under one periodic input.

    Attributes
    ----------
    document : dict
        The certificate.
    theorem : str
        Its name in FORMAT.md.
    input : array (period, n_inputs) or (period, n_units)
        The input, one row per step of its period; for any input, the drive that replaces input, bias and
        b_out.
    points : tuple of Response
        What the witness shows: one unstable response, or two responses.
    strength : str
        ``"unstable response"``, ``"two responses"`` or ``"two attracting responses"``; only what the checker
        has verified counts.
    period : int
        Of the input; 1 when it is constant.
    input_radius : float or None
        Both attracting responses persist under every input that stays this near, in every component; None
        for the other strengths.
    network : EchoStateNetwork
        What is refuted.
    as_drive : bool
        Whether `input` is a drive.
    """

    document: Document = field(repr=False)
    theorem: str
    input: FloatArray
    points: tuple[Response, ...] = field(repr=False)
    strength: str
    period: int
    input_radius: float | None
    network: EchoStateNetwork = field(repr=False)
    as_drive: bool = False

    def replay(self, n_steps: int = 200) -> tuple[FloatArray, FloatArray]:
        """Return two trajectories under one and the same input that do not meet.

        An unstable response is repeated as it is, since a simulation would leave it by its rounding, beside a
        simulation that starts near it. Of two responses that both attract, two simulations are shown whose
        starts lie close together on either side of the boundary between their basins.

        Parameters
        ----------
        n_steps : int, optional
            200 by default.

        Returns
        -------
        (one, two)
            Arrays (n_steps + 1, n_units), initial states first. Step k is taken with row k of the input,
            repeated.

        Raises
        ------
        InvalidInputError
            When n_steps is negative.

        Examples
        --------
        >>> from esntools.certificates import certify_esp
        >>> from esntools.inputs import Zero
        >>> one, two = certify_esp(EchoStateNetwork([[1.5]]), Zero()).witness.replay(50)
        >>> bool(abs(one[0, 0] - two[0, 0]) < 1e-3), bool(abs(one[-1, 0] - two[-1, 0]) > 0.5)
        (True, True)
        """
        if n_steps < 0:
            raise InvalidInputError("n_steps", str(n_steps), "must be at least 0")
        map_ = DrivenMap(self.network, self.input, as_drive=self.as_drive)
        one = self.points[0]
        if len(self.points) == 1:
            return _repeated(one, n_steps), _beside(map_, one, n_steps)
        two = self.points[1]
        if one.stable and two.stable:
            return _either_side(map_, one, two, n_steps)
        first, second = (map_.run(r.x, n_steps) if r.stable else _repeated(r, n_steps) for r in (one, two))
        return first, second


def _repeated(response: Response, n_steps: int) -> FloatArray:
    return response.states[(np.arange(n_steps + 1) - 1) % response.period]


def _beside(map_: DrivenMap, response: Response, n_steps: int) -> FloatArray:
    """Simulate from beside an unstable response, where differences grow fastest."""
    product = np.eye(len(map_.a))
    for J in map_.jacobians(response.states):
        product = J @ product
    values, vectors = np.linalg.eig(product)
    k = int(np.argmax(np.abs(values)))
    direction = np.real(vectors[:, k])
    if not np.any(direction):
        direction = np.imag(vectors[:, k])
    direction = direction / float(np.abs(direction).max())
    # So near that the growth fills the picture, but never so near that rounding decides.
    growth = math.log(max(float(np.abs(values[k])), 1.0 + 1e-12)) / map_.period
    start = 10.0 ** min(-3.0, max(-8.0, -growth * n_steps / math.log(10.0)))
    sides = [map_.run(response.x + sign * start * direction, n_steps) for sign in (1.0, -1.0)]
    ends = [float(np.abs(side - _repeated(response, n_steps)).max(axis=1)[-1]) for side in sides]
    return sides[int(np.argmax(ends))]


def _either_side(
    map_: DrivenMap, one: Response, two: Response, n_steps: int
) -> tuple[FloatArray, FloatArray]:
    """Shorten the segment between two attracting responses while only one end arrives at the first."""
    end = one.states[(n_steps - 1) % one.period]
    near = 0.25 * float(np.abs(end - two.states[(n_steps - 1) % two.period]).max())
    low, high = map_.run(one.x, n_steps), map_.run(two.x, n_steps)
    for _ in range(24):
        # Not the middle: by symmetry it may lie on the boundary itself.
        middle = map_.run(0.53 * low[0] + 0.47 * high[0], n_steps)
        gap = float(np.abs(middle[-1] - end).max())
        if gap < near:
            low = middle
        elif gap > 1.5 * near:
            # At the second response, or at a third one.
            high = middle
        else:
            break
    return low, high
