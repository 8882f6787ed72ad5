"""The zoo: every model loads, says what it is, and agrees with what is published of it."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from esntools import zoo
from esntools.errors import InvalidInputError, UnsupportedError
from esntools.series import read_series
from esntools.zoo import load, zoo_folder, zoo_names

NAMES = [
    "flipflop-2bit", "flipflop-3bit", "flipflop-split", "lorenz63", "mackey-glass", "rossler",
    "santa-fe-laser", "sunspots", "switching-2neuron",
]  # fmt: skip


def test_the_zoo_has_what_was_promised() -> None:
    assert zoo_names() == NAMES
    assert zoo_folder() == Path(__file__).parents[1] / "models"


@pytest.mark.parametrize("name", NAMES)
def test_every_model_is_whole(name: str) -> None:
    model = load(name)
    assert model.name == name
    assert model.title
    assert model.summary
    assert model.references
    assert model.expected
    assert all(r.doi or r.url or r.where for r in model.references)
    files = ["expected.json", "model.toml", "study.toml"] + ["weights.npz"] * (name == "flipflop-split")
    assert sorted(p.name for p in model.folder.iterdir()) == files
    document = model.to_document()
    assert document["name"] == name
    assert document["references"][0]["title"] == model.references[0].title


@pytest.mark.parametrize("name", ["lorenz63", "rossler", "mackey-glass"])
def test_generated_series(name: str) -> None:
    model = load(name)
    series = model.series(300)
    assert series.values.shape == (300,)
    assert series.dt == model.dt == model.model.system.dt  # type: ignore[union-attr]
    assert np.all(np.isfinite(series.values))
    np.testing.assert_array_equal(model.series(300).values, series.values)
    np.testing.assert_array_equal(model.series(200).values, series.values[:200])
    assert np.any(model.series(300, rng=5).values != series.values)
    system = model.system()
    assert system is not None
    # Two places say it, for readers of the folder and of the code; they must not drift apart.
    assert model.expected["lyapunov_exponents"]["value"] == list(system.lyapunov_exponents)
    observed = sorted(float(np.atleast_1d(e.state)[0]) for e in system.equilibria())
    np.testing.assert_allclose(observed, model.expected["equilibria"]["value"], atol=1e-8)


def test_lorenz_equilibria_carry_the_published_exponents() -> None:
    model = load("lorenz63")
    system = model.system()
    assert system is not None
    leading = {
        round(float(e.state[0]), 6): max(e.eigenvalues, key=lambda v: (v.real, v.imag))
        for e in system.equilibria()
    }
    values = model.expected["equilibria"]["value"]
    for x, (real, imaginary) in zip(values, model.expected["equilibrium_exponents"]["value"]):
        assert leading[round(x, 6)].real == pytest.approx(real, abs=1e-8)
        assert abs(leading[round(x, 6)].imag) == pytest.approx(imaginary, abs=1e-8)
    assert model.lyapunov_exponent == 0.9056
    assert model.dt == 0.05


def test_the_laser_is_as_recorded() -> None:
    model = load("santa-fe-laser")
    series = model.series()
    assert series.n_steps == model.expected["n_steps"]["value"]
    assert [series.values.min(), series.values.max()] == model.expected["range"]["value"]
    assert series.values[:3].tolist() == [86.0, 141.0, 95.0]
    assert model.series(100).n_steps == 100
    assert series.dt is None
    assert model.system() is None
    assert model.lyapunov_exponent is None
    with pytest.raises(InvalidInputError, match="n_steps: 99999; 10093 steps were recorded"):
        model.series(99999)


def test_sunspots_have_their_period() -> None:
    pytest.importorskip("statsmodels")
    model = load("sunspots")
    values = model.series().values
    assert len(values) == model.expected["n_steps"]["value"]
    power = np.abs(np.fft.rfft(values - values.mean())) ** 2
    period = len(values) / int(np.argmax(power))
    entry = model.expected["period"]
    assert abs(period - entry["value"]) <= entry["tolerance"]


def test_sunspots_without_statsmodels_say_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "statsmodels.datasets", None)
    with pytest.raises(UnsupportedError, match=r"statsmodels is not installed.*esntools\[data\]"):
        load("sunspots").series()


@pytest.mark.parametrize(("name", "bits"), [("flipflop-2bit", 2), ("flipflop-3bit", 3)])
def test_flip_flops(name: str, bits: int) -> None:
    model = load(name)
    task = model.task()
    assert task.u.shape == task.y.shape == (12000, bits)
    assert len(task.states) == 2**bits == model.expected["n_states"]["value"]
    np.testing.assert_array_equal(model.task().u, task.u)
    assert model.study.fit.task == "map"
    with pytest.raises(InvalidInputError, match='only a model of kind "series" has a series'):
        model.series()
    with pytest.raises(InvalidInputError, match="fit it first"):
        model.network()


def test_the_two_neurons_are_those_of_the_paper() -> None:
    """Everything here is evaluated from the equations alone: x_i <- (1-a) x_i + a tanh(w_i x_i + u_i)."""
    model = load("switching-2neuron")
    network = model.network()
    w, a = [0.5, 1.75], 0.25
    A, B = model.symbols()
    assert model.model.network is not None
    assert model.model.network.symbol_names == ("A", "B")
    assert A.tolist() == [0.25, 0.05]
    assert B.tolist() == [-0.25, -0.5]

    def step(x: list[float], u: np.ndarray) -> list[float]:
        return [(1 - a) * x[i] + a * math.tanh(w[i] * x[i] + float(u[i])) for i in range(2)]

    x = [0.3, -0.8]
    for k in range(20):
        np.testing.assert_allclose(network.step(x, [A, B][k % 2]), step(x, [A, B][k % 2]), atol=1e-15)
        x = step(x, [A, B][k % 2])

    points = model.expected["fixed_points_A"]["value"]
    for (x1, x2), multiplier in zip(points, model.expected["multipliers_A"]["value"]):
        assert step([x1, x2], A) == pytest.approx([x1, x2], abs=1e-12)
        assert 1 - a + a * w[1] * (1 - x2**2) == pytest.approx(multiplier, abs=1e-7)
    (point,) = model.expected["fixed_points_B"]["value"]
    assert step(point, B) == pytest.approx(point, abs=1e-12)
    bound = math.sqrt(w[1] * (w[1] - 1)) - math.atanh(math.sqrt(1 - 1 / w[1]))
    assert bound == pytest.approx(model.expected["bistability_bound"]["value"], abs=1e-15)

    x, saddle, n = list(points[2]), points[1][1], 0
    while x[1] > saddle:
        x, n = step(x, B), n + 1
    assert n == model.expected["escape_steps_B"]["value"]


def test_the_staircase_of_the_two_neurons() -> None:
    """Runs of A must undo the longest run of B: the upper state has to come back, period after period."""
    model = load("switching-2neuron")
    a, w = 0.25, 1.75

    def step(x: float, u: float) -> float:
        return (1 - a) * x + a * math.tanh(w * x + u)

    def survives(n_A: int, n_B: int) -> bool:
        x = model.expected["fixed_points_A"]["value"][2][1]
        for _ in range(400):
            for _ in range(n_B):
                x = step(x, -0.5)
            for _ in range(n_A):
                x = step(x, 0.05)
        return x > model.expected["fixed_points_A"]["value"][1][1]

    staircase = model.expected["echo_index_staircase"]["value"]
    for n_B, n_A in enumerate(staircase, start=1):
        assert survives(n_A, n_B)
        assert n_A == 1 or not survives(n_A - 1, n_B)
    assert not survives(60, 27)


# -- loading -------------------------------------------------------------------------------------------------

SERIES = """
format = "esntools-model-spec"
version = 1
name = "mine"
title = "Mine"
kind = "series"
[system]
source = "file"
path = "data.csv"
column = "b"
"""


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_text(SERIES)
    (tmp_path / "data.csv").write_text("t,a,b\n0,1,5\n0.5,2,6\n1.0,3,7\n")
    for path in (tmp_path, str(tmp_path), tmp_path / "model.toml"):
        model = load(path)
        series = model.series()
        np.testing.assert_array_equal(series.values, read_series(tmp_path / "data.csv", "b").values)
        assert series.dt == 0.5
        assert model.expected == {}
        assert model.study.fit.n_units is None


def test_a_network_from_its_own_file(tmp_path: Path) -> None:
    from esntools.network import EchoStateNetwork

    text = SERIES.partition("kind")[0] + 'kind = "network"\n[network]\nweights = "w.npz"\n'
    (tmp_path / "model.toml").write_text(text)
    network = EchoStateNetwork([[0.5]], W_in=[[1.0]])
    network.save(tmp_path / "w.npz")
    assert load(tmp_path).network() == network
    assert load(tmp_path).symbols().shape == (0, 0)


def test_a_network_may_name_the_task_that_it_was_trained_for(tmp_path: Path) -> None:
    model = load("flipflop-split")
    with np.load(Path(__file__).parent / "corpora" / "flipflop2_N100.npz") as data:
        W, W_out = data["W"], data["W_out"]
    network, task = model.network(), model.task()
    np.testing.assert_array_equal(network.W, W)
    assert network.readout is not None
    np.testing.assert_array_equal(network.readout.W_out, W_out)
    assert (model.kind, task.n_bits, task.n_steps) == ("network", 2, 4000)
    np.testing.assert_array_equal(model.symbols(), task.pulses)
    with pytest.raises(InvalidInputError, match=r"without \[task\]; names no task"):
        load("switching-2neuron").task()
    text = SERIES + '[task]\nsource = "flip-flop"\nn_bits = 1\nn_steps = 500\n'
    (tmp_path / "model.toml").write_text(text)
    with pytest.raises(InvalidInputError, match="needs \\[system\\] and no other"):
        load(tmp_path)


@pytest.mark.parametrize("path", ["../elsewhere.csv", "/etc/hostname", "sub/../../x.csv"])
def test_a_model_reads_only_its_own_folder(path: str, tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_text(SERIES.replace("data.csv", path))
    with pytest.raises(InvalidInputError, match=r"system\.path: .*must lie in the model's folder"):
        load(tmp_path).series()


def test_unknown_names_get_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="did you mean 'lorenz63'"):
        load("lorenz")
    with pytest.raises(InvalidInputError, match="no such model; must be a name in the zoo or a folder"):
        load(tmp_path)


def test_wrong_parameters_and_observables_name_their_key(tmp_path: Path) -> None:
    text = SERIES.partition("[system]")[0] + (
        '[system]\nsource = "rossler"\ndt = 0.1\nn_steps = 50\ntransient = 0.0\n'
    )
    (tmp_path / "model.toml").write_text(text + 'observable = "q"\n')
    with pytest.raises(InvalidInputError, match=r"system\.observable: 'q'; must be one of x, y, z"):
        load(tmp_path).series()
    (tmp_path / "model.toml").write_text(text + "parameters = { d = 1.0 }\n")
    with pytest.raises(InvalidInputError, match=r"system\.parameters\.d: unknown parameter"):
        load(tmp_path).series()
    (tmp_path / "model.toml").write_text(text + 'observable = "z"\n')
    model = load(tmp_path)
    system = model.system()
    assert system is not None
    expected = system.trajectory(50, 0.1, transient=0.0, rng=0)[:, 2]
    np.testing.assert_array_equal(model.series().values, expected)


def test_a_wrong_network_names_its_file(tmp_path: Path) -> None:
    text = SERIES.partition("kind")[0] + 'kind = "network"\n[network]\nW = [[0.5]]\nactivation = "tahn"\n'
    (tmp_path / "model.toml").write_text(text)
    with pytest.raises(InvalidInputError, match=r"model\.toml: network\..*did you mean 'tanh'"):
        load(tmp_path).network()


def test_elsewhere_the_zoo_is_in_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "esntools"
    (package / "_models" / "one").mkdir(parents=True)
    (package / "_models" / "one" / "model.toml").write_text("")
    monkeypatch.setattr(zoo.resources, "files", lambda name: package)
    assert zoo_folder() == package / "_models"
    assert zoo_names() == ["one"]
