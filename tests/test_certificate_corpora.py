"""Two checkers that share nothing agree: on valid certificates, on forged ones, and after a flipped bit."""

from __future__ import annotations

import base64
import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import make_certificate_corpora
import numpy as np
import pytest
from naive_certificates import SOURCES, naive_check_file, naive_outcome
from naive_enclosures import LINE

from esntools.certificates import check
from esntools.certificates.documents import network_section, proved_document, slopes_section
from esntools.certificates.norms import diagonal_schur
from esntools.certificates.sectors import Sector
from esntools.inputs import AnyInput
from esntools.network import EchoStateNetwork

CORPORA = Path(__file__).parent / "corpora" / "certificates"
VALID = sorted((CORPORA / "valid").glob("*.json"))
FORGED = sorted((CORPORA / "forged").glob("*.json"))
DOCUMENTS = {path.stem: json.loads(path.read_text()) for path in VALID}


def outcome(document: Any, folder: Path = CORPORA / "valid") -> str:
    """Ours, in the words of the naive one; the format is looked at where a file is read."""
    if document.get("format") != "esntools-certificate":
        return "rejected"
    try:
        return "valid" if check.check(document, folder).assumption is None else "assumption"
    except (check.Invalid, check.Undecided):
        return "rejected"


def other(document: Any, folder: Path = CORPORA / "valid") -> str:
    return naive_outcome(document, folder).partition(":")[0]


# -- the corpora ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_both_checkers_accept_what_is_valid(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = {0: "valid", 4: "assumption"}[check.main([str(path)])]
    assert naive_check_file(path) == expected
    assert (expected == "assumption") == path.stem.startswith("assumption")
    assert capsys.readouterr().out.startswith("valid")


def test_no_checker_accepts_what_is_forged(capsys: pytest.CaptureFixture[str]) -> None:
    for path in FORGED:
        assert check.main([str(path)]) in (1, 2, 3), path.name
        assert naive_check_file(path).startswith("rejected"), path.name
    capsys.readouterr()


def test_each_forgery_is_explained_and_made_by_the_script() -> None:
    forged = make_certificate_corpora.forged(make_certificate_corpora.valid())
    assert set(forged) == {path.stem for path in FORGED}
    assert len(forged) >= 40
    readme = (CORPORA / "forged" / "README.md").read_text()
    for name, (why, _) in forged.items():
        assert f"| `{name}` | {why} |\n" in readme
    assert set(make_certificate_corpora.valid()) == set(DOCUMENTS)


def test_the_valid_ones_use_every_theorem_range_class_and_activation() -> None:
    parts = list(DOCUMENTS.values())
    used = {(d["verdict"], d["theorem"]) for d in parts}
    assert used == {(verdict, theorem) for verdict, known in SOURCES.items() for theorem in known}
    assert {d["slopes"]["range"] for d in parts if "slopes" in d} == {"global", "box", "secant", "odd"}
    kinds = {"any", "zero", "constant", "box", "alphabet", "signal"}
    assert {d["claim"]["inputs"]["kind"] for d in parts} == kinds
    sections = [d["network"] for d in parts if "file" not in d["network"]]
    assert {s["activation"] for s in sections} == {*LINE, "atan(x)"}
    assert any(s["W_fb"] for s in sections)
    assert any(s["W_sq"] for s in sections)
    assert any("rows" in s["W"] for s in sections)
    assert {len(d["witness"]["input"]["shape"]) for d in parts if d["verdict"] == "refuted"} == {2}
    assert {d["witness"]["input"]["shape"][0] for d in parts if d["verdict"] == "refuted"} == {1, 2, 3}
    assert sum(bool(d["claim"].get("washout")) for d in parts) >= 8


# -- one bit ----------------------------------------------------------------------------------------------


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every text, integer and truth value of a document but those of the notes."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in items:
        if (*path, key) != ("notes",):
            if isinstance(child, str | int) or child is None:
                yield (*path, key)
            yield from places(child, (*path, key))


def at(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


def flipped(leaf: Any, key: str, rng: np.random.Generator) -> Any:
    """The leaf with one bit changed: of the numbers that base64 or hexadecimal digits mean, or of a text."""
    if isinstance(leaf, int):
        return leaf ^ 1 << int(rng.integers(6))
    if leaf is None:
        return False
    if key in ("data", "rows", "columns"):
        data = bytearray(base64.b64decode(leaf))
        if not data:
            return "AAAA"
        bit = int(rng.integers(8 * len(data)))
        data[bit // 8] ^= 1 << bit % 8
        return base64.b64encode(bytes(data)).decode()
    if leaf.startswith(("0x", "-0x")):
        bits = int(np.float64(float.fromhex(leaf)).view(np.int64)) ^ 1 << int(rng.integers(63))
        return float(np.int64(bits).view(np.float64)).hex()
    text = bytearray(leaf.encode())
    if not text:
        return "A"
    text[int(rng.integers(len(text)))] ^= 1 << int(rng.integers(7))
    return text.decode(errors="replace")


def flips(name: str, count: int, rng: np.random.Generator) -> Iterator[tuple[tuple[Any, ...], Any]]:
    document = DOCUMENTS[name]
    found = list(places(document))
    for k in rng.choice(len(found), count, replace=count > len(found)):
        path = found[k]
        forged = copy.deepcopy(document)
        at(forged, path[:-1])[path[-1]] = flipped(at(document, path), str(path[-1]), rng)
        yield path, forged


def negative_zero(name: str, path: tuple[Any, ...], forged: Any) -> bool:
    """A zero of W may change its sign: it is no entry, and the hash passes over it."""
    if path[1:] != ("W", "data"):
        return False
    one, two = (
        np.frombuffer(base64.b64decode(d["network"]["W"]["data"]), "<" + d["network"]["W"]["type"])
        for d in (DOCUMENTS[name], forged)
    )
    return bool(np.array_equal(one, two))


def compare(names: list[str], count: int, seed: int) -> int:
    rng, survivors = np.random.default_rng(seed), 0
    for name in names:
        for path, forged in flips(name, count, rng):
            ours = outcome(forged)
            assert ours == other(forged), (name, path)
            if path[0] in ("network", "format", "version", "verdict", "theorem", "source"):
                assert ours == "rejected" or negative_zero(name, path, forged), (name, path)
            survivors += ours != "rejected"
    return survivors


def test_one_flipped_bit_has_the_same_outcome_in_both_checkers() -> None:
    # Those that survive are true too: a weight of a norm, a wider bound, an input near by.
    assert compare(sorted(DOCUMENTS), 8, 0) > 0


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_hundreds_of_flipped_bits_have_the_same_outcome_in_both_checkers(name: str) -> None:
    compare([name], 150, 1)


STRANGE: list[Any] = [
    None, [], {}, "x", 7, -1, True, 0.5, ["box"], {"kind": "any"}, {"kind": "zero"}, [[0]], 10**15,
    "0x1.0000000000000p-1", "0x0.0p+0", "-0x0.0p+0", "global", "box", "odd", "secant", "perron-weights",
]  # fmt: skip


def nodes(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document but in the notes."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in items:
        if (*path, key) != ("notes",):
            yield (*path, key)
            yield from nodes(child, (*path, key))


def test_strange_values_anywhere_have_the_same_outcome_in_both_checkers() -> None:
    rng, survivors = np.random.default_rng(3), 0
    for name, document in DOCUMENTS.items():
        found = list(nodes(document))
        for k in rng.integers(len(found), size=12):
            forged, value = copy.deepcopy(document), STRANGE[rng.integers(len(STRANGE))]
            at(forged, found[k][:-1])[found[k][-1]] = value
            assert outcome(forged) == other(forged), (name, found[k], value)
            survivors += outcome(forged) != "rejected"
    # A washout that is not claimed, or is claimed later, is true too.
    assert survivors > 0


def test_one_flipped_bit_of_a_network_file_is_rejected(tmp_path: Path) -> None:
    document, rng = DOCUMENTS["file-network"], np.random.default_rng(0)
    section = (CORPORA / "valid" / "file-network.network").read_text()
    path = tmp_path / "file-network.network"
    path.write_text(section)
    assert outcome(document, tmp_path) == other(document, tmp_path) == "valid"
    for bit in rng.choice(8 * len(section), 100, replace=False):
        data = bytearray(section.encode())
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(data))
        # White space may turn into other white space.
        same = data.translate(None, b" \n\r\t") == section.encode().translate(None, b" \n\r\t")
        assert outcome(document, tmp_path) == other(document, tmp_path), bit
        assert (outcome(document, tmp_path) == "valid") == same, bit


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_one_flipped_bit_of_a_file_has_the_same_outcome(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Anywhere in its bytes: braces, keys, notes."""
    rng, original, forged = np.random.default_rng(2), path.read_bytes(), tmp_path / "c.json"
    shutil.copy(CORPORA / "valid" / "file-network.network", tmp_path)
    for bit in rng.choice(8 * len(original), 100, replace=False):
        data = bytearray(original)
        data[bit // 8] ^= 1 << bit % 8
        forged.write_bytes(bytes(data))
        code = check.main([str(forged)])
        assert {0: "valid", 4: "assumption"}.get(code, "rejected") == naive_check_file(forged).partition(":")[
            0
        ]
    capsys.readouterr()


# -- size -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.ci
def test_the_naive_checker_reads_a_hundred_units() -> None:
    rng = np.random.default_rng(0)
    network = EchoStateNetwork(0.04 * rng.normal(size=(100, 100)), leak_rate=0.5)
    sector = Sector(network.dense_W(), network.leak_rate, np.zeros(100), np.ones(100))
    candidate = diagonal_schur(sector).candidate
    assert candidate is not None
    slopes = slopes_section("global", sector.low, sector.high)
    document = proved_document(network, candidate, AnyInput(), slopes, states="all", notes={})
    assert network_section(network) == document["network"]
    assert outcome(document) == other(document) == "valid"
    better = copy.deepcopy(document)
    better["claim"]["rate"] = float(0.98 * candidate.rate).hex()
    assert outcome(better) == other(better) == "rejected"
