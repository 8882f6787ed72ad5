r"""Zero-input multipliers: all units have one odd monotone activation, there is no input and no bias.

Then any two units are comparable, and for a matrix Q that is doubly dominant (every diagonal entry at least
the sum of the other absolute values in its row, and in its column) :math:`\phi(z)' Q\,(z - \phi(z)/L) \ge 0`.
With F = I - A the network converges to 0 as soon as

.. math:: \mathrm{He}\,Q \bigl( I/L - W (\zeta - F)^{-1} A \bigr) > 0 \quad\text{for all } |\zeta| = 1

(frequency condition; He is the Hermitian part). This is linear in Q. The largest lower bound t of these
matrices, over a few angles and all Q of trace n, is found by a barrier method. Few of the n^2 entries of Q
are not zero at the optimum, so the search starts with a diagonal and adds those that the dual matrix asks
for. For the Q that was found, P comes from a Riccati equation. The rearrangement is that of Willems and
Brockett, doi:10.1109/TAC.1968.1098836; the proof is in FORMAT.md. It does not hold for differences of two
solutions.
"""

from __future__ import annotations

import math
import time
from typing import Final, final

import numpy as np
import scipy.linalg

from esntools._typing import ComplexArray, FloatArray, IntArray
from esntools.certificates import check
from esntools.certificates.lurie import riccati
from esntools.certificates.sectors import (
    BoundReached,
    Candidate,
    Rung,
    congruence,
    short,
    short_rate,
)
from esntools.network import EchoStateNetwork

__all__ = ["multiplier_obstacle", "zero_input_multipliers"]

_NAME: Final = "zero-input-multipliers"
#: Angles on which Q is sought, and on which it is tested before the Riccati equation decides.
_COARSE, _FINE = 7, 49
#: Growth of the weight of t in the barrier, largest Newton decrement at which it grows, and at which entries
#: are added: away from the central path the steps become short, so these stay small.
_GROWTH, _CENTRED, _NEAR = 1.2, 2.0, 3.0
#: Entries added at a time, and at most, per unit.
_ADDED, _MOST = 0.4, 14
#: A step costs about the square of the number of entries, a second at this many; and the largest network.
_ENTRIES, _UNITS = 2000, 400


def multiplier_obstacle(network: EchoStateNetwork) -> str:
    """Return why zero-input multipliers are not valid for this network at zero input; empty when they are.

    Examples
    --------
    >>> multiplier_obstacle(EchoStateNetwork([[0.5]], b=0.1))
    'there is a bias: the multipliers are valid around the origin only'
    """
    phi, readout = network.activation, network.readout
    if phi.expression not in check.ACTIVATIONS:
        return f"the checker does not know the activation {phi.expression}"
    if not phi.odd or not phi.monotone:
        return f"the activation {phi.name} is not both odd and monotone"
    if np.any(network.b != 0.0):
        return "there is a bias: the multipliers are valid around the origin only"
    if network.W_fb is not None and readout is not None:
        if not readout.is_affine:
            return "the feedback passes through squares of the states"
        if np.any((network.W_fb != 0.0) & (readout.b_out != 0.0)):
            return "the offset of the readout is fed back as a bias"
    return ""


def _he(M: ComplexArray) -> ComplexArray:
    return 0.5 * (M + M.conj().T)


def _circle(a: FloatArray, count: int) -> ComplexArray:
    """Return points of the upper unit circle, dense where 1 / (zeta - 1 + a) turns fastest."""
    points = []
    for leak in np.unique(np.quantile(a, [0.0, 0.5, 1.0])):
        turn = np.exp(1j * np.linspace(0.0, np.pi, count))
        # The image of the circle is one with this radius; uniform there, after Theorem A of the ellipse.
        q = (1.0 - leak + turn) / (leak * (2.0 - leak))
        points.append(1.0 / q + 1.0 - leak)
    return np.concatenate(points)


def _cycle_mean(C: FloatArray) -> float:
    """Return the largest mean of C along a cycle (Karp, doi:10.1016/0012-365X(78)90011-0)."""
    n = len(C)
    best = np.zeros((n + 1, n))
    for k in range(n):
        best[k + 1] = (best[k][:, None] + C).max(axis=0)
    means = (best[n] - best[:n]) / (n - np.arange(n))[:, None]
    return float(means.min(axis=0).max())


def _dominant(Y: FloatArray) -> FloatArray:
    """Return C whose cycle means, times n, bound <Y, Q> over doubly dominant Q of trace n.

    By Birkhoff's theorem such Q are mixtures of signed cycles.
    """
    C = np.diag(Y)[:, None] + np.abs(Y)
    np.fill_diagonal(C, np.diag(Y))
    return C


@final
class _Search:
    """The barrier method: maximise t subject to He(Q B_k) > t I, Q doubly dominant, trace Q = n.

    Q has the entries `sign * x` at `rows, columns`, the diagonal first; the others have x > 0.
    """

    def __init__(self, W: FloatArray, a: FloatArray, top: float) -> None:
        n = len(a)
        self.W, self.a, self.top, self.n = W, a, top, n
        self.T = [self._transfer(z) for z in _circle(a, _COARSE)]
        self.rows: IntArray = np.arange(n)
        self.columns: IntArray = np.arange(n)
        self.sign, self.x = np.ones(n), np.ones(n)
        self.t = self.lowest(self.Q) - 0.2
        self.weight = sum(float(np.trace(G).real) for G, _ in self._inverses())
        self.best, self.best_Q = -math.inf, self.Q
        self.dual_t, self.grew = math.inf, False

    def _transfer(self, z: complex) -> ComplexArray:
        return np.asarray(self.W * (self.a / (z - 1.0 + self.a)))

    def _B(self, T: ComplexArray) -> ComplexArray:
        return np.eye(self.n) / self.top - T

    @property
    def Q(self) -> FloatArray:
        Q = np.zeros((self.n, self.n))
        Q[self.rows, self.columns] = self.sign * self.x
        return Q

    @property
    def _off(self) -> IntArray:
        return np.arange(self.n, len(self.x))

    def lowest(self, Q: FloatArray) -> float:
        return min(float(np.linalg.eigvalsh(_he(Q @ self._B(T)))[0]) for T in self.T)

    def _slack(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        off, n = self._off, self.n
        return (
            x[:n] - np.bincount(self.rows[off], x[off], n),
            x[:n] - np.bincount(self.columns[off], x[off], n),
        )

    def _inverses(self) -> list[tuple[ComplexArray, ComplexArray]]:
        """Return G = (He(Q B) - t)^-1 and B G for every angle."""
        Q, eye, result = self.Q, np.eye(self.n), []
        for T in self.T:
            B = self._B(T)
            G = _he(np.asarray(np.linalg.inv(_he(Q @ B) - self.t * eye)))
            result.append((G, B @ G))
        return result

    def _inside(self) -> bool:
        rows, columns = self._slack(self.x)
        if min(float(rows.min()), float(columns.min())) <= 0.0:
            return False
        Q, shift = self.Q, self.t * np.eye(self.n)
        try:
            for T in self.T:
                np.linalg.cholesky(_he(Q @ self._B(T)) - shift)
        except np.linalg.LinAlgError:
            return False
        return True

    def _grow(self, Y: FloatArray, inverses: list[tuple[ComplexArray, ComplexArray]]) -> bool:
        """Add the entries of Q whose barrier would fall fastest; whether there were any."""
        n = self.n
        rows, columns = self._slack(self.x)
        wish = np.abs(Y) / (1.0 / rows[:, None] + 1.0 / columns[None, :])
        wish[self.rows, self.columns] = 0.0
        count = min(math.ceil(_ADDED * n), min(_MOST * n, _ENTRIES) - len(self._off), n * n - 1)
        if count <= 0:
            return False
        chosen = np.argpartition(-wish.ravel(), count)[:count]
        chosen = chosen[wish.ravel()[chosen] > 1.1]
        if not chosen.size:
            return False
        i, j = np.unravel_index(chosen, (n, n))
        # Where the barrier along this entry alone is least, shared between those of a row or column.
        slope = np.abs(Y[i, j]) - 1.0 / rows[i] - 1.0 / columns[j]
        bend = 1.0 / rows[i] ** 2 + 1.0 / columns[j] ** 2
        for T, (G, U) in zip(self.T, inverses):
            Z_jj = np.einsum("jk,jk->j", U[j], self._B(T)[j].conj()).real
            bend += 0.5 * ((U[j, i] ** 2).real + Z_jj * G[i, i].real)
        share = np.maximum(np.bincount(i, minlength=n)[i], np.bincount(j, minlength=n)[j])
        x = 0.5 * (slope + np.sqrt(slope**2 + 4.0 * bend)) / bend / share
        x = np.minimum(x, 0.3 * np.minimum(rows[i], columns[j]) / share)
        old = len(self.x)
        self.rows, self.columns = np.append(self.rows, i), np.append(self.columns, j)
        self.sign = np.append(self.sign, np.where(Y[i, j] < 0.0, -1.0, 1.0))
        self.x = np.append(self.x, x)
        for _ in range(30):
            if self._inside():
                return True
            self.x[old:] *= 0.5
        self.rows, self.columns = self.rows[:old], self.columns[:old]
        self.sign, self.x = self.sign[:old], self.x[:old]
        return False

    def step(self, last: float) -> float:
        """Make one Newton step; return the decrement before it. Raises LinAlgError where the numbers end."""
        inverses = self._inverses()
        Y = np.asarray(sum(U.real.T for _, U in inverses))
        self.grew = last < _NEAR and self._grow(Y, inverses)
        if self.grew:
            inverses = self._inverses()
            Y = np.asarray(sum(U.real.T for _, U in inverses))
        i, j, sign, x, n = self.rows, self.columns, self.sign, self.x, self.n
        m, off = len(x), self._off
        H = np.zeros((m + 1, m + 1))
        body = H[:m, :m]
        trace = 0.0
        for T, (G, U) in zip(self.T, inverses):
            Z = U @ self._B(T).conj().T
            # Re U_jk U_li + Re Z_jl G_ki for entries (i, j) and (k, l); real arrays gather faster.
            for plus, imaginary in ((1.0, False), (-1.0, True)):
                u, z, g = (np.ascontiguousarray(M.imag if imaginary else M.real) for M in (U, Z, G))
                cross = u[j][:, i]
                body += plus * (cross * cross.T)
                body += z[j][:, j] * g[i][:, i]
            H[:m, m] -= (U @ G).real[j, i]
            H[m, m] += float((np.abs(G) ** 2).sum())
            trace += float(np.trace(G).real)
        body *= 0.5 * sign[:, None] * sign
        H[:m, m] *= sign
        H[m, :m] = H[:m, m]
        gradient = np.append(-Y[i, j] * sign, trace - self.weight)
        gradient[off] -= 1.0 / x[off]
        body[off, off] += 1.0 / x[off] ** 2
        own = np.ones(m)
        own[off] = -1.0
        slacks = self._slack(x)
        for index, slack in zip((i, j), slacks):
            part = own / slack[index]
            gradient[:m] -= part
            body += np.where(index[:, None] == index[None, :], part[:, None] * part[None, :], 0.0)
        H[np.diag_indices(m + 1)] *= 1.0 + 1e-12
        trace_of_Q = np.zeros(m + 1)
        trace_of_Q[:n] = 1.0
        solved = scipy.linalg.cho_solve(
            scipy.linalg.cho_factor(H, check_finite=False), np.column_stack([gradient, trace_of_Q])
        )
        direction = solved[:, 1] * (solved[:n, 0].sum() / solved[:n, 1].sum()) - solved[:, 0]
        decrement = math.sqrt(max(0.0, -float(gradient @ direction)))
        dx, dt = direction[:m], float(direction[m])
        self._bound(Y, trace)
        length = self._length(dx, dt, slacks)
        self.x, self.t = x + length * dx, self.t + length * dt
        Q = self.Q
        t = self.lowest(Q)
        if t > self.best:
            self.best, self.best_Q = t, Q
        return decrement

    def _length(self, dx: FloatArray, dt: float, slacks: tuple[FloatArray, FloatArray]) -> float:
        """Return the minimiser of the barrier along the step, by bisection of its derivative."""
        Q, D, eye, off = self.Q, np.zeros((self.n, self.n)), np.eye(self.n), self._off
        D[self.rows, self.columns] = self.sign * dx
        ratios = [d / s for d, s in zip(self._slack(dx), slacks)] + [dx[off] / self.x[off]]
        for T in self.T:
            B = self._B(T)
            factor = np.linalg.cholesky(_he(Q @ B) - self.t * eye)
            half = scipy.linalg.solve_triangular(factor, _he(D @ B) - dt * eye, lower=True)
            ratios.append(
                np.linalg.eigvalsh(scipy.linalg.solve_triangular(factor, half.conj().T, lower=True))
            )
        rate = np.concatenate(ratios)
        low, high = 0.0, min(10.0, 0.99 / max(1e-9, -float(rate.min())))
        for _ in range(30):
            middle = 0.5 * (low + high)
            falling = self.weight * dt + float((rate / (1.0 + middle * rate)).sum()) > 0.0
            low, high = (middle, high) if falling else (low, middle)
        return low

    def _bound(self, Y: FloatArray, trace: float) -> None:
        """Bound t over all Q by the dual matrix."""
        self.dual_t = min(self.dual_t, self.n * _cycle_mean(_dominant(Y)) / trace)

    def settled(self, decrement: float) -> bool:
        """Whether the best t cannot become positive any more, or not become larger by much."""
        # The duality gap at the centre for this weight, and twice that nearby; for the present entries of Q.
        gap = 2.0 * (len(self.T) * self.n + self.n + len(self.x)) / self.weight
        near = decrement < _CENTRED and not self.grew
        return near and (self.t + gap < 0.0 or gap < 1e-5)

    def refine(self) -> bool:
        """Add the angles between which the best Q dips much below its bound; whether there were any."""
        fine = [self._transfer(z) for z in _circle(self.a, _FINE)]
        lows = [float(np.linalg.eigvalsh(_he(self.best_Q @ self._B(T)))[0]) for T in fine]
        padded = [math.inf, *lows, math.inf]
        goal = self.best - 0.7 * abs(self.best)
        dips = [k for k, low in enumerate(lows) if low < goal and low <= min(padded[k], padded[k + 2])]
        if not dips:
            return False
        self.T += [fine[k] for k in dips]
        self.best, self.grew = -math.inf, True
        before = self.t
        self.t = min(self.t, self.lowest(self.Q) - 0.02)
        if self.t < before:
            self.weight = sum(float(np.trace(G).real) for G, _ in self._inverses())
        return True


def _reach(W: FloatArray, a: FloatArray, top: float, Q: FloatArray) -> float:
    """Return the least s for which s He(Q) / L > He(Q T) on a fine grid of angles."""
    try:
        factor = np.linalg.cholesky(0.5 * (Q + Q.T) / top)
    except np.linalg.LinAlgError:
        return math.inf
    worst = 0.0
    for z in _circle(a, 17):
        half = scipy.linalg.solve_triangular(
            factor, _he(np.asarray(Q @ (W * (a / (z - 1.0 + a))))), lower=True
        )
        whole = scipy.linalg.solve_triangular(factor, half.conj().T, lower=True)
        worst = max(worst, float(np.linalg.eigvalsh(_he(whole))[-1]))
    return worst


def _rounded(Q: FloatArray) -> FloatArray:
    """Return Q with short entries and dominance restored exactly."""
    Q = short(Q / np.abs(Q).max(), 24)
    size = np.abs(Q)
    np.fill_diagonal(size, 0.0)
    # Multiples of 2**-24: these sums are exact.
    np.fill_diagonal(Q, np.maximum(np.diag(Q), np.maximum(size.sum(axis=0), size.sum(axis=1))))
    return Q


def _witness(
    W: FloatArray, a: FloatArray, top: float, Q: FloatArray, rate: float, room: float
) -> dict[str, FloatArray] | None:
    """Return P and the congruences for this Q at that rate, or None."""
    n, F, M = len(a), 1.0 - a, (Q + Q.T) / top
    try:
        factor = scipy.linalg.cho_factor(M)
    except scipy.linalg.LinAlgError:
        return None
    C = Q @ W
    shifted = scipy.linalg.cho_solve(factor, np.column_stack([C, np.diag(a)]))
    MC, MA = shifted[:, :n], shifted[:, n:]
    H = C.T @ MC
    slack = room * max(float(np.trace(H)) / n, 1e-6 * float(np.trace(M)) / n)
    A0 = (np.diag(F) + a[:, None] * MC) / rate
    G = a[:, None] * MA
    H = (0.5 * (H + H.T) + slack * np.eye(n)) / rate**2
    P = riccati(A0, 0.5 * (G + G.T), H)
    if P is None:
        return None
    P = short(P, 36 - math.floor(math.log2(float(np.abs(P).max()))))
    side = -(F[:, None] * P) * a - C.T
    corner, last = rate**2 * P - (F[:, None] * P) * F, M - (a[:, None] * P) * a
    R_P, R = congruence(P), congruence(np.block([[corner, side], [side.T, last]]))
    return None if R_P is None or R is None else {"P": P, "Q": Q, "R": R, "R_P": R_P}


def _candidate(W: FloatArray, a: FloatArray, top: float, Q: FloatArray, deadline: float) -> Candidate | None:
    """Return the witness at the least rate that a few trials find."""
    Q = _rounded(Q)
    found: Candidate | None = None
    low, high = float(1.0 - a.min()), 1.0
    for k in range(16):
        rate = short_rate(1.0 - 2.0**-6 * (1.0 - low) if k == 0 else 0.5 * (low + high))
        witness = None
        for room in (1e-2, 1e-4, 1e-6):
            witness = witness or _witness(W, a, top, Q, rate, room)
        if witness is None:
            low = rate
        else:
            high, found = rate, Candidate(_NAME, rate, witness)
        if time.perf_counter() > deadline or (found is not None and high - low < 0.03 * (1.0 - low)):
            break
    return found


def zero_input_multipliers(network: EchoStateNetwork, *, deadline: float = math.inf) -> Rung:
    """Try Lur'e multipliers between units: a quadratic Lyapunov function for the network at zero input.

    Parameters
    ----------
    network : EchoStateNetwork
        Without bias, with an odd monotone activation; see `multiplier_obstacle`.
    deadline : float, default inf
        Value of `time.perf_counter` at which the search stops.

    Returns
    -------
    Rung
        Its candidate, if any, is valid for the input class `Zero` only. `dual` is 1 when a dual matrix shows
        that no Q succeeds. Nothing is tried beyond 400 units, or when `multiplier_obstacle` names a reason.

    Examples
    --------
    For any input, no multiple of these weights above 1.06 is proved; the origin is unstable from 1.29 on.

    >>> W = np.array([[0.9, 1.0], [-0.6, 0.0]])
    >>> zero_input_multipliers(EchoStateNetwork(1.25 * W)).candidate is not None
    True
    """
    start = time.perf_counter()

    def rung(value: float, gain: float | None, candidate: Candidate | None, dual: float | None) -> Rung:
        seconds = time.perf_counter() - start
        return Rung(BoundReached(_NAME, value, False, gain, seconds, dual), candidate)

    if multiplier_obstacle(network) or network.n_units > _UNITS or time.perf_counter() > deadline:
        return rung(math.inf, None, None, None)
    folded = network.folded() if network.W_fb is not None else network
    W, a = folded.dense_W(), folded.leak_rate
    slope = check.ACTIVATIONS[network.activation.expression].slopes[1]
    top = float(slope)
    top = top if top >= slope else math.nextafter(top, math.inf)
    scale = max(1.0, float(np.abs(W).max()))
    if not np.all(np.isfinite(W)) or scale > 1e6:
        return rung(math.inf, None, None, None)
    search = _Search(W, a, top)
    decrement, candidate, early = math.inf, None, True
    for k in range(400):
        if time.perf_counter() > deadline or search.dual_t < 0.0:
            break
        try:
            decrement = search.step(decrement if k else 0.0)
        except np.linalg.LinAlgError:
            break
        if early and search.best > -0.02:
            early = False
            search.refine()
        if search.best > max(5e-3 * search.dual_t, 1e-6) and not search.refine():
            candidate = _candidate(W, a, top, search.best_Q, deadline)
            if candidate is not None:
                break
        if search.settled(decrement):
            break
        if decrement < _CENTRED:
            search.weight *= _GROWTH
    in_time = len(a) <= 100 or time.perf_counter() < deadline
    value = _reach(W, a, top, search.best_Q) if in_time else math.inf
    gain = 1.0 / value if 0.0 < value < math.inf else None
    return rung(value, gain, candidate, 1.0 if search.dual_t < 0.0 else None)
