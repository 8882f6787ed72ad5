"""Gated cells: against loops over units, an imaginary step, PyTorch itself, and closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from naive_gated import naive_gru_step, naive_jacobian, naive_lstm_step
from scipy.optimize import root

from esntools.errors import InvalidInputError, UnsupportedError
from esntools.gated import GRU, LSTM, from_torch
from esntools.maps import Map, state_box
from esntools.network import EchoStateNetwork


def make(kind: str, n: int = 5, m: int = 2, gain: float = 1.5, seed: int = 0) -> GRU | LSTM:
    rng = np.random.default_rng(seed)
    gates = 3 if kind == "GRU" else 4
    W_in, W = rng.normal(size=(gates * n, m)), gain * rng.normal(size=(gates * n, n))
    b_in, b = rng.normal(size=(2, gates * n))
    return GRU(W_in, W, b_in, b) if kind == "GRU" else LSTM(W_in, W, b)


def naive_step(cell: GRU | LSTM, x: Any, u: Any) -> list[complex]:
    return naive_gru_step(cell, x, u) if isinstance(cell, GRU) else naive_lstm_step(cell, x, u)


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
@pytest.mark.parametrize(("n", "m"), [(1, 0), (3, 1), (5, 2)])
def test_step_and_derivatives_against_the_twin(kind: str, n: int, m: int) -> None:
    cell = make(kind, n, m)
    rng = np.random.default_rng(1)
    for _ in range(5):
        x, u = 0.9 * rng.uniform(-1, 1, cell.n_units), rng.normal(size=m)
        V = rng.normal(size=(cell.n_units, 3))
        np.testing.assert_allclose(cell.step(x, u), np.real(naive_step(cell, x, u)), atol=1e-14)
        J = naive_jacobian(lambda s, u=u: naive_step(cell, s, u), x)
        np.testing.assert_allclose(cell.jacobian(x, u), J, atol=1e-13)
        np.testing.assert_allclose(cell.jacobian_vector(x, V, u), J @ V, atol=1e-13)
        np.testing.assert_allclose(cell.jacobian_vector(x, V[:, 0], u), J @ V[:, 0], atol=1e-13)
        many = np.tile(V, 40)
        np.testing.assert_allclose(cell.jacobian_vector(x, many, u), J @ many, atol=1e-13)
        after, moved = cell.tangent(x, V, u)
        np.testing.assert_array_equal(after, cell.step(x, u))
        np.testing.assert_array_equal(moved, cell.jacobian_vector(x, V, u))


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_batches_and_constant_input(kind: str) -> None:
    cell = make(kind)
    assert isinstance(cell, Map)
    rng = np.random.default_rng(2)
    X, u = rng.uniform(-1, 1, (4, 3, cell.n_units)), rng.normal(size=2)
    rows = np.array([[cell.step(x, u) for x in part] for part in X])
    np.testing.assert_allclose(cell.step(X, u), rows, atol=1e-15)
    held = cell.at_input(u)
    assert held.n_inputs == 0
    np.testing.assert_allclose(held.step(X), rows, atol=1e-14)
    np.testing.assert_allclose(held.jacobian(X[0, 0]), cell.jacobian(X[0, 0], u), atol=1e-14)


def test_a_saturated_gate_keeps_its_relative_accuracy() -> None:
    # z = sigma(40): 1 - z = 4.2e-18, which 1 - sigma(40) would round to zero.
    cell = GRU(None, [[0.0], [0.0], [1.0]], b=[0.0, 40.0, 0.0])
    shut = np.exp(-40.0) / (1.0 + np.exp(-40.0))
    moved = cell.step([0.0]) - 0.0
    assert moved == 0.0
    assert cell.at_input([]).step([1e-30])[0] == pytest.approx(1e-30 * (1.0 - 0.5 * shut), rel=1e-15)
    J = LSTM(None, [[0.0], [0.0], [0.0], [0.0]], [0.0, 0.0, 0.0, 40.0]).jacobian([0.0, 0.0])
    np.testing.assert_allclose(J, [[0.0, 0.5], [0.0, 0.5]], atol=1e-15)
    # The slope of a gate at 40 is exp(-40), not 1 - 1 = 0.
    J = LSTM(None, [[0.0], [1.0], [0.0], [0.0]], [0.0, 40.0, 0.0, 40.0]).jacobian([0.0, 1.0])
    assert J[1, 0] == pytest.approx(shut, rel=1e-12)


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_the_box_is_mapped_into_itself(kind: str) -> None:
    rng = np.random.default_rng(3)
    for seed in range(20):
        cell = make(kind, 4, 0 if kind == "LSTM" else 2, gain=2.0, seed=seed)
        box = state_box(cell)
        assert box is not None
        low, high = box
        corners = np.where(rng.random((500, cell.n_units)) < 0.5, low, high)
        inside = rng.uniform(low, high, (500, cell.n_units))
        after = cell.step(np.vstack([corners, inside]), rng.normal(size=(1000, cell.n_inputs)) * 3.0)
        # Exactly so in exact arithmetic; (1 - z) + z rounds.
        assert np.all(after <= high + 2.0**-51)
        assert np.all(after >= low - 2.0**-51)


def test_the_box_of_an_lstm_is_the_limit_of_an_open_forget_gate() -> None:
    # i = 1/2, f = sigma(2), g = tanh(1) whatever h: c tends to i g / (1 - f).
    cell = LSTM(None, np.zeros((4, 1)), [0.0, 2.0, 1.0, 0.0])
    x = np.zeros(2)
    for _ in range(500):
        x = cell.step(x)
    assert cell.state_bounds is not None
    c = cell.state_bounds[1][1]
    assert x[1] == pytest.approx(0.5 * np.tanh(1.0) * (1.0 + np.exp(2.0)), rel=1e-13)
    assert c == pytest.approx(x[1], rel=1e-11)
    assert c >= x[1]
    assert state_box(make("LSTM")) is None
    assert LSTM(None, np.zeros((4, 1)), [0.0, 800.0, 1.0, 0.0]).state_bounds is None


def test_the_fixed_points_of_a_gru_are_those_of_its_candidate() -> None:
    cell = make("GRU", 4, 0, gain=0.7)
    solved = root(lambda h: cell.candidate(h) - h, np.zeros(4), tol=1e-14)
    np.testing.assert_allclose(cell.step(solved.x), solved.x, atol=1e-12)


def exponents(cell: GRU | LSTM, x: np.ndarray, n_steps: int) -> np.ndarray:
    Q, total = np.eye(cell.n_units), np.zeros(cell.n_units)
    for step in range(2 * n_steps):
        x, Q = cell.tangent(x, Q)
        Q, R = np.linalg.qr(Q)
        total += np.log(np.abs(np.diag(R))) * (step >= n_steps)
    return total / n_steps


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_exponents_at_a_fixed_point_are_those_of_the_whole_state(kind: str) -> None:
    """Known answer: ln |eigenvalues| of the 2 n x 2 n Jacobian of an LSTM, all 2 n of them."""
    # A linear chain in the hidden units: real, well separated multipliers.
    n = 3
    gates = 3 if kind == "GRU" else 4
    W = np.zeros((gates * n, n))
    W[2 * n : 3 * n] = np.diag([0.9, 0.5, -0.3]) + np.diag([0.4, 0.2], 1)
    # Were the output gate blind to h, h' would follow from c' alone and half of the exponents be -inf.
    W[-n:] += 0.5 * np.eye(n)
    b = np.linspace(-1.0, 1.5, gates * n)
    cell = GRU(None, W, 0.2, b) if kind == "GRU" else LSTM(None, W, b)
    x = np.zeros(cell.n_units)
    for _ in range(3000):
        x = cell.step(x)
    mu = np.linalg.eigvals(cell.jacobian(x))
    assert np.max(np.abs(mu)) < 1.0
    assert len(mu) == cell.n_units == (3 if kind == "GRU" else 6)
    found = np.sort(exponents(cell, x, 1500))[::-1]
    np.testing.assert_allclose(found, np.sort(np.log(np.abs(mu)))[::-1], atol=1e-8)


@pytest.mark.parametrize(
    ("call", "place"),
    [
        (lambda: GRU(None, np.zeros((4, 2))), "W: shape"),
        (lambda: GRU(np.zeros((5, 1)), np.zeros((6, 2))), "W_in: shape"),
        (lambda: GRU(None, np.zeros((6, 2)), b=np.zeros(4)), "b: shape"),
        (lambda: LSTM(None, [[np.nan], [0.0], [0.0], [0.0]]), "W.0, 0.: nan"),
        (lambda: LSTM(None, np.zeros((0, 0))), "W: shape"),
        (lambda: make("GRU").step(np.zeros(4), np.zeros(2)), "x: shape"),
        (lambda: make("GRU").step(np.zeros(5)), "u: None"),
        (lambda: make("LSTM").step(np.zeros(10), np.zeros(3)), "u: shape"),
        (lambda: make("LSTM").jacobian(np.zeros((2, 10)), np.zeros(2)), "x: a batch"),
        (lambda: make("LSTM").jacobian(np.zeros(10), np.zeros((2, 2))), "u: a batch"),
        (lambda: make("GRU").jacobian_vector(np.zeros(5), np.zeros((4, 2)), np.zeros(2)), "V: shape"),
        (lambda: make("GRU").at_input(np.zeros(3)), "u: shape"),
    ],
)
def test_bad_input(call: Any, place: str) -> None:
    with pytest.raises(InvalidInputError, match=place):
        call()


# -- PyTorch -----------------------------------------------------------------------------------------------

# Importing torch.func warns of torch.jit inside PyTorch.
torch_warns = pytest.mark.filterwarnings(
    r"ignore:.*torch\.jit:FutureWarning", r"ignore:.*torch\.jit:DeprecationWarning"
)


class Tensor:
    """The few methods of a tensor that a reader of weights needs, in the order in which they must come."""

    def __init__(self, array: np.ndarray, done: tuple[str, ...] = ()) -> None:
        self.array, self.done = array, done

    def detach(self) -> Tensor:
        return Tensor(self.array, (*self.done, "detach"))

    def cpu(self) -> Tensor:
        return Tensor(self.array, (*self.done, "cpu"))

    def double(self) -> Tensor:
        return Tensor(self.array.astype(np.float64), (*self.done, "double"))

    def numpy(self) -> np.ndarray:
        assert self.done == ("detach", "cpu", "double")
        return self.array


def fake(kind: str, n: int = 4, m: int = 3, *, bias: bool = True, **attributes: Any) -> Any:
    """An object that looks like PyTorch's module from outside; PyTorch need not be installed."""
    rng = np.random.default_rng(5)
    gates = {"G": 3, "L": 4, "R": 1}[kind[0]]
    end = "" if kind.endswith("Cell") else "_l0"
    shapes = {"weight_ih": (gates * n, m), "weight_hh": (gates * n, n)}
    if bias:
        shapes |= {"bias_ih": (gates * n,), "bias_hh": (gates * n,)}
    weights = {name + end: Tensor(rng.normal(size=s).astype(np.float32)) for name, s in shapes.items()}
    plain = {"bias": bias, "nonlinearity": "tanh"}
    if not end:
        plain |= {"num_layers": 1, "bidirectional": False, "proj_size": 0}
    members = plain | attributes | {"state_dict": lambda self: weights, "__module__": "torch.nn.modules.rnn"}
    return type(kind, (), members)()


@pytest.mark.parametrize("end", ["", "Cell"])
@pytest.mark.parametrize("bias", [True, False])
def test_from_torch_reads_the_weights(end: str, bias: bool) -> None:
    module = fake("GRU" + end, bias=bias)
    weights = [t.array.astype(np.float64) for t in module.state_dict().values()]
    gru = from_torch(module)
    assert isinstance(gru, GRU)
    for found, wanted in zip((gru.W_in, gru.W, gru.b_in, gru.b), [*weights, *[np.zeros(12)] * 2]):
        np.testing.assert_array_equal(found, wanted)
    lstm = from_torch(fake("LSTM" + end, bias=bias))
    assert isinstance(lstm, LSTM)
    weights = [t.array.astype(np.float64) for t in fake("LSTM" + end, bias=bias).state_dict().values()]
    np.testing.assert_array_equal(lstm.b, weights[2] + weights[3] if bias else np.zeros(16))
    for nonlinearity in ("tanh", "relu"):
        network = from_torch(fake("RNN" + end, bias=bias, nonlinearity=nonlinearity))
        assert isinstance(network, EchoStateNetwork)
        assert network.activation.name == nonlinearity
        assert network.uniform_leak_rate == 1.0
        weights = [t.array.astype(float) for t in fake("RNN" + end, bias=bias).state_dict().values()]
        np.testing.assert_array_equal(network.W, weights[1])
        np.testing.assert_array_equal(network.b, weights[2] + weights[3] if bias else np.zeros(4))


def test_from_torch_refuses_what_is_not_one_map() -> None:
    class Mine(type(fake("GRU"))):  # type: ignore[misc]
        pass

    assert isinstance(from_torch(Mine()), GRU)
    for attributes, place in (
        ({"num_layers": 2}, "module.num_layers: 2"),
        ({"bidirectional": True}, "module.bidirectional: True"),
        ({"proj_size": 2}, "module.proj_size: 2"),
    ):
        with pytest.raises(UnsupportedError, match=place):
            from_torch(fake("LSTM", **attributes))
    hidden = fake("RNN")
    hidden.state_dict().pop("weight_hh_l0")
    with pytest.raises(UnsupportedError, match=r"weight_hh_l0.*missing.*remove_parametrizations"):
        from_torch(hidden)
    for wrong in (np.zeros(3), type("Linear", (), {"__module__": "torch.nn"})(), type("GRU", (), {})()):
        with pytest.raises(InvalidInputError, match=r"torch\.nn's GRU, LSTM"):
            from_torch(wrong)


@torch_warns
@pytest.mark.parametrize("kind", ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell"])
@pytest.mark.parametrize("bias", [True, False])
def test_against_torch(kind: str, bias: bool) -> None:
    """Known answer: the module's own step, and torch.func's Jacobian of it."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(6)
    n, m = 6, 3
    module = getattr(torch.nn, kind)(m, n, bias=bias).double()
    with torch.no_grad():
        for weight in module.parameters():
            weight.mul_(3.0)
    cell = from_torch(module)

    def step(x: Any, u: Any) -> Any:
        state = (x[None, :n], x[None, n:]) if "LSTM" in kind else x[None]
        out = module(u[None], state)
        if not kind.endswith("Cell"):
            out = out[1]
        return torch.cat([part[0] for part in out]) if "LSTM" in kind else out[0]

    rng = np.random.default_rng(7)
    for _ in range(3):
        x, u = rng.uniform(-1, 1, cell.n_units), rng.normal(size=m)
        tx, tu = torch.tensor(x), torch.tensor(u)
        np.testing.assert_allclose(cell.step(x, u), step(tx, tu).detach().numpy(), atol=1e-13)
        J = torch.func.jacrev(step)(tx, tu).detach().numpy()
        np.testing.assert_allclose(cell.jacobian(x, u), J, atol=1e-13)
        V = rng.normal(size=(cell.n_units, 2))
        moved = torch.func.jvp(lambda s, tu=tu: step(s, tu), (tx,), (torch.tensor(V[:, 0]),))[1]
        np.testing.assert_allclose(cell.jacobian_vector(x, V, u)[:, 0], moved.detach().numpy(), atol=1e-12)
    with pytest.raises(UnsupportedError, match="num_layers"):
        from_torch(torch.nn.GRU(m, n, num_layers=2))


@torch_warns
@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_exponents_against_torch(kind: str) -> None:
    """Known answer: the exponents of a driven cell, from torch.func's Jacobians of the state, to 1e-8."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(8)
    n, m, n_steps = 4, 2, 300
    module = getattr(torch.nn, kind + "Cell")(m, n).double()
    cell = from_torch(module)
    u = np.random.default_rng(9).normal(size=(n_steps, m))

    def step(x: Any, v: Any) -> Any:
        if kind == "GRU":
            return module(v[None], x[None])[0]
        return torch.cat([part[0] for part in module(v[None], (x[None, :n], x[None, n:]))])

    x, tx = np.zeros(cell.n_units), torch.zeros(cell.n_units, dtype=torch.float64)
    Q = P = np.eye(cell.n_units)
    found, wanted = np.zeros(cell.n_units), np.zeros(cell.n_units)
    for v in u:
        J = torch.func.jacrev(step)(tx, torch.tensor(v)).detach().numpy()
        tx = step(tx, torch.tensor(v)).detach()
        P, R = np.linalg.qr(J @ P)
        wanted += np.log(np.abs(np.diag(R))) / n_steps
        x, Q = cell.tangent(x, Q, v)
        Q, R = np.linalg.qr(Q)
        found += np.log(np.abs(np.diag(R))) / n_steps
    assert len(found) == (n if kind == "GRU" else 2 * n)
    np.testing.assert_allclose(found, wanted, atol=1e-8)
