"""What a notebook shows, in a real browser, under the rules with which Jupyter styles what it is given."""

from __future__ import annotations

from pathlib import Path

import pytest

import pellucid

CHROMIUM = Path("/usr/bin/chromium")
JUPYTER = "<style>dl{display:grid} dt{float:left;width:20%} dd{margin:0;color:red} p{font-size:40px}</style>"


def test_ten_views_in_one_notebook_keep_their_own_style(tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip("there is no Chromium")
    model = pellucid.load()
    hostile = "good </iframe><script>parent.hurt=1</script> & \" ' film"
    answers = pellucid.explain(model, ["a good film", hostile] * 4)
    shown = [*(e._repr_html_() for e in answers), pellucid.Explanations(tuple(answers))._repr_html_()]
    html = JUPYTER + "".join(shown) + answers._repr_html_()
    (path := tmp_path / "notebook.html").write_text(f"<!doctype html><meta charset=utf-8>{html}", "utf-8")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(path.as_uri())
        frames = page.frames[1:]
        assert len(frames) == 10
        assert page.evaluate("() => window.hurt") is None
        assert hostile in frames[1].locator(".reading").first.inner_text()
        colours = {f.evaluate("() => getComputedStyle(document.querySelector('.static dd')).color") for f in frames[:9]}
        assert "rgb(255, 0, 0)" not in colours
        assert page.evaluate("() => document.querySelectorAll('[id]').length") == 0
        browser.close()
