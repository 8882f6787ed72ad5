"""Graphs in files: what is written comes back, other programs can read it, and a hostile file is refused."""

from __future__ import annotations

import contextlib
import json
import math
import random
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esntools.errors import FileFormatError, InvalidInputError
from esntools.excitable import read_graph, write_graph
from esntools.excitable.dot import NotAGraph, parse_dot

SUFFIXES = (".graphml", ".gexf", ".json", ".dot")


def same(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray):
        return (
            isinstance(b, np.ndarray)
            and (a.dtype, a.shape) == (b.dtype, b.shape)
            and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
        )
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and a != a:
        return isinstance(b, float) and b != b
    if isinstance(a, float) and isinstance(b, float):
        return a == b and math.copysign(1.0, a) == math.copysign(1.0, b)
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
        big=2**40, label="the whole", mode="static", kind=None, small=np.zeros((0, 3), dtype=np.float32),
        names=np.array(["a", "long"]),
    )  # fmt: skip
    graph.graph["incoming_graph_data"] = 1
    a, b, c = names
    graph.add_node(a, label="first ]]> \"quoted\" 'é' λ", x=[0.1, -2.0], value=1, tiny=1e-300)
    graph.add_node(b, value=1.5, id_="json: not ours", start="now", complex=1.0 - 2.0j)
    graph.add_node(c, empty="", blank=" ")
    graph.add_edge(a, b, weight=0.1, label="a -> b", type="strong", nothing=None, ok=False)
    graph.add_edge(b, a, weight=2, alternatives=[{"pulse": 1, "threshold": 0.25}], nan=float("nan"))
    graph.add_edge(b, b, text="json:1", control="line\nbreak\tand\x01", back="\\n \\")
    graph.nodes[b]["node_for_adding"] = 3
    graph.edges[a, b].update({"u_of_edge": 1, "a name": 2, "<&\n>": "3"})
    return graph


def excitable_graph() -> nx.DiGraph:
    """Everything that `excitable_network` may put on a graph, in small."""
    graph = nx.DiGraph(
        kind="excitable network", metric="input", metrics=["input", "state"], amplitude=None, cut="none",
        gap=None, pulses=[[1.0], [-1.0]], pulse_length=1, max_amplitude=4.0, pulse_table=[[1, 0], [1, -1]],
        saddles=[{"x": [0.0, 0.1], "output": None, "n_unstable": 1, "index": -1, "connects": [0, 1],
                  "unstable_multipliers": [[1.5, 0.0]]}],
        n_saddles=1, index_sum=1, audit="failed", audit_reason="sum 3", unresolved_share=0.0, missed=0.01,
        note="", connections=[{"metric": "input", "source": 0, "target": 1, "threshold": 1.25, "lower": 0.0,
                               "checked": True, "pulse": 0, "at_unit": False, "saddle": None, "note": "x"}],
    )  # fmt: skip
    graph.add_node(
        0, kind="fixed point", x=[-0.9, 0.0], period=1, output=[-0.9], radius=0.4, multipliers=[[0.4, 0.0]],
        exponent=-0.9, share=0.5, share_interval=[0.4, 0.6], ball_radius=None, ball_reason="not asked",
    )  # fmt: skip
    graph.add_node(
        1, kind="periodic orbit", x=[0.9, 0.0], states=[[0.9, 0.0], [0.8, 0.0]], period=2, output=None,
        radius=None, multipliers=None, exponent=float("-inf"), share=0.5, share_interval=[0.4, 0.6],
        ball_radius=0.125, ball_reason="",
    )  # fmt: skip
    graph.add_edge(
        0, 1, metric="input", threshold=1.25, lower=0.0, checked=True, label="pulse 0: 1.25", pulse=0,
        at_unit=False, alternatives=[], thresholds={"input": 1.25, "state": 0.5}, lower_bounds={"input": 0.0},
    )  # fmt: skip
    graph.add_edge(
        1, 0, metric="input", threshold=1e-7, lower=float("inf"), checked=True, label="pulse 1", pulse=1,
        at_unit=True, alternatives=[{"pulse": 0, "threshold": 2}], thresholds={}, lower_bounds={},
        kick=[1e-8, 0.0], alignment=1.0, saddle=0,
    )  # fmt: skip
    return graph


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "names", [(0, 1, 2), ("a", "b b", "<c>"), ("1", "-1.0", 'say "no" \\'), ("", "json:1", "line\nbreak")]
)
def test_files_keep_every_attribute(tmp_path: Path, suffix: str, names: tuple[object, ...]) -> None:
    graph = awkward_graph(names)  # type: ignore[arg-type]
    write_graph(graph, tmp_path / f"graph{suffix}")
    assert same_graph(graph, read_graph(tmp_path / f"graph{suffix}"))
    assert [p.name for p in tmp_path.iterdir()] == [f"graph{suffix}"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_keep_an_excitable_network(tmp_path: Path, suffix: str) -> None:
    graph = excitable_graph()
    write_graph(graph, tmp_path / f"graph{suffix}")
    again = read_graph(tmp_path / f"graph{suffix}")
    assert same_graph(graph, again)
    # What is read is an ordinary graph: its algorithms work on it.
    assert nx.is_strongly_connected(again)
    assert nx.shortest_path_length(again, 0, 1, weight="threshold") == 1.25
    write_graph(again, tmp_path / f"again{suffix}")
    assert (tmp_path / f"again{suffix}").read_bytes() == (tmp_path / f"graph{suffix}").read_bytes()


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.complex_numbers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text().filter(lambda k: not k.startswith("$")), inner, max_size=3)
    ),
    max_leaves=5,
)
names = st.text(max_size=4).filter(lambda k: k not in ("id", "source", "target"))
attributes = st.dictionaries(names, values, max_size=3)


def same_but_for_complex_nan(a: object, b: object) -> bool:
    if isinstance(a, complex):
        return isinstance(b, complex) and same(a.real, b.real) and same(a.imag, b.imag)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same_but_for_complex_nan, a, b))
    if isinstance(a, dict):
        return (
            isinstance(b, dict)
            and a.keys() == b.keys()
            and all(same_but_for_complex_nan(a[k], b[k]) for k in a)
        )
    return same(a, b)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), nodes=st.lists(st.text(max_size=3), unique=True, min_size=1, max_size=3))
def test_files_keep_whatever_python_can_say(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, nodes: list[str]
) -> None:
    graph = nx.DiGraph()
    graph.graph.update({k: v for k, v in data.draw(attributes).items() if not k.startswith("$")})
    for node in nodes:
        graph.add_node(node)
        graph.nodes[node].update(data.draw(attributes))
    for node in nodes:
        graph.add_edge(nodes[0], node)
        graph.edges[nodes[0], node].update(data.draw(attributes))
    folder = tmp_path_factory.mktemp("graphs")
    for suffix in SUFFIXES:
        write_graph(graph, folder / f"graph{suffix}")
        again = read_graph(folder / f"graph{suffix}")
        assert list(again) == list(graph), suffix
        assert same_but_for_complex_nan(dict(graph.graph), dict(again.graph)), suffix
        for node in graph:
            assert same_but_for_complex_nan(dict(graph.nodes[node]), dict(again.nodes[node])), suffix
        for edge in graph.edges:
            assert same_but_for_complex_nan(dict(graph.edges[edge]), dict(again.edges[edge])), suffix


def test_other_programs_can_read_the_files(tmp_path: Path) -> None:
    """networkx's own readers, which know nothing of our marks."""
    graph = excitable_graph()
    for suffix, reader in ((".graphml", nx.read_graphml), (".gexf", nx.read_gexf)):
        write_graph(graph, tmp_path / f"graph{suffix}")
        theirs = reader(tmp_path / f"graph{suffix}")
        assert (len(theirs), len(theirs.edges)) == (2, 2)
        key = "threshold" if suffix == ".graphml" else "esn_threshold"
        assert theirs.edges["0", "1"][key] == 1.25
    write_graph(graph, tmp_path / "graph.json")
    document = json.loads((tmp_path / "graph.json").read_text())
    theirs = nx.node_link_graph(document, edges="edges")
    assert theirs.edges[0, 1]["threshold"] == 1.25


def test_files_of_other_programs_are_read(tmp_path: Path) -> None:
    theirs = nx.DiGraph(creator="networkx")
    theirs.add_edge("a", "b", threshold=0.5)
    nx.write_graphml(theirs, tmp_path / "graph.graphml")
    nx.write_gexf(theirs, tmp_path / "graph.gexf")
    text = (tmp_path / "graph.gexf").read_text()
    described = text.replace("</meta>", "<description>two nodes</description></meta>")
    (tmp_path / "described.gexf").write_text(described)
    for edges in ("edges", "links"):
        document = nx.node_link_data(theirs, edges=edges)
        (tmp_path / f"{edges}.json").write_text(json.dumps(document))
    for name in ("graph.graphml", "graph.gexf", "described.gexf", "edges.json", "links.json"):
        assert read_graph(tmp_path / name).edges["a", "b"]["threshold"] == 0.5, name


def test_dot_as_people_write_it(tmp_path: Path) -> None:
    path = tmp_path / "graph.dot"
    path.write_text(
        """/* a task */ digraph "flip flop" {
        # a line of a preprocessor
        rankdir = LR; node [shape=circle, kind="state"]
        up [label="on\\nnow"];  // a comment
        up -> down -> up [symbol="press" + "ed", threshold=.5]
        subgraph cluster_0 { node [shape=box]; lost:n -> up:s:w [n=3]; label = inner }
        down -> down
        }"""
    )
    graph = read_graph(path)
    assert graph.graph == {"rankdir": "LR"}
    assert dict(graph.nodes(data=True)) == {
        "up": {"shape": "circle", "kind": "state", "label": "on\nnow"},
        "down": {"shape": "circle", "kind": "state"},
        "lost": {"shape": "box", "kind": "state"},
    }
    assert {(i, j): d for i, j, d in graph.edges(data=True)} == {
        ("up", "down"): {"symbol": "pressed", "threshold": 0.5},
        ("down", "up"): {"symbol": "pressed", "threshold": 0.5},
        ("lost", "up"): {"n": 3},
        ("down", "down"): {},
    }
    assert list(parse_dot("strict digraph { 0 -> 1; 0 -> 1 }")) == [0, 1]
    assert list(parse_dot("digraph { 0 -> a; 1.5 }")) == ["0", "a", "1.5"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("graph { a -- b }", "undirected"),
        ("digraph { a -- b }", "undirected"),
        ("digraph { a -> b; a -> b }", "parallel edges"),
        ("digraph { a [label=<b>] }", "line 1: an HTML label"),
        ("digraph { a -> {b c} }", "leads to a subgraph"),
        ("digraph { {b c} -> a }", "leaves a subgraph"),
        ("digraph { a -> b", "ends before"),
        ("digraph { a [x=1 }", "name was expected"),
        ("digraph { a [x] }", "'=' was expected"),
        ("digraph {} digraph {}", "follows its last"),
        ('digraph {\n a [x="no end] }', "line 2"),
        ("a -> b", "does not begin with 'digraph'"),
        ("", "does not begin"),
        ("digraph { 1e5 -> 2 }", "not understood"),
        ("digraph " + "{" * 1000, "nested"),
    ],
)
def test_what_is_no_dot_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(NotAGraph, match=reason):
        parse_dot(text)


def test_dot_cut_anywhere_is_refused_or_read(tmp_path: Path) -> None:
    """No prefix of a file, and no file with a byte changed, gets further than a refusal."""
    write_graph(awkward_graph((0, 1, 2)), tmp_path / "graph.dot")
    text = (tmp_path / "graph.dot").read_text()
    for end in range(0, len(text) - 2, 7):
        with pytest.raises(NotAGraph):
            parse_dot(text[:end])
    draw = random.Random(0)
    path = tmp_path / "changed.dot"
    for _ in range(100):
        at = draw.randrange(len(text))
        path.write_text(text[:at] + draw.choice('"\\{}[]=;-><:0a') + text[at + 1 :])
        with contextlib.suppress(FileFormatError):
            assert isinstance(read_graph(path), nx.DiGraph)


def test_files_that_are_refused(tmp_path: Path) -> None:
    graph = awkward_graph((0, 1, 2))
    with pytest.raises(InvalidInputError, match=r"'.graphlm'.*did you mean '.graphml'"):
        write_graph(graph, tmp_path / "graph.graphlm")
    with pytest.raises(InvalidInputError, match="suffix"):
        read_graph(tmp_path / "graph.xml")
    with pytest.raises(InvalidInputError, match="DiGraph"):
        write_graph(nx.Graph(), tmp_path / "graph.json")
    with pytest.raises(InvalidInputError, match="nodes"):
        write_graph(nx.DiGraph([(0, "a")]), tmp_path / "graph.json")
    with pytest.raises(InvalidInputError, match="type object"):
        write_graph(nx.DiGraph(thing=object()), tmp_path / "graph.json")
    with pytest.raises(InvalidInputError, match="array of type object"):
        write_graph(nx.DiGraph(thing=np.array([None])), tmp_path / "graph.json")
    named = nx.DiGraph()
    named.add_node(0, id=1)
    with pytest.raises(InvalidInputError, match="named 'id'"):
        write_graph(named, tmp_path / "graph.json")
    assert not any(tmp_path.iterdir())
    for suffix in SUFFIXES:
        path = tmp_path / f"broken{suffix}"
        for content in (b"this is no graph", b"", b"\xff\xfe\x00", b"\x00" * 100):
            path.write_bytes(content)
            with pytest.raises(FileFormatError, match="not a graph"):
                read_graph(path)
        with pytest.raises(FileFormatError, match="No such file"):
            read_graph(tmp_path / f"missing{suffix}")
        (tmp_path / f"folder{suffix}").mkdir()
        with pytest.raises(FileFormatError, match="directory"):
            read_graph(tmp_path / f"folder{suffix}")


def laughs() -> str:
    entities = "".join(f'<!ENTITY l{k} "{f"&l{k - 1};" * 10}">' for k in range(1, 10))
    return f'<?xml version="1.0"?><!DOCTYPE graphml [<!ENTITY l0 "ha">{entities}]>'


@pytest.mark.parametrize("suffix", [".graphml", ".gexf"])
def test_hostile_xml_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"graph{suffix}"
    secret = tmp_path / "secret"
    secret.write_text("secret")
    outside = f'<!DOCTYPE graphml [<!ENTITY l9 SYSTEM "{secret}">]>'
    for head in (laughs(), outside, laughs().encode("utf-16").decode("utf-16")):
        body = '<graphml><graph edgedefault="directed"><node id="&l9;"/></graph></graphml>'
        for encoding in ("utf-8", "utf-16"):
            path.write_bytes((head + body).encode(encoding))
            with pytest.raises(FileFormatError, match="document type"):
                read_graph(path)
    path.write_text("<a>" * 5000 + "</a>" * 5000)
    with pytest.raises(FileFormatError, match="nested"):
        read_graph(path)


def test_undirected_graphs_and_parallel_edges_are_refused(tmp_path: Path) -> None:
    many = nx.MultiDiGraph([("a", "b"), ("a", "b")])
    for graph, reason in ((nx.Graph([("a", "b")]), "undirected"), (many, "parallel edges")):
        nx.write_graphml(graph, tmp_path / "graph.graphml")
        nx.write_gexf(graph, tmp_path / "graph.gexf")
        (tmp_path / "graph.json").write_text(json.dumps(nx.node_link_data(graph, edges="edges")))
        for suffix in (".graphml", ".gexf", ".json"):
            with pytest.raises(FileFormatError, match=reason):
                read_graph(tmp_path / f"graph{suffix}")


GOOD: dict[str, Any] = {"nodes": [{"id": 0}, {"id": 1}], "edges": [{"source": 0, "target": 1}]}


@pytest.mark.parametrize(
    "document",
    [
        [], 3, None, {}, {"nodes": 1, "edges": []}, {"nodes": [0], "edges": []}, {"nodes": [{}], "edges": []},
        {"nodes": [{"id": [1]}], "edges": []}, {"nodes": [{"id": None}], "edges": []},
        {"nodes": [{"id": 0}, {"id": 0}], "edges": []}, {"nodes": [{"id": 0}]},
        {**GOOD, "edges": [{"source": 0}]}, {**GOOD, "edges": [{"source": 0, "target": 7}]},
        {**GOOD, "edges": [{"source": 0, "target": [1]}]}, {**GOOD, "edges": 2 * GOOD["edges"]},
        {**GOOD, "graph": [1]}, {**GOOD, "graph": {"x": {"$float": "seven"}}},
        {**GOOD, "graph": {"x": {"$complex": [1]}}}, {**GOOD, "graph": {"x": {"$array": [[1], [1, 2]]}}},
        {**GOOD, "graph": {"x": {"$array": {"type": "O", "shape": [1], "items": [1]}}}},
        {**GOOD, "graph": {"x": {"$array": {"type": "<U999999999", "shape": [1], "items": ["a"]}}}},
        {**GOOD, "graph": {"x": {"$array": {"type": "<f8", "shape": [9**9], "items": [1]}}}},
        {**GOOD, "directed": False}, {**GOOD, "multigraph": True},
    ],
)  # fmt: skip
def test_json_of_another_shape_is_refused(tmp_path: Path, document: Any) -> None:
    path = tmp_path / "graph.json"
    path.write_text(json.dumps(GOOD))
    assert list(read_graph(path).edges) == [(0, 1)]
    path.write_text(json.dumps(document))
    with pytest.raises(FileFormatError, match="not a graph"):
        read_graph(path)


def test_deep_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "graph.json"
    path.write_text('{"graph": {"x": ' + "[" * 100_000 + "]" * 100_000 + '}, "nodes": [], "edges": []}')
    with pytest.raises(FileFormatError, match="not a graph"):
        read_graph(path)
