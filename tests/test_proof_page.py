"""The page of every kind of certificate: it compiles, it is drawn, its numbers satisfy its inequalities."""

from __future__ import annotations

import copy
import functools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.mathtext import MathTextParser

from esntools.errors import InvalidInputError, UnsupportedError
from esntools.network import EchoStateNetwork
from esntools.symbolic import certified_network, derive, proof_page
from esntools.symbolic.pages import Block, Display, Matrix, Page, Section, Words, number, plain

VALID = Path(__file__).parent / "corpora" / "certificates" / "valid"
CERTIFICATES = sorted(path.stem for path in VALID.glob("*.json") if '"verdict"' in path.read_text())
THEOREMS = {
    "spectral-norm", "perron-weights", "diagonal-schur", "incremental-lurie", "common-quadratic", "cascade",
    "zero-input-multipliers", "two-fixed-points", "unstable-fixed-point", "attracting-balls",
    "contracting-tube",
}  # fmt: skip


@functools.cache
def document(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((VALID / f"{name}.json").read_text())
    return content


def network_of(name: str) -> EchoStateNetwork | None:
    """None when the certificate has its network in it."""
    section = document(name)["network"]
    if "file" not in section:
        return None
    return certified_network({"network": json.loads((VALID / section["file"]).read_text())})


@functools.cache
def page(name: str) -> Page:
    return proof_page(document(name), network_of(name))


def test_every_theorem_has_a_page() -> None:
    assert {document(name)["theorem"] for name in CERTIFICATES} == THEOREMS
    verdicts = {(document(name)["verdict"], document(name)["theorem"]) for name in CERTIFICATES}
    assert {("refuted", "attracting-balls"), ("local", "attracting-balls")} <= verdicts


# -- LaTeX ------------------------------------------------------------------------------------------------

SPECIAL = re.compile(r"(?<!\\)[_^&#%]")


def check_latex(text: str) -> None:
    """A strict tokenizer: environments nest, braces balance, dollars pair, specials only in formulas."""
    assert text.isascii()
    assert all(line.isprintable() for line in text.split("\n"))
    stack: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert stack == []
    depth = 0
    for k, c in enumerate(text):
        if c in "{}" and text[k - 1] != "\\":
            depth += 1 if c == "{" else -1
            assert depth >= 0
    assert depth == 0
    assert text.count(r"\[") == text.count(r"\]")
    assert text.count(r"\left") == text.count(r"\right")
    body = text.split(r"\begin{document}")[1]
    for paragraph in re.sub(r"\\\[.*?\\\]", "", body, flags=re.DOTALL).split("\n\n"):
        assert paragraph.count("$") % 2 == 0, paragraph
        assert not SPECIAL.search(re.sub(r"\$[^$]*\$", "", paragraph)), paragraph
        assert "\\\\" not in re.sub(r"\$[^$]*\$", "", paragraph)


@pytest.mark.parametrize("name", CERTIFICATES)
def test_the_latex_is_well_formed(name: str) -> None:
    check_latex(page(name).latex())


def test_the_tokenizer_finds_faults() -> None:
    good = page(CERTIFICATES[0]).latex()
    faults = (
        good.replace(r"\end{proof}", "", 1),
        good.replace("}", "", 1),
        good.replace("$", "", 1),
        good.replace("It has", "It_has", 1),
        good.replace("It has", "50% has", 1),
        good.replace(r"\]", "", 1),
    )
    for fault in faults:
        assert fault != good
        with pytest.raises((AssertionError, IndexError)):
            check_latex(fault)


def compile_latex(text: str, folder: Path, name: str) -> str:
    (folder / f"{name}.tex").write_text(text)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"]
    result = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, errors="replace", check=False
    )
    assert result.returncode == 0, result.stdout[-2000:]
    assert (folder / f"{name}.pdf").stat().st_size > 10_000
    return result.stdout


needs_latex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX here")


@needs_latex
def test_a_page_compiles(tmp_path: Path) -> None:
    assert "Overfull" not in compile_latex(page("secant-lurie-constant").latex(), tmp_path, "page")


@needs_latex
@pytest.mark.slow
@pytest.mark.ci
def test_all_pages_and_a_derivation_compile(tmp_path: Path) -> None:
    for name in CERTIFICATES:
        compile_latex(page(name).latex(), tmp_path, name)
    rng = np.random.default_rng(0)
    for k, (leak, activation) in enumerate([(0.1, "tanh"), (1.0, "logistic"), ([0.5, 1.0], "erf")]):
        network = EchoStateNetwork(
            0.7 * rng.normal(size=(2, 2)), W_in=np.ones((2, 1)), leak_rate=leak, activation=activation
        )
        compile_latex(derive(network).latex(), tmp_path, f"derivation{k}")


@functools.cache
def width(formula: str) -> float:
    parser: Any = MathTextParser("path")
    return float(parser.parse(f"${formula}$").width)


@pytest.mark.parametrize("name", CERTIFICATES)
def test_every_formula_is_drawn(name: str) -> None:
    formulas = page(name).formulas()
    assert len(formulas) >= 3
    for formula in formulas:
        # Parsing takes long, and pages differ mostly in their digits.
        assert width(re.sub(r"\d+\.\d+", "0.25", formula)) > 0.0, formula


# -- words and numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CERTIFICATES)
def test_the_text_is_plain(name: str) -> None:
    text = page(name).text()
    assert max(map(len, text.splitlines())) <= 100
    assert not re.search(r"[\\$`]", text)
    # Braces are sets only.
    assert set(re.findall(r"\{.{3}", text)) <= {"{l_i", "{x :"}
    assert document(name)["network"]["hash"] in text
    assert "nan" not in text.split()
    assert "None" not in text
    # No expression of the program.
    assert not re.search(r"steps - start|_\(?p - 1", text)
    assert all(line.isprintable() for line in text.split("\n"))


def values(text: str) -> list[tuple[float, str, float]]:
    """All 'number <= number' and 'number < number' of a page."""
    digits = r"(-?\d+(?:\.\d+)?(?: x 10\^-?\d+)?)"

    def read(part: str) -> float:
        return float(part.replace(" x 10^", "e"))

    return [
        (read(a), op, read(b)) for a, op, b in re.findall(rf"{digits} (<=|<|>|>=) {digits}(?![\w^])", text)
    ]


@pytest.mark.parametrize("name", CERTIFICATES)
def test_the_numbers_satisfy_their_inequalities(name: str) -> None:
    text = " ".join(page(name).text().split())
    for a, op, b in values(text):
        assert {"<=": a <= b, "<": a < b, ">": a > b, ">=": a >= b}[op], (a, op, b)
    assert "does not hold" not in text
    for gap, radii in re.findall(r"balls differ by (\S+), more than the sum (\S+) of", text):
        assert float(gap) > float(radii)
    for margin in re.findall(r"least margin of dominance over the rows of .{5,25} is (\S+) ?>?", text):
        assert float(margin.rstrip(".,")) > 0.0
    for size, room in re.findall(r"size\(eta\) = (\S+(?: x 10\^-\d+)?) < \(1 - r\) rho = (\S+)", text):
        assert float(size.replace(" x 10^", "e")) < float(room)


BROKEN = {
    "spectral-tanh-leaks": 3.0, "perron-relu": 3.0, "schur-sine-washout": 3.0, "lurie-erf": 3.0,
    "vertices-softsign": 3.0, "cascade-coupled": 3.0, "odd-tanh-washout": 3.0, "responses-two": 0.5,
    "unstable-skew-leak": 0.5, "tube-tanh": 1.5,
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_page_shows_where_a_wrong_certificate_fails(name: str) -> None:
    """The witness of one network beside the weights of another: the page does not claim what is not so."""
    other = certified_network(document(name)).scaled(BROKEN[name])
    changed = perturbed(name, lambda d: d["network"].update(hash=other.content_hash))
    assert "does not hold" in " ".join(proof_page(changed, other).text().split())


def text_of(name: str) -> str:
    return " ".join(page(name).text().split())


def test_what_the_pages_say() -> None:
    assert "the echo index is at least 2" in text_of("responses-two")
    assert "The input has period 3" in text_of("two-periodic-alphabet")
    assert "hold two different 3-periodic solutions" in text_of("two-periodic-alphabet")
    assert "It is not valid between two solutions, with a bias, or under a drive" in text_of(
        "odd-tanh-washout"
    )
    assert "An assumption." in text_of("assumption-arctan")
    assert "difference quotients of phi lie in [0, 1]" in text_of("assumption-arctan")
    assert "there is a fixed point x^* at the constant input" in text_of("secant-tanh-washout")
    assert "Entry into the tube" in text_of("tube-entry")
    assert "Krawczyk 1969" in text_of("two-box")
    for name in CERTIFICATES:
        text = text_of(name)
        assert "Yildiz" in text
        assert "proves nothing by itself" in text
        if document(name)["verdict"] == "local":
            assert "forgets its initial state" not in text
        washout = document(name)["claim"].get("washout")
        assert ("A proved washout" in text) is (washout is not None)


def perturbed(name: str, change: Any) -> dict[str, Any]:
    content = copy.deepcopy(document(name))
    change(content)
    return content


def test_other_documents_are_refused() -> None:
    name = "spectral-tanh-leaks"
    with pytest.raises(InvalidInputError, match="another network"):
        proof_page(document(name), EchoStateNetwork([[0.5]]))
    with pytest.raises(UnsupportedError, match="format version 3"):
        proof_page(perturbed(name, lambda d: d.update(version=3)))
    with pytest.raises(InvalidInputError, match="not an esntools certificate"):
        proof_page({"format": "else"})
    with pytest.raises(InvalidInputError, match="give the network"):
        proof_page(document("file-network"))
    damages = (
        lambda d: d["witness"].clear(), lambda d: d.pop("claim"), lambda d: d.update(theorem="magic"),
        lambda d: d["witness"].update(R={"shape": [9, 9], "type": "f8", "data": "AAAA"}),
        lambda d: d["claim"].update(rate="fast"), lambda d: d.update(verdict="maybe"),
        lambda d: d["claim"]["inputs"].update(kind="some"), lambda d: d.update(slopes=None),
        lambda d: d["network"].update(W=5),
    )  # fmt: skip
    for damage in damages:
        with pytest.raises((InvalidInputError, UnsupportedError)):
            proof_page(perturbed(name, damage))


def test_the_network_of_a_certificate() -> None:
    for name in ("feedback-linear", "two-squares-zero", "cascade-sparse", "assumption-arctan"):
        found = certified_network(document(name))
        assert found.content_hash == document(name)["network"]["hash"]


# -- pages ------------------------------------------------------------------------------------------------


def test_numbers_are_rounded_towards_the_safe_side() -> None:
    rng = np.random.default_rng(0)
    for x in [*rng.normal(size=200), *10.0 ** rng.uniform(-12, 12, 200), 0.1, 1.0, -3.0, 0.0]:
        up, down = (float(plain(number(float(x), u)).replace(" x 10^", "e")) for u in (True, False))
        assert down <= x <= up
        assert up - down <= 2e-5 * abs(x)


def test_plain_words() -> None:
    assert (
        plain(r"$\sum_{j \neq i} |V_{ij}| \leq \frac{1}{2} \lambda^{-1}$")
        == "sum_(j != i) |V_ij| <= 1/2 lambda^-1"
    )
    assert plain(r"$\bar{x}_{k+1}$ and $\{l_i, L_i\}$") == "x_bar_(k+1) and {l_i, L_i}"


def test_matrices_are_shown_or_described() -> None:
    small, large = Matrix("V", np.array([[0.0, -1.0], [1.0, 0.5]])), Matrix("V", np.ones((9, 9)))
    content = Page(
        "Title", [Section("One"), small, large, Block("lemma", "", [Words("Yes."), Display("x < 1")])]
    )
    assert r"\begin{pmatrix} 0 & -1 \\ 1 & 0.5 \end{pmatrix}" in content.latex()
    assert "V = [0, -1; 1, 0.5]" in content.text()
    assert "V is a matrix of 9 x 9 numbers between 1 and 1." in content.text()
    assert content.formulas() == [r"V = [\, 0,\ -1;\ 1,\ 0.5 \,]", "x < 1"]
    check_latex(content.latex())
