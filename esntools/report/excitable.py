"""The chapter about an excitable network: its automaton beside the task's, and what errors come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np

from esntools.report.tables import Table, vector_text
from esntools.study.findings import Study
from esntools.study.sentences import number

if TYPE_CHECKING:
    from esntools.excitable.diagnosis import Diagnosis

__all__ = ["Chapter", "excitable_chapter"]

#: A cell that begins so is drawn as a mistake.
WRONG: Final = "✗ "
#: Faults and wrong segments that are told one by one.
_FAULTS: Final = 12
_SEGMENTS: Final = 15
_CELLS: Final = 400
_PULSES: Final = 10
_SQUARE: Final = 8

_MEANING: Final = {
    "missing state": "no attractor holds the state that was wanted",
    "split state": "one state is held by several attractors, and the move fails from one of them",
    "spurious attractor": "the pulse leads to an attractor that stands for no state",
    "threshold above the pulse": "the pulse is too weak to make the move",
    "wrong edge": "from rest too, the pulse leads to a wrong state",
    "fragile edge": "from rest the move is right, but only just",
    "low threshold": "it went over a threshold that is less than half the usual one",
    "still relaxing": "the pulse came before the state was at rest after the one before",
    "slow output": "the move was right, and its output came late",
    "wobbling output": "the output of a moving attractor is not always that of its state",
    "noise": "without noise the network would have been right",
    "wrong start": "the run began in another state",
    "no attractor": "the run went to no attractor that is known",
    "not attributed": "no cause was found",
}


@final
@dataclass(frozen=True)
class Chapter:
    """What the chapter says.

    Attributes
    ----------
    word : str
        ``"correct"``, ``"faulty"`` (no error in the run, but a fault) or ``"errs"``; empty without a task.
    sentence : str
        The summary.
    warnings : tuple of str
        What a reader must know first: a failed audit, a chaotic attractor.
    moves : Table or None
        Where every pulse leads from every attractor, beside where the task wants it.
    thresholds : tuple of Table
        Of all pairs, found and proved, by metric.
    causes : Table or None
    faults : tuple of str
    segments : tuple of str
    more_faults, more_segments : int
        How many are not listed.
    """

    word: str
    sentence: str
    warnings: tuple[str, ...]
    moves: Table | None
    thresholds: tuple[Table, ...]
    causes: Table | None
    faults: tuple[str, ...]
    segments: tuple[str, ...]
    more_faults: int
    more_segments: int


def excitable_chapter(study: Study) -> Chapter | None:
    """Return the chapter, or None where the study has no excitable network."""
    graph = study.graph
    if graph is None or graph.graph.get("kind") != "excitable network":
        return None
    found = study.diagnosis
    word, sentence = "", ""
    if found is not None:
        word = "errs" if found.segments else ("correct" if not found.faults else "faulty")
        sentence = found.summary
    return Chapter(
        word=word,
        sentence=sentence,
        warnings=_warnings(graph),
        moves=_moves_table(study),
        thresholds=_threshold_tables(graph),
        causes=None if found is None else _causes_table(found),
        faults=() if found is None else tuple(_fault(f) for f in found.faults[:_FAULTS]),
        segments=()
        if found is None
        else tuple(_sentence(found.describe(s)) for s in found.segments[:_SEGMENTS]),
        more_faults=0 if found is None else max(0, len(found.faults) - _FAULTS),
        more_segments=0 if found is None else max(0, len(found.segments) - _SEGMENTS),
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _fault(fault: Any) -> str:
    share = f" {fault.n_segments} wrong stretches of the run come from it." if fault.n_segments > 1 else ""
    if fault.n_segments == 1:
        share = " One wrong stretch of the run comes from it."
    return f"{_sentence(fault.text)}{share}"


def _warnings(graph: Any) -> tuple[str, ...]:
    about, said = graph.graph, []
    if about.get("audit") == "failed":
        said.append(
            f"The audit of the fixed points failed: {about.get('audit_reason', '')}. Attractors or saddles "
            "may be missing from everything below."
        )
    elif about.get("audit") not in ("passed", None):
        said.append(f"The fixed points could not be audited: {about.get('audit_reason', '')}.")
    note = str(about.get("note") or "")
    parts = [p for p in note.split("; ") if p and not p.startswith("the audit of the fixed points failed")]
    return (*said, *(_sentence(p) for p in parts))


def _moves_table(study: Study) -> Table | None:
    """Return where every pulse leads from every attractor, and the share of it that suffices."""
    graph, found = study.graph, study.diagnosis
    assert graph is not None
    pulses, nodes = graph.graph["pulses"], list(graph.nodes)
    if not nodes or not pulses or len(nodes) * len(pulses) > _CELLS or len(pulses) > _PULSES:
        return None
    least = {
        (c["source"], c["pulse"], c["target"]): c["threshold"]
        for c in graph.graph.get("connections", [])
        if c["metric"] == "input"
    }
    rows = []
    wrong = False
    for k, (node, reached) in enumerate(zip(nodes, graph.graph["pulse_table"])):
        data = graph.nodes[node]
        name = f"{node}"
        if data.get("output") is not None:
            name += f": {vector_text(np.round(data['output'], 2), 2)}"
        if found is not None:
            name += f", for {found.task.names[found.learned.state_of(k)]}" + " (extra)" * (k in found.extra)
        cells = []
        for p, target in enumerate(reached):
            cell = _move(graph, node, int(target), least.get((node, p, int(target))))
            wanted = _wanted(study, k, p, int(target))
            if wanted:
                cell, wrong = f"{WRONG}{cell}; wanted {wanted}", True
            cells.append(cell)
        rows.append((name, *cells))
    heads = [vector_text(pulse, 2) for pulse in pulses]
    if found is not None and len(found.task.symbols) == len(pulses):
        heads = list(found.task.symbols)
    caption = (
        "Where each pulse leads from each attractor (with its output), and in brackets the smallest multiple "
        "of the pulse that does it."
    )
    if found is not None:
        caption += (
            " Red: the task wants another state." if wrong else " All lead where the task wants them to lead."
        )
    return Table(("attractor", *heads), tuple(rows), caption)


def _wanted(study: Study, node: int, pulse: int, target: int) -> str:
    """Return the state that the task wants instead; empty where it wants this one, or says nothing."""
    found = study.diagnosis
    assert study.graph is not None
    if found is None:
        return ""
    given = np.asarray(study.graph.graph["pulses"][pulse], dtype=np.float64)
    same = np.flatnonzero(np.all(np.abs(found.task.pulses - given) <= 1e-9, axis=1))
    if not len(same):
        return ""
    wanted = int(found.task.transitions[found.learned.stands_for[node], same[0]])
    return "" if found.learned.state_of(target) == wanted else found.task.names[wanted]


def _move(graph: Any, node: Any, target: int, threshold: float | None) -> str:
    if target == node:
        return "stays"
    if target not in graph.nodes:
        return "to no attractor"
    return f"→ {target}" + ("" if threshold is None else f" ({number(float(threshold), 2)})")


_METRICS: Final = {
    "input": "multiples of a pulse",
    "state": "kicks of the state (2-norm)",
    "range": "kicks of the state that stay in its range (2-norm)",
    "subspace": "kicks of the state in the directions that inputs cause (2-norm)",
}


def _threshold_tables(graph: Any) -> tuple[Table, ...]:
    """Return the smallest kick of every pair, one table for each metric, with what is proved of it."""
    from esntools.excitable.cuts import proved_lower

    metrics = graph.graph.get("metrics") or []
    proved = any(c["lower"] > 0.0 for c in graph.graph.get("connections", []))
    nodes = list(graph.nodes)
    if not 2 <= len(nodes) <= _SQUARE or not (len(metrics) > 1 or "input" not in metrics or proved):
        # In the metric of the pulses alone the figure and the table of moves say it all.
        return ()
    tables = []
    for metric in metrics:
        found: dict[tuple[Any, Any], list[dict[str, Any]]] = {}
        for c in graph.graph["connections"]:
            if c["metric"] == metric:
                found.setdefault((c["source"], c["target"]), []).append(c)
        if not found:
            continue
        # Of several pulses the least is proved of all, not what is proved of the one found to be smallest.
        least = {
            pair: (min(c["threshold"] for c in entries), proved_lower(graph, metric, entries))
            for pair, entries in found.items()
        }
        rows = [
            (f"from {i}", *("" if i == j else _interval(*least.get((i, j), (None, 0.0))) for j in nodes))
            for i in nodes
        ]
        unit = _METRICS.get(metric, metric)
        caption = f"The smallest kicks from one attractor to another that were found: {unit}"
        caption += "; in brackets what is proved not to suffice." if proved else "."
        tables.append(Table(("", *(f"to {j}" for j in nodes)), tuple(rows), caption))
    return tuple(tables)


def _interval(threshold: float | None, lower: float) -> str:
    from esntools.excitable.cuts import rounded_down

    if threshold is None:
        return "none"
    return number(threshold) + (f" ({number(rounded_down(lower, 2), 2)})" if lower > 0.0 else "")


def _causes_table(found: Diagnosis) -> Table | None:
    if not found.segments:
        return None
    rows = [
        (cause, str(segments), str(steps), _MEANING.get(cause, ""))
        for cause, (segments, steps) in found.causes.items()
    ]
    left = "none is" if not found.n_not_attributed else f"{found.n_not_attributed} are"
    caption = (
        f"Every wrong stretch of the run, by cause: {found.n_wrong_steps:,} of {len(found.decoded):,} steps "
        f"are wrong; {left} left without a cause."
    )
    return Table(("cause", "stretches", "steps", "what happened"), tuple(rows), caption, (1, 2))
