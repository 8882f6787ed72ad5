"""Graphs to files and back, with every attribute kept: GraphML, GEXF, JSON node-link and DOT."""

from __future__ import annotations

import html
import io
import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree
from xml.parsers import expat

import networkx as nx
import numpy as np

from esntools._typing import Document
from esntools.errors import FileFormatError, InvalidInputError, nearest_name
from esntools.excitable.dot import NotAGraph, dot_text, parse_dot
from esntools.files import write_bytes

__all__ = ["read_graph", "write_graph"]

# XML formats and DOT know numbers and strings only: any other value is JSON text behind this mark, and so
# is a string that happens to begin with it.
_MARK: Final = "json:"
#: Names that networkx's readers pass to functions whose arguments are called so.
_TAKEN: Final = ("self", "node_for_adding", "u_of_edge", "v_of_edge", "u_for_edge", "v_for_edge", "key")
#: Elements inside elements that a graph in XML needs, with room to spare.
_DEEPEST_XML: Final = 100


def _array_to_json(array: np.ndarray[Any, Any]) -> Any:
    if array.dtype.kind not in "biufcU":
        raise InvalidInputError(
            "graph", f"an array of type {array.dtype}", "arrays must hold numbers, truth values or text"
        )
    items = _to_json(array.tolist())
    if array.size and array.dtype in (np.float64, np.int64, np.bool_):
        return {"$array": items}
    # Lists forget the shape of what is empty, and every other type.
    kind = "U" if array.dtype.kind == "U" else array.dtype.str
    return {"$array": {"type": kind, "shape": list(array.shape), "items": items}}


def _array_from_json(inner: Any) -> np.ndarray[Any, Any]:
    if not isinstance(inner, dict):
        return np.array(_from_json(inner))
    kind = np.dtype(inner["type"])
    # A file must not say how much memory a text takes.
    if kind.kind not in "biufcU" or kind.itemsize > 32:
        raise NotAGraph(f"an array of type {kind}")
    return np.array(_from_json(inner["items"]), dtype=kind).reshape([int(n) for n in inner["shape"]])


def _to_json(value: Any) -> Any:
    """Return `value` in JSON's terms; what JSON has no word for becomes a one-key object."""
    if isinstance(value, np.ndarray):
        return _array_to_json(value)
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, complex):
        return {"$complex": [_to_json(value.real), _to_json(value.imag)]}
    if isinstance(value, (list, tuple)):
        return [_to_json(v) for v in value]
    if isinstance(value, dict):
        bad = [k for k in value if not isinstance(k, str) or k.startswith("$")]
        if bad:
            raise InvalidInputError("graph", f"key {bad[0]!r}", "keys of attributes must be text without '$'")
        return {k: _to_json(v) for k, v in value.items()}
    raise InvalidInputError(
        "graph", f"an attribute of type {type(value).__name__}",
        "must be numbers, text, None, lists, dicts or arrays of these", "convert it, or leave it out",
    )  # fmt: skip


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_json(v) for v in value]
    if isinstance(value, dict):
        if len(value) == 1:
            ((key, inner),) = value.items()
            if key == "$array":
                return _array_from_json(inner)
            if key == "$float":
                return float(inner)
            if key == "$complex":
                return complex(_from_json(inner[0]), _from_json(inner[1]))
        return {k: _from_json(v) for k, v in value.items()}
    return value


def _json_text(value: Any) -> str:
    return _MARK + json.dumps(_to_json(value), allow_nan=False)


def _pack(value: Any) -> int | float | str:
    """Return a value that every format can hold."""
    if isinstance(value, np.generic):
        value = value.item()
    # networkx's reader of GraphML drops what is empty, and XML the spaces at the ends.
    if isinstance(value, str) and value.strip() == value != "" and value.isprintable():
        return value if not value.startswith(_MARK) else _json_text(value)
    # Booleans are spelt differently by every format and reader: JSON has one spelling.
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    return _json_text(value)


def _unpack(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_MARK):
        return _from_json(json.loads(value[len(_MARK) :]))
    return value


def _packed_name(name: str) -> str:
    return _json_text(name) if name in _TAKEN else str(_pack(name))


def _columns(rows: list[dict[str, Any]]) -> list[dict[str, int | float | str]]:
    """Pack the attributes of all nodes or all edges; in XML a name has one type in the whole file."""
    packed = [{k: _pack(v) for k, v in row.items()} for row in rows]
    types: dict[str, set[type]] = {}
    for row in packed:
        for k, v in row.items():
            types.setdefault(k, set()).add(type(v))
    for row, new in zip(rows, packed):
        for k, v in new.items():
            if len(types[k]) > 1 and not isinstance(v, str):
                new[k] = _json_text(row[k])
    return [{_packed_name(k): v for k, v in row.items()} for row in packed]


def _packed(graph: nx.DiGraph) -> nx.DiGraph:
    """Return a copy of text nodes and packed attributes, and of nothing that a writer would add or drop."""
    copy = nx.DiGraph()
    nodes, edges = list(graph.nodes(data=True)), list(graph.edges(data=True))
    name = {node: str(_pack(node)) for node in graph}
    for (node, _), attributes in zip(nodes, _columns([d for _, d in nodes])):
        copy.add_node(name[node])
        copy.nodes[name[node]].update(attributes)
    for (i, j, _), attributes in zip(edges, _columns([d for *_, d in edges])):
        copy.add_edge(name[i], name[j])
        copy.edges[name[i], name[j]].update(attributes)
    return copy


def _unpacked(graph: nx.DiGraph, section: Document) -> nx.DiGraph:
    def name(text: str) -> int | str:
        return (int if section["nodes"] == "int" else str)(_unpack(text))

    out = nx.DiGraph()
    out.graph.update(_from_json(section["graph"]))
    for node, attributes in graph.nodes(data=True):
        out.add_node(name(node))
        out.nodes[name(node)].update({_unpack(k): _unpack(v) for k, v in attributes.items()})
    for i, j, attributes in graph.edges(data=True):
        out.add_edge(name(i), name(j))
        out.edges[name(i), name(j)].update({_unpack(k): _unpack(v) for k, v in attributes.items()})
    return out


def _section(graph: nx.DiGraph) -> Document:
    kinds = {type(node) for node in graph.nodes}
    if not kinds <= {int} and not kinds <= {str}:
        raise InvalidInputError(
            "graph", f"nodes of type {', '.join(sorted(k.__name__ for k in kinds))}",
            "nodes must be all integers or all text", "use networkx.convert_node_labels_to_integers",
        )  # fmt: skip
    names = {
        key
        for attributes in [d for _, d in graph.nodes(data=True)] + [d for *_, d in graph.edges(data=True)]
        for key in attributes
    }
    bad = [n for n in names if not isinstance(n, str)]
    if bad:
        raise InvalidInputError("graph", f"attribute {bad[0]!r}", "names of attributes must be text")
    return {"nodes": "int" if kinds == {int} else "str", "graph": _to_json(dict(graph.graph))}


def _our_section(text: str | None) -> Document | None:
    """Return what `write_graph` keeps beside the graph, or None when another program wrote the file."""
    try:
        section = json.loads(text or "")
    except ValueError:
        return None
    ours = isinstance(section, dict) and section.keys() == {"nodes", "graph"}
    return section if ours else None


def _write_graphml(graph: nx.DiGraph, section: Document) -> bytes:
    copy = _packed(graph)
    # Plain graph attributes stay readable for other programs, beside the complete section.
    for key, value in graph.graph.items():
        # networkx writes this one as the XML name of the graph.
        if key != "id" and key == _pack(key) and type(value) in (int, float, str) and value == _pack(value):
            copy.graph[key] = value
    copy.graph["esntools"] = json.dumps(section, allow_nan=False)
    buffer = io.BytesIO()
    nx.write_graphml_xml(copy, buffer, infer_numeric_types=True)
    return buffer.getvalue()


def _write_gexf(graph: nx.DiGraph, section: Document) -> bytes:
    # GEXF gives these edge and node names a meaning of its own, and has no attributes of the whole graph.
    copy = nx.DiGraph()
    packed = _packed(graph)
    for node, attributes in packed.nodes(data=True):
        shown = {"label": str(attributes["label"])} if "label" in attributes else {}
        copy.add_node(node)
        copy.nodes[node].update(**shown, **{f"esn_{k}": v for k, v in attributes.items()})
    for i, j, attributes in packed.edges(data=True):
        shown = {"label": str(attributes["label"])} if "label" in attributes else {}
        copy.add_edge(i, j)
        copy.edges[i, j].update(**shown, **{f"esn_{k}": v for k, v in attributes.items()})
    buffer = io.BytesIO()
    nx.write_gexf(copy, buffer, version="1.2draft")
    text = buffer.getvalue().decode()
    note = f"<description>{html.escape(json.dumps(section, allow_nan=False))}</description></meta>"
    return text.replace("</meta>", note, 1).encode()


def _write_json(graph: nx.DiGraph, section: Document) -> bytes:
    document = {
        "directed": True,
        "multigraph": False,
        "graph": section["graph"],
        "nodes": [{**{k: _to_json(v) for k, v in d.items()}, "id": n} for n, d in graph.nodes(data=True)],
        "edges": [
            {**{k: _to_json(v) for k, v in d.items()}, "source": i, "target": j}
            for i, j, d in graph.edges(data=True)
        ],
    }
    for place, entries, reserved in (
        ("node", graph.nodes, {"id"}),
        ("edge", graph.edges, {"source", "target"}),
    ):
        for *_, d in entries(data=True):
            if reserved & set(d):
                raise InvalidInputError(
                    "graph", f"a {place} attribute named {min(reserved & set(d))!r}",
                    "node-link JSON uses that name itself", "rename it",
                )  # fmt: skip
    return (json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


def _write_dot(graph: nx.DiGraph, section: Document) -> bytes:
    return dot_text(graph, _pack, _json_text).encode()


_WRITERS: Final[dict[str, Callable[[nx.DiGraph, Document], bytes]]] = {
    ".graphml": _write_graphml,
    ".gexf": _write_gexf,
    ".json": _write_json,
    ".dot": _write_dot,
}


def _checked_path(path: str | Path) -> tuple[Path, str]:
    if not isinstance(path, str | Path):
        raise InvalidInputError("path", type(path).__name__, "must be a str or a Path")
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _WRITERS:
        raise InvalidInputError(
            str(path), f"suffix {suffix!r}", "the suffix names the format", nearest_name(suffix, _WRITERS)
        )
    return path, suffix


def write_graph(graph: nx.DiGraph, path: str | Path) -> None:
    """Write a directed graph with all its attributes, in the format that the suffix names, atomically.

    Parameters
    ----------
    graph : networkx.DiGraph
        Nodes all integers or all text; attributes of numbers, text, None, lists, dicts and arrays.
    path : str or Path
        ``.graphml``, ``.gexf``, ``.json`` (node-link) or ``.dot``.

    Notes
    -----
    Where a format has no word for a value (a list, an array, True, None, infinity), it is written as JSON
    text behind ``json:``; `read_graph` restores it. Tuples come back as lists.

    Raises
    ------
    InvalidInputError
        When the suffix is unknown, the graph is of another kind, or an attribute cannot be written.

    Examples
    --------
    >>> import networkx, pathlib, tempfile
    >>> graph = networkx.DiGraph(name="two states")
    >>> graph.add_edge(0, 1, threshold=0.5, alternatives=[1, 2])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "graph.graphml")
    ...     write_graph(graph, path)
    ...     read_graph(path).edges[0, 1]
    {'threshold': 0.5, 'alternatives': [1, 2]}
    """
    path, suffix = _checked_path(path)
    if not isinstance(graph, nx.DiGraph) or graph.is_multigraph():
        raise InvalidInputError("graph", type(graph).__name__, "must be a networkx.DiGraph")
    try:
        data = _WRITERS[suffix](graph, _section(graph))
    except InvalidInputError:
        raise
    except (RecursionError, ValueError) as error:
        # A list that holds itself, text that is none, a number of thousands of digits.
        raise InvalidInputError(
            "graph", f"an attribute of which {error}", "every attribute must fit into a file", "leave it out"
        ) from None
    write_bytes(path, data)


def _check_xml(data: bytes) -> None:
    """Refuse XML that declares entities, which a graph never needs and a hostile file lives on."""
    depth = 0

    def doctype(*_: Any) -> None:
        raise NotAGraph("a document type, which no graph needs, is not read")

    def start(*_: Any) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST_XML:
            raise NotAGraph(f"its elements are nested more than {_DEEPEST_XML} deep")

    def end(*_: Any) -> None:
        nonlocal depth
        depth -= 1

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = doctype
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.Parse(data, True)


def _directed(graph: nx.Graph) -> nx.DiGraph:
    if not graph.is_directed():
        raise NotAGraph("it is undirected")
    if graph.is_multigraph():
        raise NotAGraph("it has parallel edges")
    return graph


def _read_graphml(data: bytes) -> nx.DiGraph:
    _check_xml(data)
    graph = _directed(nx.read_graphml(io.BytesIO(data)))
    section = _our_section(graph.graph.get("esntools"))
    return graph if section is None else _unpacked(graph, section)


def _read_gexf(data: bytes) -> nx.DiGraph:
    _check_xml(data)
    graph = _directed(nx.read_gexf(io.BytesIO(data)))
    told = [e.text for e in ElementTree.fromstring(data).iter() if e.tag.rpartition("}")[2] == "description"]
    section = _our_section(told[0] if told else None)
    if section is None:
        return graph
    for attributes in [d for _, d in graph.nodes(data=True)] + [d for *_, d in graph.edges(data=True)]:
        ours = {k[4:]: v for k, v in attributes.items() if k.startswith("esn_")}
        attributes.clear()
        attributes.update(ours)
    return _unpacked(graph, section)


def _read_json(data: bytes) -> nx.DiGraph:
    document = json.loads(data)
    if not isinstance(document, dict) or "nodes" not in document:
        raise NotAGraph("an object with 'nodes' and 'edges' was expected")
    if document.get("directed", True) is not True:
        raise NotAGraph("it is undirected")
    if document.get("multigraph", False) is not False:
        raise NotAGraph("it has parallel edges")
    graph = nx.DiGraph()
    graph.graph.update(_from_json(document.get("graph", {})))
    for node in document["nodes"]:
        name = node["id"]
        if not isinstance(name, (int, str)) or isinstance(name, bool):
            raise NotAGraph(f"a node named {name!r}; must be a whole number or text")
        if name in graph:
            raise NotAGraph(f"two nodes are named {name!r}")
        graph.add_node(name)
        graph.nodes[name].update({k: _from_json(v) for k, v in node.items() if k != "id"})
    # networkx wrote "links" before version 3.4.
    for edge in document["edges"] if "edges" in document else document["links"]:
        source, target = edge["source"], edge["target"]
        if source not in graph or target not in graph:
            raise NotAGraph(f"an edge from {source!r} to {target!r}, which are not both nodes")
        if graph.has_edge(source, target):
            raise NotAGraph(f"there are parallel edges from {source!r} to {target!r}")
        graph.add_edge(source, target)
        attributes = {k: _from_json(v) for k, v in edge.items() if k not in ("source", "target")}
        graph.edges[source, target].update(attributes)
    return graph


def _read_dot(data: bytes) -> nx.DiGraph:
    return parse_dot(data.decode(), _unpack)


_READERS: Final[dict[str, Callable[[bytes], nx.DiGraph]]] = {
    ".graphml": _read_graphml,
    ".gexf": _read_gexf,
    ".json": _read_json,
    ".dot": _read_dot,
}


def read_graph(path: str | Path) -> nx.DiGraph:
    """Read a directed graph from a file; attributes that `write_graph` packed come back as they were.

    Files of other programs are read too, as far as they hold one directed graph without parallel edges. A
    file is never trusted: entities in XML, deep nesting and values of another kind are refused.

    Parameters
    ----------
    path : str or Path
        ``.graphml``, ``.gexf``, ``.json`` (node-link) or ``.dot``.

    Raises
    ------
    InvalidInputError
        When the suffix is unknown.
    FileFormatError
        When the file is missing or is not a directed graph in that format, with the reason.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "graph.dot")
    ...     _ = path.write_text("digraph { on -> off [threshold=0.5] }")
    ...     read_graph(path).edges["on", "off"]
    {'threshold': 0.5}
    """
    path, suffix = _checked_path(path)
    reason = ""
    try:
        with warnings.catch_warnings():
            # networkx warns of what it does not understand, and reads on.
            warnings.simplefilter("ignore")
            return _READERS[suffix](path.read_bytes())
    except OSError as error:
        raise FileFormatError(str(path), error.strerror or str(error), "expected a graph file") from None
    except NotAGraph as error:
        reason = f": {error}"
    except (
        nx.NetworkXException, ElementTree.ParseError, expat.ExpatError, ValueError, LookupError, TypeError,
        AttributeError, RecursionError, OverflowError, MemoryError,
    ):  # fmt: skip
        pass
    raise FileFormatError(
        str(path), f"not a graph in the format that its suffix names{reason}", "expected a directed graph",
        "check the suffix, or write it again",
    )  # fmt: skip
