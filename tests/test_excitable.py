"""Excitable networks and visit graphs: closed forms, the published fixture, the slow twin, and files."""

from __future__ import annotations

import itertools
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import scipy.sparse
from naive_dynamics import naive_destination

from esntools.errors import FileFormatError, InvalidInputError
from esntools.excitable import excitable_network, read_graph, visit_graph, write_graph
from esntools.excitable.basins import Basins, random_states, wilson_interval
from esntools.fixed_points import find_fixed_points
from esntools.network import EchoStateNetwork, Readout

FIXTURE = Path(__file__).parents[2] / "shared" / "fixtures" / "flipflop2_N100.npz"

#: The stable point of tanh(1.5 m) = m; the pulse that carries -m past 0 is 1.5 m.
M = 0.8585596366401103


def two_bits() -> EchoStateNetwork:
    """Two uncoupled bistable units, an input and an output each."""
    return EchoStateNetwork(1.5 * np.eye(2), W_in=np.eye(2), readout=Readout(np.eye(2)))


def unit_pulses(n: int) -> np.ndarray:
    return np.repeat(np.eye(n), 2, axis=0) * np.tile([1.0, -1.0], n)[:, None]


def trained_flip_flop(n_bits: int, n_units: int, seed: int, sparse: bool = False) -> EchoStateNetwork:
    """Ridge regression with noisy teacher forcing."""
    rng = np.random.default_rng(seed)
    W = np.where(rng.random((n_units, n_units)) < 0.2, rng.uniform(-1, 1, (n_units, n_units)), 0.0)
    W *= 0.9 / np.max(np.abs(np.linalg.eigvals(W)))
    W_in, W_fb = rng.uniform(-1, 1, (2, n_units, n_bits))
    T = 2500
    u = np.where(rng.random((T, n_bits)) < 0.03, rng.choice([-1.0, 1.0], (T, n_bits)), 0.0)
    u[0] = 1.0
    y, x, states, targets = np.zeros(n_bits), np.zeros(n_units), [], []
    for v in u:
        x = np.tanh(W @ x + W_in @ v + W_fb @ (y + 0.2 * rng.standard_normal(n_bits)))
        y = np.where(v != 0.0, v, y)
        states.append(x)
        targets.append(y)
    X, Y = np.array(states[100:]), np.array(targets[100:])
    W_out = np.linalg.solve(X.T @ X + 0.2 * np.eye(n_units), X.T @ Y).T
    recurrent = scipy.sparse.csr_array(W) if sparse else W
    return EchoStateNetwork(recurrent, W_in=W_in, W_fb=W_fb, readout=Readout(W_out))


def test_two_independent_bits() -> None:
    graph = excitable_network(two_bits(), unit_pulses(2), n_random=400, tolerance=1e-9)
    outputs = [graph.nodes[k]["output"] for k in graph]
    np.testing.assert_allclose(outputs, [[-M, -M], [-M, M], [M, -M], [M, M]], atol=1e-12)
    # A pulse on one line flips that bit and leaves the other: the square, in both directions.
    assert set(graph.edges) == {(0, 1), (1, 0), (0, 2), (2, 0), (1, 3), (3, 1), (2, 3), (3, 2)}
    expected = {(0, 2): 0, (1, 3): 0, (2, 0): 1, (3, 1): 1, (0, 1): 2, (2, 3): 2, (1, 0): 3, (3, 2): 3}
    for edge, pulse in expected.items():
        data = graph.edges[edge]
        assert data["pulse"] == pulse
        assert data["threshold"] == pytest.approx(1.5 * M, abs=1e-8)
        assert (data["at_unit"], data["checked"], data["alternatives"]) == (False, True, [])
    assert graph.graph["pulse_table"] == [[k] * 4 for k in range(4)]
    assert (graph.graph["audit"], graph.graph["index_sum"], graph.graph["n_saddles"]) == ("passed", 1, 5)
    ends = sorted(s["connects"] for s in graph.graph["saddles"] if s["connects"])
    assert ends == [[0, 1], [0, 2], [1, 3], [2, 3]]
    # The basins are the quadrants: the shares are counts of signs, exactly.
    drawn = random_states(two_bits(), 400, np.random.default_rng(0).spawn(2)[1])
    signs = 2 * (drawn[:, 0] > 0.0) + (drawn[:, 1] > 0.0)
    for k in graph:
        low, high = graph.nodes[k]["share_interval"]
        assert graph.nodes[k]["share"] == np.mean(signs == k)
        assert (low, high) == wilson_interval(int(np.sum(signs == k)), 400)
        assert graph.nodes[k]["radius"] == pytest.approx(1.5 * (1.0 - M * M), abs=1e-12)
    assert sum(graph.nodes[k]["share"] for k in graph) == 1.0


def test_longer_pulses_need_less() -> None:
    """The threshold of a pulse of two steps, by bisection on the scalar map itself."""
    bit = EchoStateNetwork([[1.5]], W_in=[[1.0]])
    graph = excitable_network(bit, [[1.0]], pulse_length=2, tolerance=1e-9)
    low, high = 0.0, 2.0
    for _ in range(60):
        g = 0.5 * (low + high)
        x = np.tanh(1.5 * np.tanh(-1.5 * M + g) + g)
        low, high = (low, g) if x > 0.0 else (g, high)
    assert graph.edges[0, 1]["threshold"] == pytest.approx(high, abs=1e-7)
    assert high < 1.5 * M


def test_published_fixture() -> None:
    if not FIXTURE.exists():
        pytest.skip("the shared fixture is not beside this checkout")
    with np.load(FIXTURE) as data:
        network = EchoStateNetwork(
            data["W"], W_in=data["W_in"], W_fb=data["W_fb"], readout=Readout(data["W_out"]),
            leak_rate=float(data["leak_rate"]),
        )  # fmt: skip
    graph = excitable_network(network, unit_pulses(2))
    assert graph.graph["pulse_table"] == [
        [4, 0, 1, 0], [3, 1, 1, 2], [4, 2, 1, 2], [3, 1, 3, 4], [4, 2, 3, 4], [5, 1, 5, 4],
    ]  # fmt: skip
    ring = sorted(s["connects"] for s in graph.graph["saddles"] if s["connects"])
    assert ring == [[0, 1], [0, 2], [1, 3], [2, 4], [3, 5], [4, 5]]
    assert (graph.graph["audit"], graph.graph["n_saddles"]) == ("passed", 7)
    assert all(data["checked"] for *_, data in graph.edges(data=True))
    # x -> -x is a symmetry: the graph is its own mirror image.
    for i, j, data in graph.edges(data=True):
        assert graph.edges[5 - i, 5 - j]["threshold"] == pytest.approx(data["threshold"], rel=1e-4)


@pytest.mark.parametrize("sparse", [False, True])
def test_trained_network_against_the_slow_twin(sparse: bool) -> None:
    network = trained_flip_flop(2, 50, 1, sparse)
    pulses = unit_pulses(2)
    graph = excitable_network(network, pulses, n_amplitudes=24, max_amplitude=2.0)
    attractors = np.array([graph.nodes[k]["x"] for k in graph])
    assert len(attractors) == 4
    for i, p in itertools.product(range(len(attractors)), range(len(pulses))):
        destination = naive_destination(network, attractors[i], pulses[p], attractors)
        assert graph.graph["pulse_table"][i][p] == destination
    # The automaton that was to be learned: a pulse sets its bit.
    bits = np.sign([graph.nodes[k]["output"] for k in graph])
    for i, p in itertools.product(range(4), range(4)):
        wanted = np.where(pulses[p] != 0.0, pulses[p], bits[i])
        np.testing.assert_array_equal(bits[graph.graph["pulse_table"][i][p]], wanted)
    for i, j, data in list(graph.edges(data=True))[:6]:
        pulse = pulses[data["pulse"]]
        for factor, lands in ((1.001, True), (0.999, False)):
            x = attractors[i]
            reached = naive_destination(network, x, factor * data["threshold"] * pulse, attractors)
            assert (reached == j) is lands


def test_thresholds_need_not_be_monotone() -> None:
    """With a sine, a stronger pulse leads back: the first crossing into each attractor is reported."""
    network = EchoStateNetwork([[1.5]], W_in=[[1.0]], activation="sine")
    graph = excitable_network(network, [[1.0]], max_amplitude=8.0, n_amplitudes=100, tolerance=1e-9)
    stable = [graph.nodes[k]["x"][0] for k in graph]
    assert len(stable) == 2
    # sin(1.5 x + g) turns positive at g = -1.5 x and negative again at pi - 1.5 x.
    assert graph.edges[0, 1]["threshold"] == pytest.approx(-1.5 * stable[0], abs=1e-7)
    assert graph.edges[1, 0]["threshold"] == pytest.approx(np.pi - 1.5 * stable[1], abs=1e-7)
    assert all(data["checked"] for *_, data in graph.edges(data=True))


def test_networks_without_attractors_or_with_one() -> None:
    cycle = excitable_network(EchoStateNetwork([[-2.0]], W_in=[[1.0]]), [[1.0]], n_random=20, relax_steps=200)
    assert len(cycle) == 0
    assert cycle.graph["unresolved_share"] == 1.0
    assert cycle.graph["n_saddles"] == 1
    single = excitable_network(EchoStateNetwork([[0.5]], W_in=[[1.0]]), [[1.0]], n_random=20)
    assert list(single.nodes(data="share")) == [(0, 1.0)]
    assert len(single.edges) == 0
    assert single.graph["pulse_table"] == [[0]]


def test_labels_do_not_depend_on_the_batch() -> None:
    network = two_bits().at_input([0.0, 0.0])
    basins = Basins(network, find_fixed_points(network), 2000)
    states = np.random.default_rng(0).uniform(-1, 1, (40, 2))
    labels = basins.label(states)
    assert labels.tolist() == [int(2 * (x > 0) + (y > 0)) for x, y in states]
    assert [int(basins.label(s[None])[0]) for s in states] == labels.tolist()
    assert basins.label(np.zeros((1, 2))).tolist() == [-1]


def test_wilson_interval_of_a_published_example() -> None:
    # Ten of ten: the lower end is n / (n + z^2).
    assert wilson_interval(10, 10) == pytest.approx((10.0 / (10.0 + 1.959964**2), 1.0), abs=1e-6)
    low, high = wilson_interval(0, 20)
    assert (low, high) == pytest.approx((0.0, 1.959964**2 / (20 + 1.959964**2)), abs=1e-6)


def visits_network() -> EchoStateNetwork:
    return EchoStateNetwork([[2.0]], readout=Readout([[1.0]]))


def test_visits_counted_by_hand() -> None:
    found = find_fixed_points(visits_network())
    order = [round(float(p.x[0])) for p in found]
    assert order == [-1, 1, 0]
    # cells:      -1    -1    0    0    1    0     -1    0    1    1
    y = np.array([-0.9, -0.8, 0.1, 0.2, 0.8, -0.1, -0.7, 0.0, 0.9, 0.9])[:, None]
    graph = visit_graph(found, y, network=visits_network(), dt=0.5)
    low, high, zero = 0, 1, 2
    assert {e: graph.edges[e]["count"] for e in graph.edges} == {
        (low, zero): 2, (zero, high): 2, (high, zero): 1, (zero, low): 1,
    }  # fmt: skip
    assert graph.edges[zero, high]["probability"] == pytest.approx(2.0 / 3.0)
    assert graph.edges[zero, high]["mean_dwell"] == 1.5
    assert graph.edges[zero, high]["mean_dwell_time"] == 0.75
    # The first visit to the low cell began before the run: only the second one has a length.
    assert graph.nodes[low]["mean_dwell"] == 1.0
    assert [graph.nodes[k]["visits"] for k in (low, high, zero)] == [2, 2, 3]
    assert [graph.nodes[k]["share"] for k in (low, high, zero)] == [0.3, 0.3, 0.4]
    for node in graph:
        out = [data["probability"] for *_, data in graph.out_edges(node, data=True)]
        assert sum(out) == pytest.approx(1.0)


def test_visits_by_states_outputs_and_delays_agree_where_they_must() -> None:
    network = visits_network()
    found = find_fixed_points(network)
    y = np.sin(np.arange(300) * 0.05)[:, None]
    plain = visit_graph(found, y, network=network)
    delayed = visit_graph(found, y, network=network, delays=3, delay=4)
    assert nx.utils.edges_equal(plain.edges, delayed.edges)
    assert delayed.graph["n_steps"] == 292
    narrow = visit_graph(found, y, network=network, fraction=0.2)
    assert set(narrow.edges) == set(plain.edges)
    assert visit_graph(found, np.full((20, 1), 0.5), network=network, fraction=0.1).graph["n_steps"] == 0


def test_misuse_is_refused() -> None:
    network, found = visits_network(), find_fixed_points(visits_network())
    with pytest.raises(InvalidInputError, match="pulses"):
        excitable_network(two_bits(), [[1.0]])
    with pytest.raises(InvalidInputError, match="finite"):
        excitable_network(two_bits(), [[1.0, np.inf]])
    with pytest.raises(InvalidInputError, match="relax_steps"):
        excitable_network(two_bits(), [[1.0, 0.0]], relax_steps=0)
    with pytest.raises(InvalidInputError, match="max_amplitude"):
        excitable_network(two_bits(), [[1.0, 0.0]], max_amplitude=0.0)
    with pytest.raises(InvalidInputError, match="trajectory"):
        visit_graph(found, np.zeros((5, 3)), network=network)
    with pytest.raises(InvalidInputError, match=r"trajectory\[2\]"):
        visit_graph(found, np.array([[0.0], [0.0], [np.nan]]), network=network)
    with pytest.raises(InvalidInputError, match="delays"):
        visit_graph(found, np.zeros((5, 1)), network=network, delays=0)
    with pytest.raises(InvalidInputError, match="fraction"):
        visit_graph(found, np.zeros((5, 1)), network=network, fraction=2.0)


# -- files -----------------------------------------------------------------------------------------------


def same(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and np.array_equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and a != a:
        return isinstance(b, float) and b != b
    return type(a) is type(b) and a == b


def same_graph(a: nx.DiGraph, b: nx.DiGraph) -> bool:
    return (
        same(dict(a.graph), dict(b.graph))
        and list(a.nodes) == list(b.nodes)
        and set(a.edges) == set(b.edges)
        and all(same(dict(a.nodes[n]), dict(b.nodes[n])) for n in a)
        and all(same(dict(a.edges[e]), dict(b.edges[e])) for e in a.edges)
    )


def awkward_graph(names: tuple[object, object, object]) -> nx.DiGraph:
    graph = nx.DiGraph(
        name="<a & b>", array=np.eye(2), nested={"list": [1, 2.5, None, "x"], "inf": float("inf")}, flag=True,
        big=2**40, label="the whole", mode="static", kind=None,
    )  # fmt: skip
    a, b, c = names
    graph.add_node(a, label="first ]]> \"quoted\" 'é' λ", x=[0.1, -2.0], value=1)
    graph.add_node(b, value=1.5, id_="json: not ours", start="now", complex=1.0 - 2.0j)
    graph.add_node(c)
    graph.add_edge(a, b, weight=0.1, label="a -> b", type="strong", nothing=None, ok=False)
    graph.add_edge(b, a, weight=2, alternatives=[{"pulse": 1, "threshold": 0.25}], nan=float("nan"))
    graph.add_edge(b, b, text="json:1", control="line\nbreak\tand\x01")
    return graph


@pytest.mark.parametrize("suffix", [".graphml", ".gexf", ".json"])
@pytest.mark.parametrize("names", [(0, 1, 2), ("a", "b b", "<c>")])
def test_files_keep_every_attribute(
    tmp_path: Path, suffix: str, names: tuple[object, object, object]
) -> None:
    graph = awkward_graph(names)
    write_graph(graph, tmp_path / f"graph{suffix}")
    assert same_graph(graph, read_graph(tmp_path / f"graph{suffix}"))
    assert [p.name for p in tmp_path.iterdir()] == [f"graph{suffix}"]


@pytest.mark.parametrize("suffix", [".graphml", ".gexf", ".json"])
def test_files_keep_an_excitable_network(tmp_path: Path, suffix: str) -> None:
    graph = excitable_network(two_bits(), unit_pulses(2), n_random=50)
    write_graph(graph, tmp_path / f"graph{suffix}")
    assert same_graph(graph, read_graph(tmp_path / f"graph{suffix}"))
    visits = visit_graph(find_fixed_points(visits_network()), np.zeros((4, 1)), network=visits_network())
    write_graph(visits, tmp_path / f"visits{suffix}")
    assert same_graph(visits, read_graph(tmp_path / f"visits{suffix}"))


def test_other_programs_can_read_the_files(tmp_path: Path) -> None:
    """networkx's own readers, which know nothing of our marks."""
    graph = excitable_network(two_bits(), unit_pulses(2), n_random=50)
    for suffix, reader in ((".graphml", nx.read_graphml), (".gexf", nx.read_gexf)):
        write_graph(graph, tmp_path / f"graph{suffix}")
        theirs = reader(tmp_path / f"graph{suffix}")
        assert (len(theirs), len(theirs.edges)) == (4, 8)
        key = "threshold" if suffix == ".graphml" else "esn_threshold"
        assert theirs.edges["0", "1"][key] == graph.edges[0, 1]["threshold"]
    import json

    write_graph(graph, tmp_path / "graph.json")
    document = json.loads((tmp_path / "graph.json").read_text())
    theirs = nx.node_link_graph(document, edges="edges")
    assert theirs.edges[0, 1]["threshold"] == graph.edges[0, 1]["threshold"]


def test_dot_is_well_formed(tmp_path: Path) -> None:
    write_graph(awkward_graph((0, 1, 2)), tmp_path / "graph.dot")
    text = (tmp_path / "graph.dot").read_text()
    assert text.startswith("digraph {\n")
    assert text.count('" -> "') == 3
    # Outside quoted strings only keywords and punctuation are left.
    rest, inside, escaped = [], False, False
    for letter in text:
        if escaped:
            escaped = False
        elif inside and letter == "\\":
            escaped = True
        elif letter == '"':
            inside = not inside
        elif not inside:
            rest.append(letter)
    assert not inside
    assert set("".join(rest).replace("digraph", "").replace("graph", "")) <= set(" \n{}[];,=->")
    with pytest.raises(InvalidInputError, match="suffix"):
        read_graph(tmp_path / "graph.dot")


def test_files_that_are_refused(tmp_path: Path) -> None:
    graph = awkward_graph((0, 1, 2))
    with pytest.raises(InvalidInputError, match=r"'.graphlm'.*did you mean '.graphml'"):
        write_graph(graph, tmp_path / "graph.graphlm")
    with pytest.raises(InvalidInputError, match="DiGraph"):
        write_graph(nx.Graph(), tmp_path / "graph.json")
    with pytest.raises(InvalidInputError, match="nodes"):
        write_graph(nx.DiGraph([(0, "a")]), tmp_path / "graph.json")
    with pytest.raises(InvalidInputError, match="type object"):
        write_graph(nx.DiGraph(thing=object()), tmp_path / "graph.json")
    for suffix in (".graphml", ".gexf", ".json"):
        path = tmp_path / f"broken{suffix}"
        path.write_text("this is no graph")
        with pytest.raises(FileFormatError, match="not a graph"):
            read_graph(path)
        with pytest.raises(FileFormatError, match="No such file"):
            read_graph(tmp_path / f"missing{suffix}")
    assert not (tmp_path / "graph.json").exists()


@pytest.mark.slow
def test_three_bits_at_300_units() -> None:
    graph = excitable_network(trained_flip_flop(3, 300, 2), unit_pulses(3))
    assert len(graph) == 8
    bits = np.sign([graph.nodes[k]["output"] for k in graph])
    for i, p in itertools.product(range(8), range(6)):
        pulse = unit_pulses(3)[p]
        wanted = np.where(pulse != 0.0, pulse, bits[i])
        np.testing.assert_array_equal(bits[graph.graph["pulse_table"][i][p]], wanted)
    assert graph.graph["audit"] == "passed"
