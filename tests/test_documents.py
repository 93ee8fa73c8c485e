"""What the documents say of the code is so: every file that they name exists, and every status is explained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pellucid.status import Status

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ROOT, ROOT / "src" / "pellucid", ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FILE = re.compile(r"(?:[\w.-]+/)*[\w-]+\.(?:py|md)\b")
LINK = re.compile(r"\]\((?!http)([^)#]+)\)")


def missing(page: str) -> list[str]:
    """The files that a page names, by a path or by a name alone, and that no room has."""
    names = {*FILE.findall(page), *LINK.findall(page)}
    return sorted(name for name in names if not any((room / name).exists() for room in ROOMS))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_file_that_a_document_names_exists(page: Path) -> None:
    assert missing(page.read_text("utf-8")) == []


def test_a_file_that_does_not_exist_is_found() -> None:
    assert missing("`models/tasks.py`, `problem.py`, [here](docs/none.md)") == ["docs/none.md", "models/tasks.py"]


def test_the_glossary_has_every_status_once_and_says_how_its_scores_were_obtained() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", (ROOT / "docs" / "glossary.md").read_text("utf-8"), re.M)
    ways = {"closed form": "a closed form", "tolerance": "a tolerance", "sample": "a random sample"}
    assert dict(rows) == {s.value: ways.get(s.obtained, "a fixed number of steps") for s in Status}
    assert len(rows) == len(Status)


def test_the_terms_of_the_glossary_are_sorted_and_short() -> None:
    terms = re.findall(r"^- \*\*(.+?)\*\* – (.+(?:\n  .+)*)", (ROOT / "docs" / "glossary.md").read_text("utf-8"), re.M)
    names = [re.sub(r"\W+", " ", name).strip().casefold() for name, _ in terms]
    assert len(names) >= 30 and names == sorted(names)
    assert [name for name, meaning in terms if meaning.count("\n") > 1] == []
