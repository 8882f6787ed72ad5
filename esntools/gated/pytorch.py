"""PyTorch's recurrent modules, read by their state dictionaries."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from esntools._typing import FloatArray
from esntools.errors import InvalidInputError, UnsupportedError
from esntools.gated.gru import GRU
from esntools.gated.lstm import LSTM
from esntools.network import EchoStateNetwork

__all__ = ["from_torch"]

_KINDS: Final = ("GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell")


def _kind(module: Any) -> str:
    """Return which of PyTorch's modules this is; PyTorch itself need not be imported to tell."""
    for base in type(module).__mro__:
        if base.__name__ in _KINDS and base.__module__.partition(".")[0] == "torch":
            return base.__name__
    raise InvalidInputError(
        "module", type(module).__name__, "must be one of torch.nn's " + ", ".join(_KINDS),
        "pass the recurrent layer itself, e.g. model.rnn",
    )  # fmt: skip


def _weight(state: Any, name: str) -> FloatArray:
    if name not in state:
        raise UnsupportedError(
            f"module.state_dict()[{name!r}]", "missing", "the weights must bear PyTorch's own names",
            "a parametrised weight is made plain by torch.nn.utils.parametrize.remove_parametrizations",
        )  # fmt: skip
    # double() first: NumPy has no bfloat16.
    return np.asarray(state[name].detach().cpu().double().numpy(), dtype=np.float64)


def from_torch(module: Any) -> GRU | LSTM | EchoStateNetwork:
    """Return a PyTorch recurrent layer as the map that it computes from one step to the next.

    ``nn.GRU`` and ``nn.GRUCell`` become `GRU`, ``nn.LSTM`` and ``nn.LSTMCell`` become `LSTM`; ``nn.RNN`` and
    ``nn.RNNCell`` become an `EchoStateNetwork` with leak rate 1 and the module's tanh or relu. Weights are
    read from the state dictionary, as float64; nothing of the module is kept, and no code of it is run.

    Parameters
    ----------
    module : torch.nn.GRU, LSTM, RNN, GRUCell, LSTMCell or RNNCell
        One layer and one direction, with or without bias, on any device.

    Returns
    -------
    GRU, LSTM or EchoStateNetwork

    Raises
    ------
    InvalidInputError
        When the module is something else, or a weight is not finite.
    UnsupportedError
        When it has several layers, two directions or a projection, or hides its weights in a parametrisation.

    Examples
    --------
    >>> import torch  # doctest: +SKIP
    >>> from_torch(torch.nn.GRU(3, 16))  # doctest: +SKIP
    GRU(n_units=16, n_inputs=3)
    """
    kind = _kind(module)
    for name, plain, meaning in (
        ("num_layers", 1, "one layer is one map"),
        ("bidirectional", False, "a layer that reads the future is no map of its state"),
        ("proj_size", 0, "a projected LSTM is not the LSTM map"),
    ):
        if (value := getattr(module, name, plain)) != plain:
            remedy = "take the layers apart and pass one" if name == "num_layers" else "use a plain layer"
            raise UnsupportedError(f"module.{name}", str(value), f"{meaning}: must be {plain}", remedy)
    state = module.state_dict()
    end = "" if kind.endswith("Cell") else "_l0"
    W_in, W = _weight(state, f"weight_ih{end}"), _weight(state, f"weight_hh{end}")
    b_in = b = np.zeros(len(W))
    if module.bias:
        b_in, b = _weight(state, f"bias_ih{end}"), _weight(state, f"bias_hh{end}")
    if kind.startswith("GRU"):
        return GRU(W_in, W, b_in, b)
    if kind.startswith("LSTM"):
        return LSTM(W_in, W, b_in + b)
    return EchoStateNetwork(W, W_in=W_in, b=b_in + b, activation=str(module.nonlinearity))
