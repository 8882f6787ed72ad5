"""The commands about excitable networks, on networks so small that their answers are known."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from scipy.optimize import brentq

from esntools import cli
from esntools.excitable import read_graph, write_graph
from esntools.network import EchoStateNetwork, Readout

Says = pytest.CaptureFixture[str]

#: The stable point of tanh(1.5 m) = m.
M = 0.8585596366401103


def roots(f: Callable[[float], float]) -> list[float]:
    """Every root in [-1, 1], between neighbours of a grid."""
    grid = np.linspace(-1.0, 1.0, 101)
    return [brentq(f, a, b) for a, b in itertools.pairwise(grid) if f(a) * f(b) < 0.0]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    EchoStateNetwork([[1.5]], W_in=[[1.0]], readout=Readout([[1.0]])).save("bit.npz")
    EchoStateNetwork([[1.5]], W_in=[[3.0]], readout=Readout([[1.0 / M]])).save("strong.npz")
    EchoStateNetwork([[1.5]], W_in=[[1.0]], b=[0.1], readout=Readout([[1.0]])).save("weak.npz")
    return tmp_path


def run(*arguments: str) -> int:
    return cli.main(list(arguments))


def refused(capsys: Says, *arguments: str, says: str) -> None:
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if line.startswith("esntools: ")]
    assert len(lines) == 1
    assert says in lines[0]


# -- ena -----------------------------------------------------------------------------------------------------


def test_thresholds_in_several_metrics_with_what_is_proved(desk: Path, capsys: Says) -> None:
    assert (
        run("ena", "bit.npz", "--metric", "state", "--metric", "input", "--certify", "--budget", "10s") == 0
    )
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document["graph"]["metrics"] == ["state", "input"]
    sizes = {
        (c["metric"], c["source"]): (c["lower"], c["threshold"]) for c in document["graph"]["connections"]
    }
    for source in (0, 1):
        for metric, true in (("state", M), ("input", 1.5 * M)):
            lower, upper = sizes[metric, source]
            assert 0.5 * true < lower <= true * (1.0 + 1e-9)
            assert upper == pytest.approx(true, rel=1e-3)
    assert "0: fixed point at output -0.8586" in err
    assert "% of random states, proved within " in err
    assert "0 -> 1: a kick of size 0.858" in err
    assert "(proved: not below " in err
    # The edges' other metric on the same line, and what a pulse is.
    assert "; input 1.28" in next(line for line in err.splitlines() if line.startswith("  0 -> 1: "))


def test_pulses_are_told_in_words(desk: Path, capsys: Says) -> None:
    assert run("ena", "bit.npz", "--amplitude-cut", "1.2", "--amplitude", "2", "--metric", "input",
               "--metric", "state") == 0  # fmt: skip
    err = capsys.readouterr().err
    # Pulses of 2 need less than 1 of themselves: 1.2878 / 2.
    assert "0 -> 1: pulse 0 (+2 on line 0) from amplitude 0.643" in err
    assert "  pulse 0, +2 on line 0: 0 -> 1; stays at 1\n" in err
    assert "  pulse 1, -2 on line 0: 1 -> 0; stays at 0\n" in err
    assert "which are no edges" not in err
    assert run("ena", "bit.npz", "--amplitude-cut", "0.3") == 0
    err = capsys.readouterr().err
    assert "which are no edges, are in the graph: 2 in the metric input" in err
    assert "  pulse 0, +1 on line 0: stays at 0, 1\n" in err


def test_edges_up_to_an_amplitude_and_at_another_input(desk: Path, capsys: Says) -> None:
    for cut, n in (("1.2", 0), ("1.3", 2), ("all", 2)):
        assert run("ena", "bit.npz", "--amplitude-cut", cut, "-q") == 0
        assert len(json.loads(capsys.readouterr().out)["edges"]) == n
    # Held at 0.1 the two states are no longer alike: the lower one is left more easily.
    assert run("ena", "bit.npz", "--input", "0.1", "--amplitude-cut", "all", "-o", "held.dot", "-q") == 0
    held = read_graph("held.dot")
    assert held.graph["rest"] == [0.1]
    assert held.edges[0, 1]["threshold"] < 1.2 < held.edges[1, 0]["threshold"]
    refused(capsys, "ena", "bit.npz", "--input", "1,2", says="--input: 2 values; the network has 1 input")
    refused(capsys, "ena", "bit.npz", "--amplitude-cut", "-1", says="must be a number above 0, or all")
    refused(capsys, "ena", "bit.npz", "--metric", "stat", says="did you mean 'state'?")
    refused(capsys, "ena", "bit.npz", "-o", "graph.txt", says="must end in .graphml, .gexf, .json, .dot")


def test_no_attractor_is_an_answer_of_its_own(desk: Path, capsys: Says) -> None:
    EchoStateNetwork([[1.5]], W_in=[[1.0]], activation="relu", b=[0.5]).save("none.npz")
    assert run("ena", "none.npz", "-o", "none.json", "--plot", "none.svg") == 3
    err = capsys.readouterr().err
    assert "0 nodes, 0 edges" in err
    assert "no attractor was found" in " ".join(err.split())
    assert "none.svg was not written: there is nothing to draw" in err
    assert len(read_graph("none.json")) == 0
    assert not (desk / "none.svg").exists()
    EchoStateNetwork([[-2.0]], W_in=[[1.0]]).save("turning.npz")
    assert run("ena", "turning.npz") == 0
    assert "0: periodic orbit of period 2, 100 % of random states" in capsys.readouterr().err


# -- diagnose ------------------------------------------------------------------------------------------------


def test_a_memory_that_works_and_one_that_does_not(desk: Path, capsys: Says) -> None:
    task = ("--task", "flip-flop:1", "--steps", "300", "--pulse-probability", "0.1")
    assert run("diagnose", "strong.npz", *task) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert (document["format"], document["version"], document["correct"]) == ("esntools-diagnosis", 1, True)
    assert "2 attractors for 2 states of the task; every output of 300 steps is right." in err
    assert run("diagnose", "weak.npz", *task, "-o", "weak.json", "--plot", "weak.svg") == 1
    document = json.loads((desk / "weak.json").read_text())
    assert set(document["causes"]) == {"threshold above the pulse"}
    assert document["n_not_attributed"] == 0
    # tanh(1.5 x + 0.1 - g) must carry the upper state x under the saddle.
    _, saddle, high = roots(lambda x: float(np.tanh(1.5 * x + 0.1)) - x)
    needed = 1.5 * high + 0.1 - np.arctanh(saddle)
    assert document["faults"][0]["threshold"] == pytest.approx(needed, rel=1e-3)
    assert f"{needed:.3g} times the pulse is needed" in capsys.readouterr().err
    assert "<svg" in (desk / "weak.svg").read_text()[:1000]


def test_along_a_signal_and_with_a_graph_as_the_task(desk: Path, capsys: Says) -> None:
    u = np.zeros(40)
    u[[0, 10, 20, 30]] = [1.0, -1.0, -1.0, 1.0]
    np.savetxt("pulses.csv", u, header="u", comments="")
    assert run("diagnose", "strong.npz", "--task", "flip-flop:1", "--signal", "pulses.csv") == 0
    assert json.loads(capsys.readouterr().out)["n_steps"] == 40
    graph = nx.DiGraph(inputs={"press": [1.0], "release": [-1.0]})
    graph.add_node("up", output=[-1.0])
    graph.add_node("down", output=[1.0])
    graph.add_edge("up", "down", symbol="press")
    graph.add_edge("down", "up", symbol="release")
    write_graph(graph, "key.graphml")
    assert run("diagnose", "strong.npz", "--task", "key.graphml", "--signal", "pulses.csv") == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    told = "symbols as input (lines are counted from 0): press is +1 on line 0, release is -1 on line 0"
    assert told in " ".join(err.split())
    assert [s["name"] for s in document["states"]] == ["up", "down"]
    # The same network cannot hold three states.
    graph.add_node("lost", output=[3.0])
    graph.add_edge("down", "lost", symbol="press")
    write_graph(graph, "key.json")
    assert run("diagnose", "strong.npz", "--task", "key.json", "--steps", "200", "-q") == 1
    document = json.loads(capsys.readouterr().out)
    assert document["missing"] == [2]
    assert any(f["kind"] == "missing state" for f in document["faults"])
    # An output for some nodes only is no reason to drop those.
    del graph.nodes["lost"]["output"]
    write_graph(graph, "key.json")
    refused(capsys, "diagnose", "strong.npz", "--task", "key.json", says="outputs: nothing for 'lost'")


def test_tasks_and_signals_that_are_refused(desk: Path, capsys: Says) -> None:
    refused(capsys, "diagnose", "bit.npz", says="diagnose --task: missing; bit.npz names no task of its own")
    refused(capsys, "diagnose", "lorenz63", says="lorenz63: a series of the zoo")
    refused(capsys, "diagnose", "bit.npz", "--task", "flip-flop:0", says="flip-flop:K with K from 1 to 8")
    refused(capsys, "diagnose", "bit.npz", "--task", "flipflop", says="must be flip-flop:K, or a graph file")
    refused(capsys, "diagnose", "bit.npz", "--task", "flip-flop:2", says="task: 2 inputs; the network has 1")
    refused(capsys, "diagnose", "bit.npz", "--task", "no.dot", says="no.dot: No such file")
    Path("plain.dot").write_text("digraph { a -> b }")
    refused(
        capsys, "diagnose", "bit.npz", "--task", "plain.dot", says="plain.dot: edge 'a' -> 'b': no symbol"
    )
    Path("bad.csv").write_text("u\n1\n0\n0.5\n")
    signal = ("--task", "flip-flop:1", "--signal", "bad.csv")
    refused(capsys, "diagnose", "bit.npz", *signal, says="bad.csv, row 2 (counted from 0): [0.5]")
    Path("bad.csv").write_text("u\n0\n1\n")
    refused(capsys, "diagnose", "bit.npz", *signal, says="the first row must tell the state")
    refused(capsys, "diagnose", "bit.npz", "--column", "u", says="--column: given without --signal")
    EchoStateNetwork([[1.5]], W_in=[[1.0]]).save("silent.npz")
    refused(capsys, "diagnose", "silent.npz", "--task", "flip-flop:1", says="network: no readout")


# -- design --------------------------------------------------------------------------------------------------


def test_a_graph_becomes_a_network_and_comes_back(desk: Path, capsys: Says) -> None:
    Path("ring.dot").write_text("digraph { a -> b -> c -> a [threshold=0.15]; a -> c [threshold=0.2] }")
    assert run("design", "ring.dot", "-o", "ring.npz") == 0
    err = capsys.readouterr().err
    assert "3 vertices, 4 edges: 4 units, one input line and one output for each vertex" in err
    assert "in the order 0 = a, 1 = b, 2 = c" in err
    assert "self-loop" not in err
    assert run("ena", "ring.npz", "-o", "found.json") == 0
    err = capsys.readouterr().err
    assert "e-1" not in err
    found = read_graph("found.json")
    names = {n: "abc"[int(np.argmax(d["output"]))] for n, d in found.nodes(data=True)}
    assert {n: d["vertex"] for n, d in found.nodes(data=True)} == names
    for node, name in names.items():
        assert f"(vertex {name})" in next(s for s in err.splitlines() if s.startswith(f"  {node}: "))
    again = {(names[i], names[j]): d["threshold"] for i, j, d in found.edges(data=True)}
    wanted: dict[Any, float] = {("a", "b"): 0.15, ("b", "c"): 0.15, ("c", "a"): 0.15, ("a", "c"): 0.2}
    assert again == pytest.approx(wanted, rel=0.02)
    assert run("design", "ring.dot", "--threshold", "0.1", "--activation", "logistic", "--padding", "3",
               "--shuffle", "--leak-rate", "0.5", "-o", "other.npz", "-q") == 0  # fmt: skip
    other = EchoStateNetwork.load("other.npz")
    assert (other.n_units, other.activation.name, other.uniform_leak_rate) == (7, "logistic", 0.5)


def test_graphs_that_are_refused(desk: Path, capsys: Says) -> None:
    Path("ring.dot").write_text("digraph { a -> b -> a [threshold=0.15] }")
    refused(
        capsys, "design", "ring.dot", "--leak-rate", "0.8", says="ring.dot: leak_rate: 0.8; must be at most"
    )
    refused(capsys, "design", "ring.dot", "--threshold", "-1", says="must be a number above 0, or a name")
    refused(capsys, "design", "ring.dot", "--threshold", "50", says="ring.dot: ")
    refused(capsys, "design", "ring.dot", "-o", "model.json", says="must end in .npz")
    refused(capsys, "design", "bit.npz", says="bit.npz: suffix '.npz'")
    Path("pair.dot").write_text("graph { a -- b }")
    refused(
        capsys,
        "design",
        "pair.dot",
        says="pair.dot: not a graph in the format that its suffix names: it is u",
    )
    assert not (desk / "model.npz").exists()


@pytest.mark.slow
@pytest.mark.ci
def test_the_faulty_memory_of_the_zoo(desk: Path, capsys: Says) -> None:
    assert run("diagnose", "flipflop-split", "--plot", "split.png") == 1
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert len(document["attractors"]) == 6
    assert sum(f["kind"] == "split state" for f in document["faults"]) == 2
    assert document["n_not_attributed"] == 0
    assert "state (+1, +1) is split: it is held by 2 attractors" in err
    assert (desk / "split.png").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.ci
def test_a_report_of_a_network_of_ones_own(desk: Path, capsys: Says) -> None:
    assert run("report", "weak.npz", "--task", "flip-flop:1", "-o", "page") == 0
    assert "1 of 4 pulses from an attractor lead where the task does not want" in capsys.readouterr().err
    page = (desk / "page" / "report.html").read_text()
    assert 'class="word">errs' in page
    assert "esntools report weak.npz --task flip-flop:1" in page
    assert (desk / "page" / "diagnosis.txt").stat().st_size > 0


def test_reports_that_are_refused(desk: Path, capsys: Says) -> None:
    refused(
        capsys, "report", "lorenz63", "--task", "flip-flop:1", says="report --task: 'flip-flop:1'; belongs"
    )
    refused(capsys, "report", "weak.npz", "--task", "flop", says="report --task: 'flop'; must be flip-flop:K")
    refused(capsys, "report", "weak.npz", "--n-units", "5", says="is not fitted")
