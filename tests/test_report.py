"""The report: one page that needs nothing else, files that agree with it, and the same bytes every time."""

from __future__ import annotations

import csv
import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace as Namespace

import networkx as nx
import numpy as np
import pytest
from study_cases import faulty_study, henon_study, switching_study

from esntools import report
from esntools.certificates import check_certificate
from esntools.errors import InvalidInputError
from esntools.network import EchoStateNetwork, Readout
from esntools.plotting import plot_task
from esntools.report import write_report
from esntools.report.equations import equation_svg, report_equations
from esntools.report.excitable import excitable_chapter
from esntools.report.figures import to_svg
from esntools.report.proofs import page_html, proof_of
from esntools.report.tables import audit_text, report_tables
from esntools.symbolic.pages import Block, Display, Matrix, Section, Words
from esntools.symbolic.pages import Page as Proof

VOID = {"meta", "br", "link", "img", "hr"}


class Page(HTMLParser):
    """Collects ids, links and text, and checks that tags nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.collect(tag, attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.collect(tag, attrs)

    def collect(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.append(value)
            self.attributes.append((tag, name, value or ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    return {
        "henon": write_report(henon_study(), folder / "henon"),
        "switching": write_report(switching_study(), folder / "switching"),
    }


@pytest.fixture(params=["henon", "switching"])
def page_path(request: pytest.FixtureRequest, reports: dict[str, Path]) -> Path:
    return reports[request.param]


def test_page_is_well_formed_small_and_loads_nothing(page_path: Path) -> None:
    text = page_path.read_text()
    assert len(text) < 4_000_000
    page = Page(text)
    tags = {tag for tag, _, _ in page.attributes}
    assert not tags & {"script", "link", "iframe", "img", "object"}
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name)
        if name.endswith("href") or name == "src":
            # Clouds of points are drawn as pixels that are part of the page.
            drawn = (tag, value[:22]) == ("image", "data:image/png;base64,")
            assert value.startswith("#") or drawn, (tag, name, value[:80])
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_ids_are_unique_and_every_reference_resolves(page_path: Path) -> None:
    text = page_path.read_text()
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    used = {v[1:] for _, name, v in page.attributes if name.endswith("href") and not v.startswith("data:")}
    used |= set(re.findall(r"url\(#([^)]+)\)", text))
    assert len(used) > 20
    assert used <= set(page.ids)


def test_page_says_what_was_found_and_how_it_was_made(reports: dict[str, Path]) -> None:
    for name, study in (("henon", henon_study()), ("switching", switching_study())):
        words = Page(reports[name].read_text()).words
        for line in study.summary_lines:
            assert re.sub(r"\s+", " ", line) in words
        assert study.network.content_hash in words
        assert study.source["sha256"] in words
        for heading in (
            "What was found",
            "Verify",
            "Explain",
            "How it was made",
            "This means:",
            "It does not mean:",
        ):
            assert heading in words
    assert "esntools report switching-2neuron" in Page(reports["switching"].read_text()).words


def test_true_and_learned_stand_side_by_side() -> None:
    table = report_tables(henon_study(), [])["matches"]
    row = next(r for r in table.rows if r[0].startswith("0.63"))
    assert row[1][:5] == row[0][:5]
    assert float(row[2].replace("−", "-")) == pytest.approx(-1.9237, abs=1e-3)
    assert float(row[3].replace("−", "-")) == pytest.approx(-1.9237, abs=0.05)


def test_figures_are_svg_files_and_the_same_as_on_the_page(page_path: Path) -> None:
    text = page_path.read_text()
    figures = sorted((page_path.parent / "figures").glob("*.svg"))
    assert len(figures) >= 4
    for path in figures:
        svg = path.read_text()
        assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
        assert svg[svg.index("<svg") :].strip() in text
        assert "NaN" not in svg


def test_the_same_study_gives_the_same_bytes(page_path: Path, tmp_path: Path) -> None:
    study = henon_study() if page_path.parent.name == "henon" else switching_study()
    again = write_report(study, tmp_path / "again").parent
    files = sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    assert files == sorted(
        p.relative_to(page_path.parent) for p in page_path.parent.rglob("*") if p.is_file()
    )
    for name in files:
        if name.suffix != ".npz":
            assert (again / name).read_bytes() == (page_path.parent / name).read_bytes(), name


def test_files_beside_the_page_agree_with_the_study(reports: dict[str, Path]) -> None:
    folder, study = reports["henon"].parent, henon_study()
    assert EchoStateNetwork.load(folder / "model.npz") == study.network
    assert json.loads((folder / "report.json").read_text())["summary"] == list(study.summary_lines)
    rows = list(csv.reader((folder / "forecast.csv").read_text().splitlines()))
    assert rows[0] == ["step", "truth", "forecast"]
    window = study.windows[0]
    assert [float(r[1]) for r in rows[1:]] == window.truth[:, 0].tolist()
    assert int(rows[1][0]) == window.start
    graph = nx.read_graphml(folder / "graph.graphml")
    assert study.graph is not None
    assert graph.number_of_edges() == study.graph.number_of_edges()


def test_certificates_are_accepted_by_the_checker(reports: dict[str, Path]) -> None:
    for name, study in (("henon", henon_study()), ("switching", switching_study())):
        decided = [v for v in study.verdicts if v.result.verdict != "inconclusive"]
        paths = sorted(reports[name].parent.glob("certificate*.json"))
        assert len(paths) == len(decided)
        for path in paths:
            assert check_certificate(path).valid


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    title = '<script>alert(1)</script> & "co"'
    study = replace(switching_study(), title=title, not_done={"graph": "<b>because</b>"}, graph=None)
    text = write_report(study, tmp_path).read_text()
    assert "<script" not in text
    page = Page(text)
    assert title in page.words
    assert "not done. <b>because</b>." in page.words.replace(" .", ".")


def test_what_was_not_done_is_said(tmp_path: Path) -> None:
    study = replace(
        henon_study(), lyapunov=None, climate=None, windows=(), vpt_steps=np.zeros(0), graph=None,
        not_done={"lyapunov": "no reason given", "climate": "it left", "forecast": "too short",
                  "graph": "lost"},
    )  # fmt: skip
    path = write_report(study, tmp_path)
    words = Page(path.read_text()).words
    for reason in study.not_done.values():
        assert reason in words
    assert not (tmp_path / "forecast.csv").exists()
    assert not (tmp_path / "graph.graphml").exists()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInputError, match="writable"):
        write_report(switching_study(), tmp_path / "file" / "report")


def test_audit_names_failures() -> None:
    points = {"zero input": Namespace(audit="failed", index_sum=0, audit_reason="one is missing")}
    text = audit_text(Namespace(fixed_points=points, proved_points={}))  # type: ignore[arg-type]
    assert "failed (sum 0; one is missing)" in text
    proved = {"zero input": Namespace(complete=True)}
    assert audit_text(Namespace(fixed_points=points, proved_points=proved)) == ""  # type: ignore[arg-type]


def test_dynamics_are_shown(reports: dict[str, Path]) -> None:
    henon, switching = (Page(reports[name].read_text()) for name in ("henon", "switching"))
    assert {"lyapunov", "comparison"} <= set(henon.ids)
    assert "Is it the same attractor?" in henon.words
    assert "correlation dimension" in henon.words
    assert {"echo-index", "dwell-times"} <= set(switching.ids)
    assert switching.words.count("It is proved that there are no others.") == 3
    assert "some may be missed" not in switching.words


@pytest.mark.slow
@pytest.mark.ci
def test_a_reader_sees_what_is_wrong_with_the_network(tmp_path: Path) -> None:
    study = faulty_study()
    found = study.diagnosis
    assert found is not None
    assert study.graph is not None
    text = write_report(study, tmp_path).read_text()
    page = Page(text)
    assert {"network", "graph", "phase", "diagnosis"} <= set(page.ids)
    assert re.search(r'<div class="verdict refuted"><p><b class="word">errs</b>', text)
    assert found.summary in page.words
    assert found.faults[0].text in page.words
    # The pulse table against the task: one cell is wrong, red, and says what was wanted.
    bad = [v for tag, name, v in page.attributes if (tag, name, v) == ("td", "class", "bad")]
    assert len(bad) == 1
    assert "✗ stays; wanted (-1)" in page.words
    # Every wrong stretch of the run is in a table by cause, and told one by one.
    assert "threshold above the pulse" in page.words
    assert "none is left without a cause" in page.words
    for segment in found.segments[:15]:
        assert f"Steps {segment.start} to {segment.stop - 1}:" in page.words
    document = json.loads((tmp_path / "diagnosis.json").read_text())
    # As `esntools diagnose -o` writes it.
    assert (document["format"], document["version"]) == ("esntools-diagnosis", 1)
    assert (document["network"], document["task"]) == (study.network.content_hash, "its own")
    assert document["n_wrong_steps"] == found.n_wrong_steps
    assert found.summary in (tmp_path / "diagnosis.txt").read_text()
    assert json.loads((tmp_path / "report.json").read_text())["diagnosis"]["correct"] is False
    assert len(study.summary_lines) == 5
    # Between its pulses the input of a task rests, where this network has two stable points.
    inputs = "some sequence over 2 input symbols and zero input"
    assert study.summary_lines[4].startswith("It is proved to remember where it started")
    assert inputs in study.summary_lines[4]
    assert study.task_run is not None
    assert [p.get_ylabel() for p in plot_task(study.task_run).child_axes] == ["line 0"]
    assert "leads where the task does not want" not in study.summary_lines[1]
    assert "1 of 4 pulses from an attractor lead where the task does not want" in study.summary_lines[1]


def test_a_failed_audit_stands_in_bold() -> None:
    study = switching_study()
    assert study.graph is not None
    graph = study.graph.copy()
    graph.graph.update(audit="failed", audit_reason="the indices sum to 3", note="attractor 1 is chaos")
    text = re.sub(r"\s+", " ", report._page(replace(study, graph=graph), (), ()))
    assert "<p><b>The audit of the fixed points failed: the indices sum to 3." in text
    assert "<p><b>Attractor 1 is chaos.</b></p>" in text
    assert "The audit of the fixed points failed" not in report._page(study, (), ())


def test_thresholds_in_several_metrics_are_a_table() -> None:
    graph = nx.DiGraph(
        kind="excitable network", metrics=["state", "input"], pulses=[], pulse_table=[[], []], audit="passed",
        connections=[
            {"metric": "state", "source": 0, "target": 1, "threshold": 0.5, "lower": 0.25},
            {"metric": "input", "source": 0, "target": 1, "threshold": 2.0, "lower": 0.0, "pulse": 1},
            {"metric": "input", "source": 0, "target": 1, "threshold": 1.0, "lower": 0.0, "pulse": 0},
            {"metric": "state", "source": 1, "target": 0, "threshold": 0.125, "lower": 0.0},
        ],
    )  # fmt: skip
    graph.add_nodes_from([(0, {"output": None}), (1, {"output": None})])
    chapter = excitable_chapter(replace(switching_study(), graph=graph, diagnosis=None))
    assert chapter is not None
    state, pulse = chapter.thresholds
    assert state.rows == (("from 0", "", "0.5 (0.25)"), ("from 1", "0.125", ""))
    assert pulse.rows == (("from 0", "", "1"), ("from 1", "none", ""))
    assert "kicks of the state" in state.caption
    assert "multiples of a pulse" in pulse.caption
    # In the metric of the pulses alone, with nothing proved, other tables say it all.
    graph.graph.update(metrics=["input"], connections=[c for c in graph.graph["connections"] if "pulse" in c])
    plain = excitable_chapter(replace(switching_study(), graph=graph, diagnosis=None))
    assert plain is not None
    assert plain.thresholds == ()
    assert (chapter.word, chapter.moves, chapter.causes) == ("", None, None)
    assert excitable_chapter(henon_study()) is None


def test_equations_have_the_terms_of_the_network() -> None:
    plain = EchoStateNetwork([[0.5]], W_in=[[1.0]])
    fed = EchoStateNetwork([[0.5]], leak_rate=0.3, readout=Readout([[1.0]], [[1.0]]), W_fb=[[1.0]])
    assert len(report_equations(plain)["map"]) == 2
    assert len(report_equations(fed)["map"]) == 3
    widths = [
        float(re.search(r'width="([\d.]+)pt"', report_equations(n)["map"][0]).group(1))  # type: ignore[union-attr]
        for n in (plain, fed)
    ]
    assert widths[1] > 1.2 * widths[0]
    assert ElementTree.fromstring(equation_svg("a < b", 'a < "b" & c')).get("aria-label") == 'a < "b" & c'


def test_svg_ids_start_with_the_key_and_do_not_depend_on_when() -> None:
    from esntools.plotting import plot_vpt

    first, second = (to_svg(plot_vpt([1.0, 2.0, 3.0]), "vpt", "a < b") for _ in range(2))
    assert first == second
    ids = re.findall(r'\bid="([^"]+)"', first)
    assert ids
    assert all(name.startswith("vpt-") for name in ids)
    assert 'aria-label="a &lt; b"' in first


def test_the_proof_of_the_certificate_is_beside_the_page_and_on_it(reports: dict[str, Path]) -> None:
    for name, study in (("henon", henon_study()), ("switching", switching_study())):
        folder = reports[name].parent
        decided = [v for v in study.verdicts if v.result.verdict != "inconclusive"]
        assert decided
        assert len(list(folder.glob("proof*.tex"))) == len(list(folder.glob("proof*.txt"))) == len(decided)
        words = Page(reports[name].read_text()).words
        for verdict in decided:
            page = proof_of(verdict.result.document, verdict.network)
            assert page is not None
            if verdict.key != "closed loop":
                assert f"{page.title}: the theorem" in words
                assert "The numbers" in words or verdict.result.verdict == "refuted"
            assert any(p.read_text() == page.latex() for p in folder.glob("proof*.tex"))
        assert (folder / "derivation.tex").exists()
    assert proof_of(None, study.network) is None
    assert proof_of({"format": "esntools-inconclusive"}, study.network) is None


def test_proofs_are_drawn_without_a_trace_of_latex() -> None:
    page = Proof(
        "Title",
        [
            Section("A $x$"),
            Words(r"Let $x_k \leq 1$ ``so'' \textbf{now}, <i> & 2--3."),
            Block("theorem", "of $A$", [Display(r"A x \leq 1"), Words(r"\texttt{a_b}")]),
            Matrix("V", np.eye(2)),
            Matrix("V", np.eye(9)),
        ],
    )
    html = page_html(page)
    words = Page(html).words
    assert "“so” now , <i> & 2–3." in words
    assert "Theorem (of A)." in words
    assert html.count("<svg") == 4
    assert "matrix of 9 x 9 numbers" in words
    assert "\\" not in words
    assert "$" not in html
