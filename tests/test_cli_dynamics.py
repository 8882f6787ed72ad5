"""The commands about dynamics, on networks so small that their answers are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from esntools import cli
from esntools.certificates import check_certificate
from esntools.cli.values import run_lengths
from esntools.network import EchoStateNetwork, Readout

Says = pytest.CaptureFixture[str]

BIT = EchoStateNetwork([[1.5]], W_in=[[1.0]], readout=Readout([[1.0]]))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    BIT.save("bit.npz")
    return tmp_path


def run(*arguments: str) -> int:
    return cli.main(list(arguments))


def answer(capsys: Says) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_all_fixed_points_are_proved_or_it_is_said_that_they_are_not(desk: Path, capsys: Says) -> None:
    assert run("fixed-points", "bit.npz", "--complete", "-q") == 0
    found = answer(capsys)
    assert found["complete"] is True
    x = sorted(p["x"][0] for p in found["points"])
    np.testing.assert_allclose(x, np.tanh(1.5 * np.array(x)), atol=1e-14)
    assert [p["stable"] for p in found["points"]] == [True, True, False]
    assert all(0.0 < p["radius"] < 1e-12 < p["uniqueness_radius"] for p in found["points"])
    # At its pitchfork a network has a threefold zero, which no such proof can count.
    EchoStateNetwork([[1.0]]).save("critical.npz")
    assert run("fixed-points", "critical.npz", "--complete", "--budget", "2") == 3
    out, err = capsys.readouterr()
    assert json.loads(out)["complete"] is False
    assert "no fixed point proved; there may be some: " in err


def test_points_that_are_found_are_proved_one_by_one(desk: Path, capsys: Says) -> None:
    assert run("fixed-points", "bit.npz", "--certify") == 0
    out, err = capsys.readouterr()
    proofs = [p["certified"] for p in json.loads(out)["points"]]
    assert [(p["exists"], p["n_unstable"]) for p in proofs] == [(True, 0), (True, 0), (True, 1)]
    assert "3 of 3 proved to exist, within" in err
    EchoStateNetwork([[1.0]]).save("critical.npz")
    assert run("fixed-points", "critical.npz", "--certify") == 3
    err = " ".join(capsys.readouterr().err.split())
    assert (
        "0 of 1 proved to exist Not proved: the derivative of x - phi(z(x)) is singular, or nearly so" in err
    )


def test_orbits(desk: Path, capsys: Says) -> None:
    EchoStateNetwork([[-2.0]]).save("flip.npz")
    assert run("orbits", "flip.npz", "--period", "2") == 0
    out, err = capsys.readouterr()
    (orbit,) = json.loads(out)["orbits"]
    assert orbit["stable"] is True
    np.testing.assert_allclose(sorted(np.ravel(orbit["states"])), [-0.9575040241, 0.9575040241], atol=1e-10)
    assert "1 orbit of period 2, 1 stable; index sum 1, audit passed" in err
    assert run("orbits", "bit.npz", "--period", "3", "-q") == 3
    assert answer(capsys)["orbits"] == []


def test_bifurcations_of_one_neuron(desk: Path, capsys: Says) -> None:
    assert run("bifurcations", "bit.npz", "--from", "0", "--to", "2", "--plot", "b.svg") == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    (point,) = found["points"]
    assert (point["kind"], point["criticality"]) == ("pitchfork", "supercritical")
    assert point["value"] == pytest.approx(1.0 / 1.5, abs=1e-10)
    assert {a["verdict"] for a in found["audit"]} == {"passed"}
    assert "2 branches, 1 bifurcation;" in err
    assert "<svg" in (desk / "b.svg").read_text()[:1000]
    first = (desk / "b.svg").read_bytes()
    assert run("bifurcations", "bit.npz", "--parameter", "input", "--from", "-1", "--to", "1", "-q") == 0
    # Folds at u = -+(artanh s - w s), s = sqrt(1 - 1/w).
    s = np.sqrt(1.0 - 1.0 / 1.5)
    fold = 1.5 * s - np.arctanh(s)
    np.testing.assert_allclose([p["value"] for p in answer(capsys)["points"]], [-fold, fold], atol=1e-10)
    assert run("bifurcations", "bit.npz", "--from", "0", "--to", "2", "--plot", "b.svg", "-q") == 0
    assert (desk / "b.svg").read_bytes() == first
    assert run("bifurcations", "bit.npz", "--parameter", "leak-rate", "--from", "0", "--to", "1") == 2
    assert "a leak rate must lie in (0, 1]" in capsys.readouterr().err


def test_exponents_all_and_drawn(desk: Path, capsys: Says) -> None:
    EchoStateNetwork(np.diag([0.5, 0.25]), W_in=[[1.0], [1.0]], activation="identity").save("two.npz")
    np.save("u.npy", np.sin(np.arange(400.0)))
    options = ["--signal", "u.npy", "--exponents", "all", "--plot", "l.png"]
    assert run("lyapunov", "two.npz", *options) == 0
    np.testing.assert_allclose(answer(capsys)["exponents"], np.log([0.5, 0.25]), atol=1e-9)
    assert (desk / "l.png").stat().st_size > 2000
    # A network that is written out cannot be fitted, so the remedy is another.
    assert run("lyapunov", "switching-2neuron") == 2
    err = capsys.readouterr().err
    assert "give its input with" in err
    assert "fit it first" not in err


def test_basins(desk: Path, capsys: Says) -> None:
    EchoStateNetwork(np.diag([1.5, 0.5])).save("two.npz")
    options = ["--starts", "200", "--plot", "b.png", "--resolution", "20"]
    assert run("basins", "two.npz", *options) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert [a["kind"] for a in found["attractors"]] == ["fixed point"] * 2
    assert sum(a["share"] for a in found["attractors"]) == pytest.approx(1.0)
    assert all(a["share_interval_95"][0] < 0.5 < a["share_interval_95"][1] for a in found["attractors"])
    assert "2 attractors reached from 200 random starts" in err
    assert (desk / "b.png").stat().st_size > 2000
    # In three dimensions the plane goes through the attractors.
    EchoStateNetwork(np.diag([1.5, 0.5, 0.2])).save("three.npz")
    assert run("basins", "three.npz", *options, "-q") == 0
    capsys.readouterr()
    assert run("basins", "bit.npz", "--plot", "b.png") == 2
    assert "--plot: a network of one unit; a picture needs a plane of states" in capsys.readouterr().err


def test_the_echo_index_with_its_certificate(desk: Path, capsys: Says) -> None:
    rng = np.random.default_rng(0)
    W = rng.standard_normal((3, 3))
    W *= 0.3 / np.linalg.norm(W, 2)
    EchoStateNetwork(W, W_in=[[1.0], [0.0], [0.0]]).save("forgets.npz")
    options = ["--starts", "32", "--past", "256", "-o", "index.json"]
    assert run("echo-index", "forgets.npz", "--inputs", "-1:1", *options) == 0
    index = json.loads((desk / "index.json").read_text())
    assert (index["lower"], index["upper"], index["verdict"]) == (1, 1, "proved")
    err = capsys.readouterr().err
    written = sorted(desk.glob("index.certificate*.json"))
    assert written
    for path in written:
        assert f"verify it with esntools check {path.name}" in err
        assert check_certificate(path).valid


def test_the_echo_index_of_switching_symbols_and_their_dwell_times(desk: Path, capsys: Says) -> None:
    options = ["--symbol", "0.25,0.05", "--symbol", "-0.25,-0.5", "--starts", "32", "--past", "256"]
    assert run("echo-index", "switching-2neuron", *options, "--runs", "3:5", "--dwell-times") == 0
    found = answer(capsys)
    assert (found["verdict"], found["estimate"]) == ("proved", 2)
    table = found["dwell_times"]
    assert (table["shortest"][:8], table["shortest"][25:]) == ([1, 1, 2, 2, 3, 3, 4, 4], [33, None])
    assert table["longest"] == 26
    for wrong, said in (
        (["--zero", "--dwell-times"], "--dwell-times: without symbols to switch between"),
        (["--zero", "--runs", "3"], "--runs: given without --symbol"),
        (["--symbol", "0.25", "--runs", "3"], "--runs: with one --symbol"),
        (["--symbol", "1,2,3"], "--symbol: 3 values; the network has 2 inputs"),
    ):
        assert run("echo-index", "switching-2neuron", *wrong) == 2
        assert capsys.readouterr().err.startswith(f"esntools: {said}")


def test_lengths_of_runs() -> None:
    assert [run_lengths(text) for text in ("3:5", "3:", "4")] == [(3, 5), (3, None), (4, 4)]


@pytest.mark.slow
@pytest.mark.ci
def test_compare(desk: Path, capsys: Says) -> None:
    from esntools.systems import henon

    np.save("true.npy", henon().trajectory(1500, rng=1)[:, 0])
    np.save("other.npy", henon(a=1.2).trajectory(1500, rng=2)[:, 0])
    assert run("compare", "true.npy", "other.npy", "--plot", "c.png") == 1
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["verdict"] == "different"
    assert found["measures"]["density missed"]["agrees"] is False
    assert "density missed: differs by" in err
    assert (desk / "c.png").stat().st_size > 2000
    np.save("short.npy", np.arange(50.0))
    assert run("compare", "true.npy", "short.npy") == 2
    assert "short.npy: 50 steps; needs at least 1000" in capsys.readouterr().err


def test_compare_with_the_free_run_of_a_model(desk: Path, capsys: Says) -> None:
    from esntools.systems import henon
    from esntools.training import fit

    x = henon().trajectory(2000)[:, 0]
    np.save("true.npy", x)
    fit(x, n_units=60, n_candidates=0, leak_rate=1.0, rng=1).save("model.npz")
    assert run("compare", "true.npy", "model.npz") in (0, 3)
    found = answer(capsys)
    assert found["measures"]["density missed"]["agrees"] is True
