r"""The slopes that a claim about a class of inputs may use, and the section of the certificate that says why.

A rung of the ladder sees a `Sector` only: weights, leak rates, and bounds l, L of the slopes that each unit
meets. A `Region` is a sector with its justification, which the checker establishes again:

global
    the slopes of phi on the whole line; every input, all states;
box
    the slopes on the box that bounded inputs leave after some steps; states within the range of phi;
secant
    for one constant input: the slopes of the chords (phi(z) - phi(z*)) / (z - z*) to a fixed point x*. A
    proof with them says that every state converges to x*, hence the echo state property at that constant.
    Chords to a saturated unit are flatter than its tangents, so this proves more than the box.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, final

import numpy as np

from esntools._typing import Document, FloatArray
from esntools.activations import Activation
from esntools.certificates import check
from esntools.certificates.documents import array_section, slopes_section
from esntools.certificates.refine import refined_fixed_point
from esntools.certificates.sectors import Sector
from esntools.inputs import AnyInput, Constant, InputAlphabet, InputBox, InputClass, InputSignal, Zero
from esntools.network import EchoStateNetwork

__all__ = [
    "FALLING",
    "Region",
    "box_region",
    "box_sector",
    "effective_weights",
    "global_region",
    "global_slopes",
    "input_hull",
    "secant_region",
    "slope_ranges",
]

#: The checker encloses slopes again; rounding ours outwards by this leaves room for both roundings.
_ROOM: Final = 2.0**-20
#: Chords are enclosed by subdivision, which comes to an end with this room (FORMAT.md, section 3.4).
_CHORD_ROOM: Final = 2.0**-10
_CHORD_DIGITS: Final = 2.0**-13
_SAMPLES: Final = 2001
#: Activations whose slope is even and falls with |z|: its range on an interval is two values.
FALLING: Final = ("tanh", "logistic", "erf", "softsign")


@final
@dataclass(frozen=True, eq=False)
class Region:
    """A sector, what it is valid for, and the `slopes` section of the document that says so.

    Attributes
    ----------
    sector : Sector
        What the rungs work on.
    slopes : dict
        The section of the certificate.
    inputs : InputClass
        The class of inputs for which these are the slopes: ``AnyInput()`` for the global region.
    states : {"all", "box"}
        The states for which they are: all, or those within the range of phi.
    steps : int
        After how many steps they hold.
    point : array (n_units,) or None
        The fixed point of a secant region.
    """

    sector: Sector
    slopes: Document
    inputs: InputClass
    states: Literal["all", "box"]
    steps: int = 0
    point: FloatArray | None = None

    @property
    def range(self) -> str:
        """``"global"``, ``"box"`` or ``"secant"``."""
        return str(self.slopes["range"])


def _down(value: Fraction) -> float:
    x = float(value)
    return x if Fraction(x) <= value else math.nextafter(x, -math.inf)


def global_slopes(activation: Activation) -> tuple[float, float]:
    """Return the checker's slope range of an activation on the line, rounded outwards.

    For an activation that the checker does not know it is the range proved by ball arithmetic; a certificate
    then says that it assumes it.

    >>> global_slopes(Activation.named("logistic"))
    (0.0, 0.25)
    """
    known = check.ACTIVATIONS.get(activation.expression)
    if known is None:
        return activation.slope_bounds
    low, high = known.slopes
    return _down(low), -_down(-high)


def input_hull(inputs: InputClass, n_inputs: int) -> InputBox | None:
    """Return the smallest box that holds the inputs; None for any input.

    >>> input_hull(Zero(), 2).high
    array([0., 0.])
    """
    match inputs:
        case AnyInput():
            return None
        case Zero():
            return InputBox(np.zeros(n_inputs), np.zeros(n_inputs))
        case Constant():
            return InputBox(inputs.c, inputs.c)
        case InputBox():
            return inputs
        case InputAlphabet() | InputSignal():
            return inputs.hull()


def effective_weights(network: EchoStateNetwork) -> FloatArray:
    """Return W + W_fb W_out, dense; the readout must be affine where there is feedback."""
    return network.folded().dense_W() if network.W_fb is not None else network.dense_W()


def global_region(network: EchoStateNetwork) -> Region:
    """Return the region of every input and all states: the slopes of phi on the line.

    >>> region = global_region(EchoStateNetwork([[0.5]]))
    >>> region.states, region.sector.low, region.sector.high
    ('all', array([0.]), array([1.]))
    """
    n = network.n_units
    low, high = (np.full(n, s) for s in global_slopes(network.activation))
    sector = Sector(effective_weights(network), network.leak_rate, low, high)
    return Region(sector, slopes_section("global", low, high), AnyInput(), "all")


def slope_ranges(
    phi: Activation, centre: FloatArray, radius: FloatArray, room: float
) -> tuple[FloatArray, FloatArray]:
    """Return bounds of the slopes of phi on each interval centre ± radius, rounded outwards with some room.

    They are multiples of `room` that leave that much for the checker's rounding.

    >>> slope_ranges(Activation.named("tanh"), np.array([1.0]), np.array([2.0]), 2.0**-20)[1]
    array([1.])
    """
    floor, ceiling = global_slopes(phi)
    if phi.name in FALLING:
        near, far = np.maximum(np.abs(centre) - radius, 0.0), np.abs(centre) + radius
        low, high = phi.slope(far), phi.slope(near)
    else:
        ends = [phi.slope_range(c - r, c + r) for c, r in zip(centre, radius, strict=True)]
        low, high = np.array(ends).reshape(-1, 2).T
    if phi.name == "sine":
        # The radius of a ball has 30 bits, so that its cosine may even exceed 1.
        room = max(room, 2.0**-20)
        floor, ceiling = -1.0 - 2.0 * room, 1.0 + 2.0 * room
    return (
        np.maximum(floor, (np.floor(low / room) - 1.0) * room),
        np.minimum(ceiling, (np.ceil(high / room) + 1.0) * room),
    )


def _box_arguments(network: EchoStateNetwork, box: InputBox) -> tuple[FloatArray, FloatArray, int] | None:
    """Return centre and radius of the arguments of phi on the box that remains, and after how many steps."""
    phi, a, n = network.activation, network.leak_rate, network.n_units
    if not phi.bounded or phi.expression not in check.ACTIVATIONS:
        return None
    folded = network.folded()
    W = folded.dense_W()
    size = np.abs(W)
    middle = folded.b + folded.W_in @ (0.5 * box.low + 0.5 * box.high)
    spread = np.abs(folded.W_in) @ (0.5 * box.high - 0.5 * box.low)
    if not np.all(np.isfinite(middle) & np.isfinite(spread)):
        return None
    low, high = np.full(n, phi.value_bounds[0]), np.full(n, phi.value_bounds[1])
    for steps in range(201):
        centre, radius = W @ (0.5 * (low + high)) + middle, size @ (0.5 * (high - low)) + spread
        if steps == 200:
            break
        ends = phi(centre - radius), phi(centre + radius)
        if not phi.monotone:
            ends = np.full(n, -1.0), np.full(n, 1.0)
        before = high - low
        low, high = (
            np.maximum(low, (1.0 - a) * low + a * ends[0]),
            np.minimum(high, (1.0 - a) * high + a * ends[1]),
        )
        if np.all(before - (high - low) <= 1e-3 * before):
            break
    return centre, np.abs(radius), steps


def box_sector(network: EchoStateNetwork, box: InputBox) -> tuple[Sector, int] | None:
    """Return the sector over the box of states that these inputs leave, and after how many steps.

    The box is propagated in floating point. None for an unbounded activation, or one that the checker does
    not know.
    """
    found = _box_arguments(network, box)
    if found is None:
        return None
    centre, radius, steps = found
    low, high = slope_ranges(network.activation, centre, radius, _ROOM)
    return Sector(effective_weights(network), network.leak_rate, low, high), steps


def box_region(network: EchoStateNetwork, inputs: InputClass) -> Region | None:
    """Return the region of the states that these inputs leave, or None where there is no box.

    >>> region = box_region(EchoStateNetwork([[2.0]], W_in=[[1.0]]), InputBox(3, 4))
    >>> region.states, bool(region.sector.high[0] < 0.05)
    ('box', True)
    """
    box = input_hull(inputs, network.n_inputs)
    found = None if box is None else box_sector(network, box)
    if found is None:
        return None
    sector, steps = found
    section = slopes_section("box", sector.low, sector.high, steps=steps)
    return Region(sector, section, inputs, "box", steps)


# -- chords to a fixed point ----------------------------------------------------------------------------


def _settled(
    network: EchoStateNetwork, W: FloatArray, drive: FloatArray, deadline: float
) -> FloatArray | None:
    """Return the state in which a handful of trajectories under one constant drive come together, or None."""
    phi, a, n = network.activation, network.leak_rate, network.n_units
    low, high = phi.value_bounds
    rng = np.random.default_rng(0)
    x = np.vstack([np.zeros(n), np.full(n, low), np.full(n, high), rng.choice([low, high], (5, n))])
    before = math.inf
    for block in range(40):
        for _ in range(100):
            x = (1.0 - a) * x + a * phi(x @ W.T + drive)
        spread = float(np.ptp(x, axis=0).max())
        if spread < 1e-9:
            break
        if time.perf_counter() > deadline or (block >= 5 and spread > 0.98 * before):
            return None
        before = spread
    else:
        return None
    point = x[0]
    for _ in range(8):
        z = W @ point + drive
        try:
            step = np.linalg.solve(np.eye(n) - phi.slope(z)[:, None] * W, point - phi(z))
        except np.linalg.LinAlgError:
            return None
        point = point - step
        if not float(np.abs(step).max()) > 1e-15:
            break
    gap = float(np.abs(point - phi(W @ point + drive)).max())
    return np.asarray(point) if gap < 1e-11 and float(np.abs(point - x[0]).max()) < 1e-6 else None


def _ball_around(
    network: EchoStateNetwork, W: FloatArray, u: FloatArray, drive: FloatArray, x: FloatArray
) -> tuple[Document, FloatArray, float] | None:
    """Return a ball that should pass the checker's test for a fixed point, its centre and its radius."""
    n, a = network.n_units, network.leak_rate
    D = np.eye(n) - network.activation.slope(W @ x + drive)[:, None] * W
    try:
        C = np.asarray(np.linalg.inv(D), dtype=np.float64)
    except np.linalg.LinAlgError:
        return None
    size = np.abs(W) @ np.abs(x) + np.abs(drive) + 1.0
    error = float((np.abs(C) @ (2.0**-52 * size)).max())
    if not np.isfinite(error) or error > 2.0**-10:
        return None
    fine: FloatArray = np.zeros(n)
    turn = np.abs(W).sum(axis=1)
    # Over the ball the slopes turn by |phi''| |W| radius, which C and the weights then magnify.
    if 8.0 * error * float((np.abs(C) @ (turn * turn)).max()) > 0.1:
        refined = refined_fixed_point(network, u, drive, x, C)
        if refined is not None:
            x, fine, left = refined
            error = float((np.abs(C) @ (np.abs(left) + 2.0**-77 * size)).max())
    radius = 2.0 ** math.ceil(math.log2(8.0 * error))
    # The checker's residual is a (x - phi(z)), so its derivative has the leak rate in front.
    digits = math.ceil(math.log2(64.0 * n * max(float((a * np.abs(D).sum(axis=1)).max()), 1.0)))
    section = {
        "centre": array_section(x),
        "fine": array_section(fine),
        "radius": radius.hex(),
        "C": array_section(np.round(C / a * 2.0**digits) / 2.0**digits),
    }
    return section, x, radius


def _chords(phi: Activation, z: FloatArray, z_star: FloatArray) -> FloatArray:
    """Return (phi(z) - phi(z*)) / (z - z*), elementwise; near z* the slope half way."""
    gap = z - z_star
    near = np.abs(gap) < 1e-5
    return np.where(near, phi.slope(z_star + 0.5 * gap), (phi(z) - phi(z_star)) / np.where(near, 1.0, gap))


def _chord_range(
    phi: Activation, low: FloatArray, high: FloatArray, z_star: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the least and the largest chord slope of each unit over [low, high], by search.

    A grid on each interval, then one as fine again on the two cells around the best.
    """
    share = np.linspace(0.0, 1.0, _SAMPLES)
    bounds = []
    for sign in (1.0, -1.0):
        left, right = np.minimum(low, z_star), np.maximum(high, z_star)
        for _ in range(2):
            grid = left[:, None] + (right - left)[:, None] * share
            values = sign * _chords(phi, grid, z_star[:, None])
            best = np.argmin(values, axis=1)
            rows = np.arange(len(low))
            found = values[rows, best]
            left, right = (
                grid[rows, np.maximum(best - 1, 0)],
                grid[rows, np.minimum(best + 1, _SAMPLES - 1)],
            )
        bounds.append(sign * found)
    return bounds[0], bounds[1]


def secant_region(
    network: EchoStateNetwork, inputs: InputClass, *, deadline: float = math.inf
) -> Region | None:
    r"""Return the chords to the fixed point on which trajectories settle under one constant input.

    With :math:`z = V x + h` the difference :math:`d = x - x^*` obeys
    :math:`d_{k+1} = (I - A) d_k + A D_k V d_k` with :math:`D_k` the slopes of the chords from
    :math:`z^*` to :math:`z_k`, so a norm in which these difference maps contract proves that every state
    converges to x*. It does not prove that differences of any two states shrink in every step.

    Parameters
    ----------
    network : EchoStateNetwork
        With a bounded activation that the checker knows, and no squares in the feedback.
    inputs : Zero or Constant
    deadline : float
        A value of `time.perf_counter` after which the search gives up.

    Returns
    -------
    Region or None
        None for other inputs or activations, when several trajectories do not come together within 4000
        steps, or when no ball around their limit can be enclosed.

    Notes
    -----
    The fixed point comes from eight trajectories and Newton's method, its ball as in a refutation
    (FORMAT.md). Of the chords of a sigmoid to z* > 0, the steepest is a tangent on the other side of 0.
    """
    if not isinstance(inputs, Zero | Constant):
        return None
    hull = input_hull(inputs, network.n_inputs)
    if hull is None or (network.W_fb is not None and network.readout and not network.readout.is_affine):
        return None
    found = _box_arguments(network, hull)
    if found is None:
        return None
    centre, radius, steps = found
    folded = network.folded()
    W, phi, u = folded.dense_W(), network.activation, hull.low
    drive = folded.b + folded.W_in @ u
    with np.errstate(all="ignore"):
        point = _settled(network, W, drive, deadline)
        ball = None if point is None else _ball_around(network, W, u, drive, point)
    if ball is None:
        return None
    section, x, _ = ball
    least, largest = _chord_range(phi, centre - radius, centre + radius, W @ x + drive)
    floor, ceiling = global_slopes(phi)
    low = np.maximum(floor, np.floor((least - _CHORD_ROOM) / _CHORD_DIGITS) * _CHORD_DIGITS)
    high = np.minimum(ceiling, np.ceil((largest + _CHORD_ROOM) / _CHORD_DIGITS) * _CHORD_DIGITS)
    slopes = slopes_section("secant", low, high, steps=steps, ball=section)
    return Region(Sector(W, network.leak_rate, low, high), slopes, inputs, "box", steps, x)
