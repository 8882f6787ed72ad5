"""The report: one page that a stranger can read and print, and beside it everything that it was made from."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jinja2

from esntools import files
from esntools._typing import Document
from esntools.certificates.verdicts import meaning
from esntools.errors import InvalidInputError
from esntools.excitable import write_graph
from esntools.report.equations import report_equations
from esntools.report.excitable import excitable_chapter
from esntools.report.figures import ReportFigure, report_figures
from esntools.report.proofs import page_html, proof_of
from esntools.report.tables import audit_text, bounds_table, report_tables
from esntools.study.findings import Study, Verdict, study_document
from esntools.symbolic.pages import Page

if TYPE_CHECKING:
    from esntools.excitable.diagnosis import Diagnosis

__all__ = ["write_report"]

_TEMPLATES: Final = Path(__file__).parent

_CLOSED: Final = {
    "refuted": (
        "the closed loop remembers: two copies that start differently need not come together. A model of "
        "chaos must do that; a closed loop that forgets falls to a single rest state.",
        "a fault. The driven network is the one that should forget its start.",
    ),
    "inconclusive": (
        "no counterexample was certified in the time given. Unstable fixed points and a positive Lyapunov "
        "exponent, where the part “Explain” finds them, say in floating point that it does not forget.",
        "that it forgets its start.",
    ),
    "proved": (
        "running freely, the network always comes to the same rest state, wherever it starts.",
        "a good forecast: nothing that keeps moving by itself can have this property.",
    ),
}

_CLOSED_PARTS: Final = (
    "copies of the closed loop that start as little apart as one likes are driven apart, so no bound on the "
    "forgetting holds. (They may meet again later.) A model of chaos must do that; a closed loop that "
    "forgets falls to a single rest state."
)


def _file_name(study: Study, verdict: Verdict, stem: str, suffix: str) -> str:
    if verdict is study.verdicts[0]:
        return f"{stem}{suffix}"
    return f"{stem}-{re.sub(r'[^a-z0-9]+', '-', verdict.key.lower())}{suffix}"


def _certificate_name(study: Study, verdict: Verdict) -> str:
    return _file_name(study, verdict, "certificate", ".json")


def _local(verdict: Verdict) -> Document | None:
    """Return the certificate of what is proved near a response, where there is one."""
    document: Document | None = getattr(getattr(verdict.result, "local", None), "document", None)
    return document


def _proofs(study: Study) -> list[tuple[Verdict, str, Page]]:
    """Return the page that explains each certificate, and its file's name without suffix."""
    found = []
    for verdict in study.verdicts:
        if verdict.result.verdict != "inconclusive":
            page, stem = proof_of(verdict.result.document, verdict.network), "proof"
        else:
            page, stem = proof_of(_local(verdict), verdict.network), "local-proof"
        if page is not None:
            found.append((verdict, _file_name(study, verdict, stem, ""), page))
    return found


def _verdict_part(study: Study, verdict: Verdict) -> dict[str, Any]:
    word = verdict.result.verdict
    means, not_means = meaning(verdict.result)
    if verdict.key == "closed loop" and word in _CLOSED:
        means, not_means = _CLOSED[word]
        if getattr(verdict.result, "strength", None) == "unstable response":
            means = _CLOSED_PARTS
    decided = word != "inconclusive"
    sentence = verdict.result.sentence
    if verdict.result.verdict == "inconclusive" and verdict.key == "closed loop":
        # The advice, a smaller spectral radius, is about driven networks.
        sentence = f"Inconclusive: {verdict.result.reason}."
    # The word stands in its box already.
    sentence = sentence.partition(": ")[2] if decided else sentence.removeprefix("Inconclusive: ")
    sentence = sentence[:1].upper() + sentence[1:]
    return {
        "word": word,
        "question": verdict.question,
        "sentence": sentence,
        "means": means,
        "not_means": not_means,
        "bounds": bounds_table(verdict),
        "file": _certificate_name(study, verdict) if decided else "",
        "check": "It agreed when this page was made." if decided else "",
        "proof": "",
    }


def _verdict_parts(study: Study) -> list[dict[str, Any]]:
    """Return the parts in order; a table of bounds that has been shown is not shown again."""
    parts: list[dict[str, Any]] = []
    proofs = {id(verdict): name for verdict, name, _ in _proofs(study)}
    for verdict in study.verdicts:
        part = _verdict_part(study, verdict)
        part["proof"] = proofs.get(id(verdict), "")
        seen = [p["bounds"].rows for p in parts if p["bounds"] is not None]
        part["same_bounds"] = part["bounds"] is not None and part["bounds"].rows in seen
        if part["same_bounds"]:
            part["bounds"] = None
        parts.append(part)
    return parts


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip


def _flag(name: str, value: Any) -> str:
    """Return an option of `run_study` as the command line spells it."""
    if name == "squares":
        return "" if value else " --linear-readout"
    return f" --{'candidates' if name == 'n_candidates' else name.replace('_', '-')} {value}"


def _commands(study: Study) -> str:
    options = {k: v for k, v in study.settings.get("options", {}).items() if v is not None}
    lines = [str(study.settings["command"]) + "".join(_flag(k, v) for k, v in options.items()), ""]
    seed = study.settings["seed"]
    if "network" in study.source:
        name, task = study.source["network"], study.source.get("task")
        lines += ["from esntools import EchoStateNetwork", "from esntools.study import GivenNetwork"]
        source = f'GivenNetwork(EchoStateNetwork.load("{name}"), "{name}"{", task" if task else ""})'
        if task:
            lines += [f"# task: {task}, as a FlipFlop or an AutomatonTask"]
    elif "zoo" in study.source:
        source = f'load("{study.source["zoo"]}")'
        lines += ["from esntools.zoo import load"]
    else:
        source = f'read_series("{study.source["file"]}", "{study.source["series"]}")'
        lines += ["from esntools.series import read_series"]
    arguments = ", ".join([source, f"rng={seed}", *(f"{k}={v!r}" for k, v in options.items())])
    lines += [
        "from esntools.study import run_study",
        "from esntools.report import write_report",
        f"study = run_study({arguments})",
        f'write_report(study, "reports/{study.name}")',
    ]
    return "\n".join(lines)


def _further(study: Study) -> int:
    """Return how many fixed points of the closed loop have no counterpart in the true system."""
    if not study.matches:
        return 0
    matched = sum(m.point is not None for m in study.matches)
    return max(0, len(study.fixed_points.get("the closed loop", ())) - matched)


def _references(study: Study) -> list[str]:
    lines = []
    for r in study.source.get("references", []):
        where = ", ".join(str(r[key]) for key in ("where", "note") if r.get(key))
        link = f" doi:{r['doi']}" if r.get("doi") else (f" {r['url']}" if r.get("url") else "")
        lines.append(f"{r['authors']} ({r['year']}). {r['title']}. {where}{'.' if where else ''}{link}")
    return lines


def _shown_proof(study: Study) -> dict[str, str] | None:
    """Return the page of the last certificate that is not about the closed loop, to be read on the spot."""
    found = [(v, name, page) for v, name, page in _proofs(study) if v.key != "closed loop"]
    if not found:
        return None
    _, name, page = found[-1]
    return {"title": page.title, "name": name, "html": page_html(page)}


def _page(study: Study, figures: Sequence[ReportFigure], names: Sequence[tuple[str, str]]) -> str:
    page: str = (
        _environment()
        .get_template("report.html.j2")
        .render(
            study=study,
            figures=figures,
            maths=report_equations(study.network),
            verdicts=_verdict_parts(study),
            proof=_shown_proof(study),
            tables=report_tables(study, names),
            chapter=excitable_chapter(study),
            audit=audit_text(study),
            n_further=_further(study),
            commands=_commands(study),
            references=_references(study),
            versions=study.settings["versions"],
            date=datetime.date.today().isoformat(),
        )
    )
    return page


def _forecast_csv(study: Study) -> str:
    window = study.windows[0]
    n = window.truth.shape[1]
    head = ["step"] + [
        f"{what}_{j + 1}" if n > 1 else what for what in ("truth", "forecast") for j in range(n)
    ]
    lines = [",".join(head)]
    for k, (truth, forecast) in enumerate(zip(window.truth, window.forecast)):
        cells = ["" if math.isnan(v) else repr(float(v)) for v in (*truth, *forecast)]
        lines.append(",".join([str(window.start + k), *cells]))
    return "\n".join(lines) + "\n"


def _diagnosis(study: Study, found: Diagnosis) -> Document:
    """Return the document that ``esntools diagnose -o`` writes too."""
    return {
        "format": "esntools-diagnosis", "version": 1, "network": study.network.content_hash,
        "task": study.source.get("task") or "its own",
        **{key: value for key, value in found.document().items() if key != "format"},
    }  # fmt: skip


def write_report(study: Study, folder: str | Path) -> Path:
    """Write the report of a study: one self-contained page, and beside it everything that it shows.

    ``report.html`` needs nothing else: its figures are part of it, it runs no script and loads nothing.
    Beside it lie ``figures/*.svg``, ``report.json`` (format ``esntools-study``), the fitted ``model.npz``, a
    certificate for every decided question and what it proves as ``proof.tex`` and ``proof.txt``, what is
    certified locally where a question is open, the bounds in symbols as ``derivation.tex`` and
    ``derivation.txt``, ``graph.graphml``, ``diagnosis.json`` and ``forecast.csv``, as far as the study has
    them. Every file is written in one step; all but the date, the times and what ran out of time is the same
    on every run.

    Parameters
    ----------
    study : Study
        As `run_study` returns it.
    folder : str or Path
        Made when it does not exist.

    Returns
    -------
    Path
        Of ``report.html``.

    Raises
    ------
    InvalidInputError
        When the folder cannot be made or written.

    Examples
    --------
    >>> import tempfile
    >>> from esntools.study import run_study
    >>> from esntools.zoo import load
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_report(run_study(load("switching-2neuron")), folder).name
    'report.html'
    """
    folder = Path(folder)
    try:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(
            str(folder), error.strerror or str(error), "the report's folder must be writable",
            "choose another with -o",
        ) from None  # fmt: skip
    figures = report_figures(study)
    head = '<?xml version="1.0" encoding="utf-8"?>\n'
    for figure in figures:
        files.write_text(folder / "figures" / f"{figure.key}.svg", head + figure.svg)
    names = [("report.html", "this page"), ("figures/*.svg", "its figures")]
    files.write_json(folder / "report.json", study_document(study))
    names.append(("report.json", "every number on this page and more"))
    provenance = {
        "seed": study.settings["seed"],
        "source": study.source,
        "versions": study.settings["versions"],
    }
    if study.fit is not None:
        study.fit.save(folder / "model.npz", provenance=provenance)
    else:
        study.network.save(folder / "model.npz", provenance=provenance)
    names.append(("model.npz", "the network: esntools forecast, verify and fixed-points read it"))
    for verdict in study.verdicts:
        if verdict.result.verdict != "inconclusive":
            name = _certificate_name(study, verdict)
            verdict.result.save(folder / name)
            names.append((name, f"the certificate: {verdict.key}"))
        elif (local := _local(verdict)) is not None:
            name = _file_name(study, verdict, "local", ".json")
            files.write_json(folder / name, local)
            names.append((name, f"what is certified locally: {verdict.key}"))
    for verdict, stem, proof in _proofs(study):
        files.write_text(folder / f"{stem}.tex", proof.latex())
        files.write_text(folder / f"{stem}.txt", proof.text())
        names.append((f"{stem}.tex, {stem}.txt", f"the proof in words and formulas: {verdict.key}"))
    if study.derivation is not None:
        files.write_text(folder / "derivation.tex", study.derivation.latex())
        files.write_text(folder / "derivation.txt", study.derivation.text())
        names.append(("derivation.tex, derivation.txt", "the bounds in symbols and numbers"))
    if study.graph is not None:
        write_graph(study.graph, folder / "graph.graphml")
        names.append(("graph.graphml", "the graph, for NetworkX, Gephi or yEd"))
    if study.diagnosis is not None:
        files.write_json(folder / "diagnosis.json", _diagnosis(study, study.diagnosis))
        files.write_text(folder / "diagnosis.txt", study.diagnosis.text(most=10**6) + "\n")
        names.append(("diagnosis.json, diagnosis.txt", "every fault and every wrong stretch, with its cause"))
    if study.windows:
        files.write_text(folder / "forecast.csv", _forecast_csv(study))
        names.append(("forecast.csv", "the forecast of the first figure and what happened"))
    page = folder / "report.html"
    files.write_text(page, _page(study, figures, names))
    return page
