"""Graphs to files and back, with every attribute kept: GraphML, GEXF, JSON node-link; DOT for drawing."""

from __future__ import annotations

import html
import io
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import networkx as nx
import numpy as np

from esntools._typing import Document
from esntools.errors import FileFormatError, InvalidInputError, nearest_name
from esntools.files import write_bytes

__all__ = ["read_graph", "write_graph"]

# XML formats and DOT know numbers and strings only: any other value is JSON text behind this mark, and so
# is a string that happens to begin with it.
_MARK: Final = "json:"


def _to_json(value: Any) -> Any:
    """Return `value` in JSON's terms; what JSON has no word for becomes a one-key object."""
    if isinstance(value, np.ndarray):
        return {"$array": _to_json(value.tolist())}
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
                return np.array(_from_json(inner))
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
    if isinstance(value, str) and not value.startswith(_MARK) and value.isprintable():
        return value
    # Booleans are spelt differently by every format and reader: JSON has one spelling.
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    return _json_text(value)


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
    return packed


def _unpack(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_MARK):
        return _from_json(json.loads(value[len(_MARK) :]))
    return value


def _packed(graph: nx.DiGraph) -> nx.DiGraph:
    """Return a copy of text nodes and packed attributes, and of nothing that a writer would add or drop."""
    copy = nx.DiGraph()
    nodes, edges = list(graph.nodes(data=True)), list(graph.edges(data=True))
    for (node, _), attributes in zip(nodes, _columns([d for _, d in nodes])):
        copy.add_node(str(node), **attributes)
    for (i, j, _), attributes in zip(edges, _columns([d for *_, d in edges])):
        copy.add_edge(str(i), str(j), **attributes)
    return copy


def _unpacked(graph: nx.DiGraph, section: Document) -> nx.DiGraph:
    name: Callable[[str], int | str] = int if section["nodes"] == "int" else str
    out = nx.DiGraph(**_from_json(section["graph"]))
    for node, attributes in graph.nodes(data=True):
        out.add_node(name(node), **{k: _unpack(v) for k, v in attributes.items()})
    for i, j, attributes in graph.edges(data=True):
        out.add_edge(name(i), name(j), **{k: _unpack(v) for k, v in attributes.items()})
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


def _write_graphml(graph: nx.DiGraph, section: Document) -> bytes:
    copy = _packed(graph)
    # Plain graph attributes stay readable for other programs, beside the complete section.
    copy.graph.update(
        {k: _pack(v) for k, v in graph.graph.items() if isinstance(_pack(v), (int, float, str))}
    )
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
        copy.add_node(node, **shown, **{f"esn_{k}": v for k, v in attributes.items()})
    for i, j, attributes in packed.edges(data=True):
        shown = {"label": str(attributes["label"])} if "label" in attributes else {}
        copy.add_edge(i, j, **shown, **{f"esn_{k}": v for k, v in attributes.items()})
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
    def quoted(value: Any) -> str:
        packed = value if isinstance(value, str) else _pack(value)
        text = str(packed).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{text}"'

    def listed(attributes: dict[str, Any]) -> str:
        return ", ".join(f"{quoted(k)}={quoted(v)}" for k, v in attributes.items())

    lines = ["digraph {", f"  graph [{listed(graph.graph)}];"]
    lines += [f"  {quoted(str(n))} [{listed(d)}];" for n, d in graph.nodes(data=True)]
    lines += [f"  {quoted(str(i))} -> {quoted(str(j))} [{listed(d)}];" for i, j, d in graph.edges(data=True)]
    return ("\n".join([*lines, "}"]) + "\n").encode()


_WRITERS: Final[dict[str, Callable[[nx.DiGraph, Document], bytes]]] = {
    ".graphml": _write_graphml,
    ".gexf": _write_gexf,
    ".json": _write_json,
    ".dot": _write_dot,
}


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
    Where a format has no word for a value (a list, an array, True, None), it is written as JSON text behind
    ``json:``; `read_graph` restores it. DOT is for drawing and is not read back.

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
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _WRITERS:
        raise InvalidInputError(
            str(path), f"suffix {suffix!r}", "the suffix names the format", nearest_name(suffix, _WRITERS)
        )
    if not isinstance(graph, nx.DiGraph) or graph.is_multigraph():
        raise InvalidInputError("graph", type(graph).__name__, "must be a networkx.DiGraph")
    write_bytes(path, _WRITERS[suffix](graph, _section(graph)))


def _read_graphml(data: bytes) -> nx.DiGraph:
    graph = nx.read_graphml(io.BytesIO(data))
    if "esntools" in graph.graph:
        return _unpacked(graph, json.loads(graph.graph["esntools"]))
    return nx.DiGraph(graph)


def _read_gexf(data: bytes) -> nx.DiGraph:
    graph = nx.read_gexf(io.BytesIO(data))
    match = re.search(rb"<description>(.*?)</description>", data, re.DOTALL)
    if match is None:
        return nx.DiGraph(graph)
    for attributes in [d for _, d in graph.nodes(data=True)] + [d for *_, d in graph.edges(data=True)]:
        ours = {k[4:]: v for k, v in attributes.items() if k.startswith("esn_")}
        attributes.clear()
        attributes.update(ours)
    return _unpacked(graph, json.loads(html.unescape(match.group(1).decode())))


def _read_json(data: bytes) -> nx.DiGraph:
    document = json.loads(data)
    graph = nx.DiGraph(**_from_json(document["graph"]))
    for node in document["nodes"]:
        graph.add_node(node["id"], **{k: _from_json(v) for k, v in node.items() if k != "id"})
    for edge in document["edges"]:
        attributes = {k: _from_json(v) for k, v in edge.items() if k not in ("source", "target")}
        graph.add_edge(edge["source"], edge["target"], **attributes)
    return graph


_READERS: Final[dict[str, Callable[[bytes], nx.DiGraph]]] = {
    ".graphml": _read_graphml,
    ".gexf": _read_gexf,
    ".json": _read_json,
}


def read_graph(path: str | Path) -> nx.DiGraph:
    """Read a directed graph from a file; attributes that `write_graph` packed come back as they were.

    Raises
    ------
    InvalidInputError
        When the suffix is unknown (or ``.dot``, which is written only).
    FileFormatError
        When the file is missing or is not a graph in that format.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        raise InvalidInputError(
            str(path), f"suffix {suffix!r}", "the suffix names the format", nearest_name(suffix, _READERS)
        )
    try:
        return _READERS[suffix](path.read_bytes())
    except OSError as error:
        raise FileFormatError(str(path), error.strerror or str(error), "expected a graph file") from None
    except (nx.NetworkXError, ElementTree.ParseError, ValueError, KeyError, TypeError, AttributeError):
        raise FileFormatError(
            str(path), "not a graph in the format that its suffix names", "expected a graph file",
            "check the suffix, or write it again",
        ) from None  # fmt: skip
