"""Makes the pictures of the README and the documents: pages, a comparison, a generation, attention, terminal and app.

python scripts/pictures.py [--out docs/pictures] [--language-model CHECKPOINT] [--chromium PATH]
"""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME

import pellucid

TEXT = "It starts slowly, but the acting is superb and the ending is wonderful."
OTHER = "It starts slowly, and the acting is dull and the ending is terrible."
DOCUMENTS = {
    "brochure": "The Harbour Bridge was opened in 1932. It carries trains and cars across the bay.",
    "diary": "We walked over the old bridge in the rain. My hat was lost in the wind.",
    "menu": "Soup of the day. Fish with chips, and a lemon tart.",
}
QUESTION = "When was the bridge opened, and what does it carry?"
ANSWER = " The bridge was opened in 1932. It carries trains and cars."
PARTS = {"compare": "Compare", "sources": "Sources", "hops": "Hops"}
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
    if given.language_model:
        item = {"documents": DOCUMENTS, "question": QUESTION, "continuation": ANSWER}
        cited = pellucid.cite(pellucid.load(given.language_model), item, baseline="filler")
        pages |= {"sources": cited.to_html(), "hops": cited.to_html()}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=given.chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": WIDE, "height": 200})
        photograph(pages, tab, given.out)
        with app() as address:
            explain_in_the_app(tab, address)
            screenshot(tab, given.out / "app.png")
        browser.close()
    for path in sorted(given.out.glob("*.png")):
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
        if path.stat().st_size > MOST:
            raise SystemExit(f"Found {path} of {path.stat().st_size} bytes; expected at most {MOST}.")


def in_a_terminal(e: pellucid.Explanation) -> str:
    """What a terminal of 90 columns shows, as a page."""
    console = Console(width=90, force_terminal=True, color_system="truecolor", record=True, file=io.StringIO())
    console.print(e)
    return console.export_html(theme=DEFAULT_TERMINAL_THEME)


def photograph(pages: dict[str, str], tab: Page, out: Path) -> None:
    """A screenshot of each page, or of the part of it that is looked into."""
    with tempfile.TemporaryDirectory() as folder:
        for name, page in pages.items():
            path = Path(folder) / f"{name}.html"
            path.write_text(page, "utf-8")
            tab.goto(path.as_uri())
            if name in PARTS:
                for chosen in tab.get_by_role("group", name="Target").get_by_role("button").all()[-1:]:
                    chosen.click()
                tab.get_by_role("button", name=PARTS[name], exact=True).click()
                tab.get_by_role("region", name=PARTS[name], exact=True).screenshot(path=out / f"{name}.png")
            else:
                screenshot(tab, out / f"{name}.png")


def screenshot(tab: Page, path: Path) -> None:
    high = min(TALLEST, tab.evaluate("document.documentElement.scrollHeight"))
    tab.screenshot(path=path, full_page=True, clip={"x": 0, "y": 0, "width": WIDE, "height": high})


@contextmanager
def app() -> Iterator[str]:
    """The address of a running `pellucid app` with the bundled model."""
    command = [sys.executable, "-u", "-m", "pellucid", "app", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            yield next(found[0] for line in process.stdout if (found := re.search(r"http://\S+", line)))
        finally:
            process.terminate()


def explain_in_the_app(tab: Page, address: str) -> None:
    tab.goto(address)
    tab.locator("textarea[data-part]").first.fill(TEXT)
    mine = lambda answer: answer.url.endswith("/api/explain") and TEXT in (answer.request.post_data or "")
    with tab.expect_response(mine):
        tab.get_by_role("button", name="Explain", exact=True).click()
    tab.wait_for_function("() => !document.querySelector('.answer').matches('.stale, [hidden]')")


if __name__ == "__main__":
    main()
