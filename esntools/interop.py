"""ReservoirPy in both directions: the only file that knows ReservoirPy's attributes.

Networks are drawn with ReservoirPy's initialisers, read from its models, and given back as its models. Its
`Reservoir.step` and its linear readouts are the map of `EchoStateNetwork`; anything else is refused by name.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final, Never

import numpy as np
import reservoirpy
import scipy.sparse
import scipy.special
from numpy.typing import ArrayLike
from reservoirpy import activationsfunc, mat_gen, nodes
from scipy.sparse.csgraph import connected_components

from esntools._typing import FloatArray, RandomState
from esntools.activations import Activation
from esntools.errors import InvalidInputError, UnsupportedError, nearest_name
from esntools.network import EchoStateNetwork, Readout, WeightMatrix
from esntools.readout import checked_array

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
        Share of nonzero entries of W, in (0, 1]; W is CSR below 1 and dense at 1. Default
        min(1, 10 / n_units): ten incoming weights per unit.
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
    The spectral radius is taken from all eigenvalues (LAPACK) for a dense W or up to 500 units, and from
    the six leading ones (implicitly restarted Arnoldi, fixed start vector) otherwise. A draw whose radius
    is below a quarter of the circular law's prediction is drawn again.

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
    sigma = checked_array(
        np.broadcast_to(input_scaling, m) if np.ndim(input_scaling) == 0 else input_scaling,
        "input_scaling",
        (m,),
        "one number or (n_inputs,)",
    )
    try:
        streams = np.random.default_rng(seed).spawn(3)
    except (TypeError, ValueError) as error:
        raise InvalidInputError("seed", repr(seed), str(error)) from None
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


# -- reading ----------------------------------------------------------------------------------------------

_MAP: Final = "esntools represents one leaky reservoir with at most one linear readout of it"
_RESERVOIRS: Final = (nodes.Reservoir, nodes.IPReservoir, nodes.LocalPlasticityReservoir)
_READOUTS: Final = (nodes.Ridge, nodes.RLS, nodes.LMS)

_SOFTPLUS: Final = "log(1 + exp(x))"
_KNOWN_CALLABLES: Final[tuple[tuple[Any, str], ...]] = (
    (activationsfunc.tanh, "tanh"),
    (np.tanh, "tanh"),
    (activationsfunc.sigmoid, "logistic"),
    (scipy.special.expit, "logistic"),
    (activationsfunc.identity, "identity"),
    (activationsfunc.relu, "relu"),
    (scipy.special.erf, "erf"),
    (np.sin, "sine"),
)


def _label(node: Any) -> str:
    name = getattr(node, "name", None)
    return type(node).__name__ + (f" {name!r}" if name else "")


def _is_plain(node: Any, kinds: tuple[Any, ...]) -> bool:
    """Whether the node steps as one of these classes does: a subclass must not have redefined it."""
    return any(
        isinstance(node, kind)
        and all(getattr(type(node), step) is getattr(kind, step) for step in ("step", "run", "_step", "_run"))
        for kind in kinds
    )


def _read_graph(model: Any) -> tuple[Any, Any, bool]:
    """Return the reservoir, the readout or None, and whether the readout feeds back."""
    if type(model).__module__.startswith("reservoirpy.jax"):
        raise UnsupportedError(
            _label(model), "a node of reservoirpy.jax", "only the NumPy models of ReservoirPy can be read",
            "build it from reservoirpy.nodes with the same arrays",
        )  # fmt: skip
    if _is_plain(model, _RESERVOIRS):
        return model, None, False
    if not _is_plain(model, (reservoirpy.Model,)):
        if isinstance(model, (np.ndarray, list, tuple)) or scipy.sparse.issparse(model):
            raise UnsupportedError(
                _label(model), "an array, not a network", "the weights alone do not say the whole map",
                "pass EchoStateNetwork(W, W_in=..., b=..., leak_rate=...)",
            )  # fmt: skip
        if isinstance(model, (str, Path)):
            raise UnsupportedError(
                _label(model), "a name, not a network", "files and the zoo are not read here",
                "pass EchoStateNetwork.load(path) or load_model(name).network()",
            )  # fmt: skip
        if hasattr(model, "network"):
            remedy = "pass its .network()" if callable(model.network) else "pass its .network"
            raise UnsupportedError(_label(model), "not a network itself", "it may have one", remedy)
        raise UnsupportedError(_label(model), "not a ReservoirPy reservoir or model of this kind", _MAP)

    reservoirs = [node for node in model.nodes if _is_plain(node, _RESERVOIRS)]
    readouts = [node for node in model.nodes if _is_plain(node, _READOUTS)]
    passing = [node for node in model.nodes if isinstance(node, (nodes.Input, nodes.Output))]
    for node in model.nodes:
        if not any(node is known for known in (*reservoirs, *readouts, *passing)):
            raise UnsupportedError(f"node {_label(node)}", "has another map", _MAP)
    for kind, found, least in (("reservoir", reservoirs, 1), ("readout", readouts, 0)):
        if not least <= len(found) <= 1:
            raise UnsupportedError(f"{type(model).__name__}", f"{len(found)} {kind}s", _MAP)
    reservoir, readout = reservoirs[0], readouts[0] if readouts else None

    feedback = False
    for parent, delay, child in model.edges:
        edge = f"edge {_label(parent)} -> {_label(child)}, delay {delay}"
        if isinstance(parent, nodes.Input) and child is readout:
            raise UnsupportedError(edge, "input-to-readout connection", "the readout sees the reservoir only")
        if parent is readout and child is reservoir:
            if delay != 1:
                raise UnsupportedError(edge, "another delay", "feedback must have a delay of one step")
            feedback = True
        elif delay != 0:
            raise UnsupportedError(edge, "a delayed edge", "only feedback from the readout may be delayed")
        elif not (
            (parent is reservoir and child is readout)
            or (isinstance(parent, nodes.Input) and child is reservoir)
            or (isinstance(child, nodes.Output) and not isinstance(parent, nodes.Input))
        ):
            raise UnsupportedError(edge, "a connection that the map does not have", _MAP)
    if sum(isinstance(parent, nodes.Input) for parent, _, _ in model.edges) > 1:
        raise UnsupportedError(type(model).__name__, "several Input nodes", "join the inputs into one array")
    if readout is not None and (reservoir, 0, readout) not in model.edges:
        raise UnsupportedError(f"node {_label(readout)}", "does not read the reservoir", _MAP)
    return reservoir, readout, feedback


def _weights(node: Any, attribute: str, remedy: str) -> Any:
    """Return the node's array, CSR when sparse; not the initialiser that stands there before."""
    value = getattr(node, attribute, None)
    if value is None or callable(value):
        raise InvalidInputError(f"{_label(node)}.{attribute}", "not set yet", "must be an array", remedy)
    return value if scipy.sparse.issparse(value) else np.asarray(value)


def _dense(value: Any) -> Any:
    return value.toarray() if scipy.sparse.issparse(value) else value


def _vector(value: Any, n: int) -> Any:
    """A scalar, or an array of one number, stands for all n."""
    return np.full(n, float(value.reshape(()))) if value.shape in ((), (1,)) else value


def _read_leak_rate(node: Any, n: int) -> Any:
    lr = np.asarray(node.lr)
    # ReservoirPy computes 1 - lr in the precision of lr, this map in float64.
    if lr.dtype.kind == "f" and np.any((1 - lr).astype(np.float64) != 1.0 - lr.astype(np.float64)):
        raise UnsupportedError(
            f"{_label(node)}.lr", f"dtype {lr.dtype}", "1 - lr is rounded to that precision at every step",
            "set it to float64: reservoir.lr = np.float64(reservoir.lr)",
        )  # fmt: skip
    return _vector(lr.astype(np.float64), n)


def _read_activation(node: Any) -> Activation:
    f = node.activation
    if isinstance(f, Activation):
        return f
    for known, name in _KNOWN_CALLABLES:
        if f is known:
            return Activation.named(name)
    if f is activationsfunc.softplus:
        return Activation.from_sympy(_SOFTPLUS)
    if f is activationsfunc.softmax:
        raise UnsupportedError(
            f"{_label(node)}.activation", "softmax", "must act on each unit by itself",
            "use tanh, sigmoid, relu, softplus or identity",
        )  # fmt: skip
    raise UnsupportedError(
        f"{_label(node)}.activation", getattr(f, "__qualname__", type(f).__name__),
        "a Python function cannot be read; only ReservoirPy's and NumPy's own are known",
        "pass Activation.from_sympy(...) as the activation of the reservoir",
    )  # fmt: skip


def from_reservoirpy(model: Any) -> EchoStateNetwork:
    r"""Return the network that a ReservoirPy model is.

    Parameters
    ----------
    model : reservoirpy.nodes.Reservoir or reservoirpy.Model
        A `Reservoir`; `Reservoir >> Ridge` (or `RLS`, `LMS`: any readout y = x Wout + bias); `ESN(...)`;
        with or without feedback of delay one from the readout (`reservoir << readout`). `Input` and
        `Output` nodes that only pass data on are looked through. `IPReservoir` and
        `LocalPlasticityReservoir` with lr = 1, where they are this map. Weights of lower precision are
        converted exactly.

    Returns
    -------
    EchoStateNetwork
        Its `step` is ReservoirPy's, to rounding. The state of the model is not part of it: to go on from
        there, start at ``model.state["out"]`` of the reservoir.

    Raises
    ------
    UnsupportedError
        When the model is not this map; the message names the node, edge or activation.
    InvalidInputError
        When the model is not initialised or trained yet, or a weight is not finite.

    Notes
    -----
    With feedback, ReservoirPy concatenates the readout's last output to the input, so the last columns of
    `Win` become `W_fb`. After `initialize` or `reset` that output is a buffer of zeros, whereas here it is
    :math:`\psi(x_0)`. So every step from the first state on is equal, and the step from the state zero to
    it is equal if and only if :math:`W_\mathrm{fb} b_\mathrm{out} = 0`; ReservoirPy's first step is always
    ``replace(network, W_fb=None).step(x0, u)``.

    Examples
    --------
    >>> from reservoirpy import ESN
    >>> model = ESN(units=50, input_connectivity=1.0, ridge=1e-6, seed=1)
    >>> u = np.sin(np.arange(200) / 5)[:, None]
    >>> network = from_reservoirpy(model.fit(u[:-1], u[1:]))
    >>> network
    EchoStateNetwork(n_units=50 (CSR, density 0.1), n_inputs=1, n_outputs=1, tanh)
    >>> x = model.reservoir.state["out"]
    >>> bool(np.allclose(model.step(u[-1]), network.output(network.step(x, u[-1])), atol=1e-12))
    True
    """
    reservoir, readout, feedback = _read_graph(model)
    initialise = "run it on one series, or call initialize(x)"
    W = _weights(reservoir, "W", initialise)
    W_in = _dense(_weights(reservoir, "Win", initialise))
    n = int(W.shape[0]) if W.ndim else 1
    b = _vector(_dense(_weights(reservoir, "bias", initialise)), n)
    a = _read_leak_rate(reservoir, n)
    if not isinstance(reservoir, nodes.Reservoir):
        if np.any(a != 1.0):
            raise UnsupportedError(
                f"{_label(reservoir)}.lr", str(a.min()), "its leak acts before the activation, ours after it",
                "use lr = 1",
            )  # fmt: skip
        if isinstance(reservoir, nodes.IPReservoir):
            gain = _weights(reservoir, "a", initialise)
            W = scipy.sparse.diags_array(gain) @ W if scipy.sparse.issparse(W) else gain[:, None] * W
            W_in, b = gain[:, None] * W_in, gain * b + reservoir.b

    psi, W_fb = None, None
    if readout is not None:
        train = "fit the model first, or give the readout Wout and bias"
        W_out = _dense(_weights(readout, "Wout", train))
        b_out = _vector(_dense(_weights(readout, "bias", train)), W_out.shape[-1] if W_out.ndim else 1)
        psi = Readout(W_out.T, b_out=b_out)
        # Any other shape is refused below, by name.
        if feedback and W_in.ndim == 2:
            W_in, W_fb = np.split(W_in, [W_in.shape[1] - psi.n_outputs], axis=1)
    return EchoStateNetwork(
        W, W_in=W_in, b=b, leak_rate=a, activation=_read_activation(reservoir), readout=psi, W_fb=W_fb
    )


# -- writing ----------------------------------------------------------------------------------------------

_RESERVOIRPY_NAMES: Final = {"tanh": "tanh", "logistic": "sigmoid", "identity": "identity", "relu": "relu"}


def _writable(W: WeightMatrix | FloatArray) -> Any:
    return np.array(W) if isinstance(W, np.ndarray) else W.copy()


def to_reservoirpy(network: EchoStateNetwork) -> Any:
    """Return the ReservoirPy model that a network is, initialised and at state zero.

    Parameters
    ----------
    network : EchoStateNetwork
        With an affine readout or none.

    Returns
    -------
    reservoirpy.nodes.Reservoir or reservoirpy.Model
        A `Reservoir` when the network has no readout; else `Reservoir >> Ridge`, with the feedback edge
        `Ridge -> Reservoir` of delay one when it has feedback, whose buffer holds psi(0) so that the first
        step is equal, too (`Model.reset` puts zeros there). `from_reservoirpy` returns the equal network,
        with the same content hash.

    Raises
    ------
    UnsupportedError
        When the readout has squares: ReservoirPy has no node for them.

    Notes
    -----
    Of the activations, ReservoirPy has tanh, the logistic function, identity and relu; for every other one
    the reservoir gets the `Activation` itself as its callable. ReservoirPy cannot pickle such a model, and
    cannot print a reservoir with one leak rate for each unit. With feedback, advance the model by
    `Model.step`: `Model.run` does not keep the states of the nodes, and computes the next call from the old
    ones.

    Examples
    --------
    >>> network = EchoStateNetwork([[0.5]], W_in=[[1.0]], readout=Readout([[2.0]]))
    >>> model = to_reservoirpy(network)
    >>> model.step(np.array([1.0])).round(6)
    array([1.523188])
    >>> from_reservoirpy(model) == network
    True
    """
    psi = network.readout
    if psi is not None and not psi.is_affine:
        raise UnsupportedError(
            "readout",
            "affine in [x, x*x]",
            "ReservoirPy has no node for the squares",
            "train with squares=False",
        )
    blocks = [network.W_in] if network.W_fb is None else [network.W_in, network.W_fb]
    leak_rate = network.uniform_leak_rate
    phi = network.activation
    reservoir = nodes.Reservoir(
        W=_writable(network.W),
        Win=np.concatenate(blocks, axis=1),
        bias=np.array(network.b),
        lr=np.array(network.leak_rate) if leak_rate is None else leak_rate,
        activation=_RESERVOIRPY_NAMES.get(phi.name, phi),
        # Without a seed it would advance ReservoirPy's global generator.
        seed=0,
    )
    if psi is None:
        reservoir.initialize(np.zeros(network.n_inputs))
        return reservoir
    readout = nodes.Ridge(Wout=np.array(psi.W_out.T), bias=np.array(psi.b_out))
    edges = [(reservoir, 0, readout)]
    if network.W_fb is not None:
        edges.append((readout, 1, reservoir))
    model = reservoirpy.Model(nodes=[reservoir, readout], edges=edges)
    # The target is what tells it the width of the feedback.
    model.initialize(np.zeros(network.n_inputs), np.zeros(psi.n_outputs))
    for buffer in model.feedback_buffers.values():
        buffer[:] = psi.b_out
    return model
