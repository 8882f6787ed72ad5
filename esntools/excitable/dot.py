"""Directed graphs in Graphviz's DOT: written so that every value has its type, and read without Graphviz."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import networkx as nx

__all__ = ["NotAGraph", "dot_text", "parse_dot"]

#: Subgraphs inside subgraphs that are followed; a deeper file is no picture of anything.
_DEEPEST: Final = 50
_TOKEN: Final = re.compile(
    r"""(?P<skip>\s+|//[^\n]*|/\*.*?\*/|\#[^\n]*)
    |(?P<quoted>"[^"\\]*(?:\\.[^"\\]*)*")
    |(?P<number>-?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?![\w.]))
    |(?P<word>[^\W\d]\w*)
    |(?P<arrow>->|--)
    |(?P<mark>[{}\[\];,=:+])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPED: Final = {"\\": "\\", '"': '"', "n": "\n", "\n": ""}


class NotAGraph(ValueError):
    """The text is not a directed graph; the message says why."""


class _Token(NamedTuple):
    kind: str
    text: str


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", lambda m: _ESCAPED.get(m[1], m[0]), text[1:-1], flags=re.DOTALL)


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            line = text.count("\n", 0, at) + 1
            what = "an HTML label" if text[at] == "<" else f"{text[at : at + 12]!r}"
            raise NotAGraph(f"line {line}: {what} is not understood")
        at = found.end()
        kind = str(found.lastgroup)
        if kind == "quoted":
            yield _Token(kind, _unquoted(found[0]))
        elif kind != "skip":
            yield _Token(kind, found[0])
    yield _Token("end", "the end of the file")


class _Defaults(NamedTuple):
    node: dict[str, Any]
    edge: dict[str, Any]

    def copy(self) -> _Defaults:
        return _Defaults(dict(self.node), dict(self.edge))


class _Parser:
    """Recursive descent over the grammar of https://graphviz.org/doc/info/lang.html, for digraphs."""

    def __init__(self, text: str, value: Callable[[str], Any]) -> None:
        self._rest = _tokens(text)
        self._next = next(self._rest)
        self._value = value
        self._strict = False
        self.graph = nx.DiGraph()

    def _take(self) -> _Token:
        taken = self._next
        if taken.kind != "end":
            self._next = next(self._rest)
        return taken

    def _is(self, text: str) -> bool:
        return self._next.text == text and self._next.kind in ("mark", "arrow")

    def _is_word(self, *words: str) -> bool:
        return self._next.kind == "word" and self._next.text.lower() in words

    def _expect(self, text: str) -> None:
        if not self._is(text):
            raise NotAGraph(f"{text!r} was expected, not {self._next.text[:40]!r}")
        self._take()

    def _name(self) -> Any:
        """Return an ID: a number as a number, text as text (quoted texts may be joined by ``+``)."""
        taken = self._take()
        if taken.kind == "number":
            return float(taken.text) if "." in taken.text else int(taken.text)
        if taken.kind not in ("word", "quoted"):
            raise NotAGraph(f"a name was expected, not {taken.text[:40]!r}")
        text = taken.text
        while taken.kind == "quoted" and self._is("+"):
            self._take()
            text += self._take().text
        return self._value(text) if taken.kind == "quoted" else text

    def _attributes(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self._is("["):
            self._take()
            while not self._is("]"):
                key = str(self._name())
                self._expect("=")
                found[key] = self._name()
                if self._is(",") or self._is(";"):
                    self._take()
            self._take()
        return found

    def _node(self) -> Any:
        name = self._name()
        if isinstance(name, float):
            name = repr(name)
        while self._is(":"):
            self._take()
            self._name()
        return name

    def _add_node(self, name: Any, defaults: _Defaults) -> None:
        if name not in self.graph:
            self.graph.add_node(name)
            self.graph.nodes[name].update(defaults.node)

    def _statement(self, defaults: _Defaults, depth: int) -> None:
        if self._is_word("graph", "node", "edge"):
            kind = self._take().text.lower()
            found = self._attributes()
            if kind == "graph" and depth == 0:
                self.graph.graph.update(found)
            elif kind != "graph":
                getattr(defaults, kind).update(found)
            return
        if self._is("{") or self._is_word("subgraph"):
            self._subgraph(defaults, depth)
            return
        chain = [self._node()]
        if self._is("="):
            self._take()
            value = self._name()
            if depth == 0:
                self.graph.graph[str(chain[0])] = value
            return
        while self._next.kind == "arrow":
            if self._take().text == "--":
                raise NotAGraph("its edges are undirected")
            if self._is("{") or self._is_word("subgraph"):
                raise NotAGraph("an edge leads to a subgraph; write one edge for each node")
            chain.append(self._node())
        found = self._attributes()
        for name in chain:
            self._add_node(name, defaults)
        if len(chain) == 1:
            self.graph.nodes[chain[0]].update(found)
        for source, target in itertools.pairwise(chain):
            if self.graph.has_edge(source, target) and not self._strict:
                raise NotAGraph(f"there are parallel edges from {source!r} to {target!r}")
            self.graph.add_edge(source, target)
            self.graph.edges[source, target].update({**defaults.edge, **found})

    def _subgraph(self, defaults: _Defaults, depth: int) -> None:
        if depth >= _DEEPEST:
            raise NotAGraph(f"subgraphs are nested more than {_DEEPEST} deep")
        if self._is_word("subgraph"):
            self._take()
            if not self._is("{"):
                self._name()
        self._block(defaults.copy(), depth + 1)
        if self._next.kind == "arrow":
            raise NotAGraph("an edge leaves a subgraph; write one edge for each node")

    def _block(self, defaults: _Defaults, depth: int) -> None:
        self._expect("{")
        while not self._is("}"):
            if self._next.kind == "end":
                raise NotAGraph("it ends before its last '}'")
            self._statement(defaults, depth)
            if self._is(";") or self._is(","):
                self._take()
        self._take()

    def parse(self) -> nx.DiGraph:
        if self._is_word("strict"):
            self._take()
            self._strict = True
        if self._is_word("graph"):
            raise NotAGraph("it is undirected")
        if not self._is_word("digraph"):
            raise NotAGraph("it does not begin with 'digraph'")
        self._take()
        if not self._is("{"):
            self._name()
        self._block(_Defaults({}, {}), 0)
        if self._next.kind != "end":
            raise NotAGraph("something follows its last '}'")
        return self.graph


def parse_dot(text: str, value: Callable[[str], Any] = str) -> nx.DiGraph:
    r"""Return the directed graph that a DOT text describes.

    Understood: attributes of nodes, edges and the graph, defaults, chains of edges, comments, joined texts,
    and subgraphs as mere brackets; ports are passed over. Numbers without quotes are numbers, everything else
    is text. Nodes that are not all integers are all text.

    Parameters
    ----------
    text : str
    value : callable, optional
        What a quoted text stands for; itself by default.

    Raises
    ------
    NotAGraph
        With the reason: undirected, parallel edges, an HTML label, an edge to a subgraph, or not DOT.

    Examples
    --------
    >>> graph = parse_dot('digraph { 0 -> 1 -> 0 [threshold=0.5]; 1 [label="one\\n\\"two\\""] }')
    >>> list(graph.edges(data="threshold")), graph.nodes[1]
    ([(0, 1, 0.5), (1, 0, 0.5)], {'label': 'one\n"two"'})
    """
    graph = _Parser(text, value).parse()
    if all(isinstance(node, int) for node in graph) or all(isinstance(node, str) for node in graph):
        return graph
    return nx.relabel_nodes(graph, {node: str(node) for node in graph})


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def dot_text(
    graph: nx.DiGraph, pack: Callable[[Any], int | float | str], json_text: Callable[[Any], str]
) -> str:
    """Return a graph in DOT, nodes that are integers and numbers without quotes.

    Parameters
    ----------
    graph : networkx.DiGraph
    pack : callable
        Makes a number or a text of any value.
    json_text : callable
        Makes a text of a number that DOT cannot write: it has no exponents.
    """

    def shown(value: Any) -> str:
        packed = pack(value)
        if isinstance(packed, str):
            return _quoted(packed)
        text = repr(packed)
        return text if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text) else _quoted(json_text(value))

    def named(node: int | str) -> str:
        return str(node) if isinstance(node, int) else _quoted(str(pack(node)))

    def listed(attributes: dict[str, Any]) -> str:
        return ", ".join(f"{_quoted(str(pack(k)))}={shown(v)}" for k, v in attributes.items())

    lines = ["digraph {", f"  graph [{listed(graph.graph)}];"]
    lines += [f"  {named(n)} [{listed(d)}];" for n, d in graph.nodes(data=True)]
    lines += [f"  {named(i)} -> {named(j)} [{listed(d)}];" for i, j, d in graph.edges(data=True)]
    return "\n".join([*lines, "}"]) + "\n"
