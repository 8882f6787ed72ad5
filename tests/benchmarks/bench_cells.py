"""One step of a gated cell with k tangent vectors: this package, and torch.func where PyTorch is installed.

Run ``python tests/benchmarks/bench_cells.py`` with one thread. CPU time, best of five rounds taken in turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from esntools.gated import GRU, LSTM

try:
    import torch
except ImportError:
    torch = None


def mean(function: Callable[[], object], repeats: int) -> float:
    start = time.process_time()
    for _ in range(repeats):
        function()
    return (time.process_time() - start) / repeats


def torch_step(kind: str, cell: GRU | LSTM, n: int) -> Callable[[np.ndarray, np.ndarray], object]:
    module = getattr(torch.nn, kind + "Cell")(cell.n_inputs, n).double()
    with torch.no_grad():
        module.weight_ih.copy_(torch.tensor(cell.W_in))
        module.weight_hh.copy_(torch.tensor(cell.W))
        for bias in (module.bias_ih, module.bias_hh):
            bias.zero_()
    u = torch.zeros(1, cell.n_inputs, dtype=torch.float64)

    def step(x: torch.Tensor) -> torch.Tensor:
        if kind == "GRU":
            return module(u, x[None])[0]
        return torch.cat([part[0] for part in module(u, (x[None, :n], x[None, n:]))])

    def tangent(x: np.ndarray, V: np.ndarray) -> object:
        x, V = torch.tensor(x), torch.tensor(V)
        with torch.no_grad():
            return torch.func.vmap(lambda v: torch.func.jvp(step, (x,), (v,))[1], in_dims=1)(V)

    return tangent


def measure(
    cell: GRU | LSTM, x: np.ndarray, V: np.ndarray, other: Callable[..., object] | None
) -> np.ndarray:
    """Return milliseconds: tangent, step and jacobian_vector, PyTorch, formed Jacobian, product with W."""
    u = np.zeros(2)
    head = np.ascontiguousarray(V[: cell.W.shape[1]])
    repeats = max(3, 20_000_000 // (cell.W.size * V.shape[1]))
    few = max(3, repeats // 5)
    times = np.full((5, 5), np.inf)
    for row in times:
        row[0] = mean(lambda: cell.tangent(x, V, u), repeats)
        row[1] = mean(lambda: (cell.step(x, u), cell.jacobian_vector(x, V, u)), repeats)
        if other is not None:
            row[2] = mean(lambda: other(x, V), few)
        row[3] = mean(lambda: (cell.step(x, u), cell.jacobian(x, u) @ V), few)
        row[4] = mean(lambda: cell.W @ head, repeats)
    return 1e3 * times.min(axis=0)


def main() -> None:
    if torch is not None:
        torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    print("ms       n    k   tangent  two calls  torch jvp+vmap    ratio  formed Jacobian  product with W")
    for kind, gates in (("GRU", 3), ("LSTM", 4)):
        for n, k in ((64, 10), (256, 10), (256, 256)):
            W_in, W = rng.normal(size=(gates * n, 2)), rng.normal(size=(gates * n, n)) / n**0.5
            cell = GRU(W_in, W) if kind == "GRU" else LSTM(W_in, W)
            x, V = rng.uniform(-1, 1, cell.n_units), rng.normal(size=(cell.n_units, k))
            ms = measure(cell, x, V, None if torch is None else torch_step(kind, cell, n))
            print(
                f"{kind:5s} {n:4d} {k:4d} {ms[0]:9.3f} {ms[1]:10.3f} {ms[2]:15.3f} {ms[2] / ms[0]:8.1f} "
                f"{ms[3]:16.3f} {ms[4]:15.3f}"
            )


if __name__ == "__main__":
    main()
