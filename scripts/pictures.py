"""Makes the pictures of the README and the documents: a page, a comparison, a generation, attention, and the terminal.

python scripts/pictures.py [--out docs/pictures] [--language-model CHECKPOINT] [--chromium PATH]
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME

import pellucid

TEXT = "It starts slowly, but the acting is superb and the ending is wonderful."
OTHER = "It starts slowly, and the acting is dull and the ending is terrible."
PARTS = {"compare": "Compare"}
"""Of the pages of which a part is photographed, the part: what can be looked into under the text."""
WIDE, TALLEST = 900, 1150  # pixels of a page; what is below is left out
MOST = 150_000  # bytes of a picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--language-model", help="a checkpoint; without one the generation is left out")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    e = pellucid.explain(pellucid.load(), TEXT, detail=("layers", "attentions"))
    e.plot("attention").savefig(given.out / "attention.png", dpi=110)
    if given.language_model:
        found = pellucid.explain(pellucid.load(given.language_model), "The capital of France is", max_new_tokens=8)
        found.plot("generation").savefig(given.out / "generation.png", dpi=110)
    other = pellucid.explain(pellucid.load(), OTHER)
    both = pellucid.Explanations((pellucid.explain(pellucid.load(), TEXT), other))
    pages = {"page": e.to_html(), "compare": both.to_html(), "terminal": in_a_terminal(e)}
    photograph(pages, given.out, given.chromium)
    for path in sorted(given.out.glob("*.png")):
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
        if path.stat().st_size > MOST:
            raise SystemExit(f"Found {path} of {path.stat().st_size} bytes; expected at most {MOST}.")


def in_a_terminal(e: pellucid.Explanation) -> str:
    """What a terminal of 90 columns shows, as a page."""
    console = Console(width=90, force_terminal=True, color_system="truecolor", record=True, file=io.StringIO())
    console.print(e)
    return console.export_html(theme=DEFAULT_TERMINAL_THEME)


def photograph(pages: dict[str, str], out: Path, chromium: str) -> None:
    """A screenshot of each page, 900 pixels wide."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": WIDE, "height": 200})
        for name, page in pages.items():
            path = Path(folder) / f"{name}.html"
            path.write_text(page, "utf-8")
            tab.goto(path.as_uri())
            if name in PARTS:
                tab.get_by_role("button", name=PARTS[name], exact=True).click()
                tab.get_by_role("region", name=PARTS[name], exact=True).screenshot(path=out / f"{name}.png")
            else:
                high = min(TALLEST, tab.evaluate("document.documentElement.scrollHeight"))
                tab.screenshot(
                    path=out / f"{name}.png", full_page=True, clip={"x": 0, "y": 0, "width": WIDE, "height": high}
                )
        browser.close()


if __name__ == "__main__":
    main()
