"""Everything a reader is shown is executed: docstrings, the README's Python, and the README's commands."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import esntools

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    module.name for module in pkgutil.walk_packages(esntools.__path__, "esntools.") if "_models" not in module.name
)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    module = importlib.import_module(name)
    names = {"np": np, "esntools": esntools}
    result = doctest.testmod(module, extraglobs=names, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


def test_every_module_is_walked() -> None:
    assert {"esntools.network", "esntools.activations", "esntools.inputs"} <= set(MODULES)
