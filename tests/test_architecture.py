"""The house rules that a machine can check: who imports whom, and what importing the package costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_imports_go_down_only() -> None:
    result = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr


def test_no_file_has_two_subjects() -> None:
    """DESIGN: most files are 100 to 400 lines; past 500 a file has two subjects."""
    lengths = {p.name: len(p.read_text().splitlines()) for p in (ROOT / "esntools").rglob("*.py")}
    # The checker must run as a lone file.
    allowed = {"check.py": 1350}
    assert {name: n for name, n in lengths.items() if n > allowed.get(name, 500)} == {}


def test_nothing_committed_names_this_machine_or_a_registry() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    words = [b"pypi" + b".org", b"files.python" + b"hosted", b"/work" + b"/main", b"registry.npm" + b"js"]
    found = [
        (name, word)
        for name in tracked
        if (ROOT / name).is_file()
        for word in words
        if word in (ROOT / name).read_bytes()
    ]
    assert found == []
