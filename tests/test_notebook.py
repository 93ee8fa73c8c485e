"""What a notebook shows, in a real browser: a notebook that ran and was exported, and a widget in a page."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

import pellucid
from browser import Tab
from pellucid import Explanations, notebook
from pellucid.viewer import source
from serving import scores_of
from tiny import tiny

HOSTILE = "good </iframe><script>parent.hurt=1</script> & \" ' \u202e\u2028 film"
CELLS = [
    "import torch, pellucid, tiny; model = tiny.tiny(); e = pellucid.explain(model, 'It is a great film'); model",
    *["e"] * 6,
    f"pellucid.explain(model, {HOSTILE!r})",
    "pellucid.explain(model, 'a dull film', target=['positive', 'negative'])",
    "pellucid.explain(model, ['a good film', 'a bad film', ''], errors='return')",
    "pellucid.attribute(lambda x: (x * x).sum(-1), torch.tensor([[1.0, 2.0]]))",
    "e.plot()",
]
STRANGE = "<style>dl{display:grid} dt{float:left;width:20%} dd{margin:0;color:red} p{font-size:40px}</style>"


@pytest.fixture(scope="module")
def executed() -> Any:
    """A notebook that ran."""
    nbclient = pytest.importorskip("nbclient", reason="needs nbconvert, of the extra [dev]")
    pytest.importorskip("ipykernel", reason="needs ipykernel, of the extra [dev]")
    pytest.importorskip("matplotlib", reason="needs matplotlib, of the extra [plots]")
    import nbformat

    written = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("JPY_SESSION_NAME", raising=False)
        patch.setenv("PYTHONPATH", f"{Path(str(pellucid.__file__)).parents[1]}{os.pathsep}{Path(__file__).parent}")
        patch.setenv("JUPYTER_PLATFORM_DIRS", "1")
        return nbclient.NotebookClient(written, timeout=120).execute()


@pytest.mark.filterwarnings("ignore")
def test_an_exported_notebook_shows_ten_views_that_leave_each_other_alone(
    running: Any, executed: Any, tmp_path: Path
) -> None:
    exporter = pytest.importorskip("nbconvert", reason="needs nbconvert, of the extra [dev]").HTMLExporter
    exported, _ = exporter(template_name="lab", require_js_url="", mathjax_url="").from_notebook_node(executed)
    tab = Tab(running, viewport={"width": 1000, "height": 900})
    page = tab.open(exported.replace("<body", f"{STRANGE}<body", 1), tmp_path)
    frames = [f for f in page.frames[1:] if f.query_selector(".viewer-root")]
    assert len(page.frames) == 12 and len(frames) == 9  # three of the twelve cells show no explanation
    for frame in frames:
        frame.locator(".viewer .unit").first.wait_for()
    first, second = frames[0], frames[1]
    first.get_by_role("button", name="Tokens", exact=True).click()
    pressed = [
        f.get_by_role("button", name="Tokens", exact=True).get_attribute("aria-pressed") for f in (first, second)
    ]
    assert pressed == ["true", "false"]
    colours = {f.evaluate("getComputedStyle(document.querySelector('.static dd')).color") for f in frames}
    assert "rgb(255, 0, 0)" not in colours
    assert frames[6].locator(".reading").text_content().replace("\n", "") == HOSTILE.replace("\n", "")
    assert page.evaluate("() => window.hurt") is None
    assert "Input 2 failed: InputError: Input 2 is empty" in page.inner_text("body")
    heights = page.evaluate("() => [...document.querySelectorAll('iframe')].map((f) => f.offsetHeight)")
    assert min(heights) < 200 and 600 < max(heights) <= notebook.MOST
    assert tab.faults == []
    tab.context.close()


def test_every_cell_has_a_picture_and_a_text(executed: Any) -> None:
    shown = [cell.outputs[0]["data"] for cell in executed.cells]
    assert all("text/plain" in data for data in shown)
    assert ["text/html" in data for data in shown[:-1]] == [True] * (len(CELLS) - 1)
    assert shown[-1]["image/png"].startswith("iVBOR") and "widgets" not in executed.metadata


def test_a_page_without_scripts_shows_the_static_form(running: Any, tmp_path: Path) -> None:
    e = pellucid.explain(tiny(), "a great film")
    tab = Tab(running, java_script_enabled=False)
    page = tab.open(f"<!doctype html>{e._repr_html_()}", tmp_path)
    assert "great" in page.frame_locator("iframe").locator(".static").inner_text()
    tab.context.close()


def test_what_is_shown_has_no_id_no_global_and_no_require() -> None:
    model, f = tiny(), lambda x: (x * x).sum(-1)
    e = pellucid.explain(model, "a great film")
    shown = [
        model,
        e,
        Explanations((e, e)),
        pellucid.explain(model, ["good", "dull"]),
        pellucid.attribute(f, torch.ones(2, 3)),
    ]
    for each in shown:
        outside = each._repr_html_().split("srcdoc=")[0] + each._repr_html_().split('" onload=')[1]
        assert " id=" not in outside and "<script" not in outside
    assert not any(word in source() + notebook._RENDER for word in ("require(", "requirejs", "window.", "globalThis"))


def test_a_live_session_gets_a_widget_and_nothing_else_does(running: Any, tmp_path: Path, monkeypatch: Any) -> None:
    pytest.importorskip("anywidget", reason="needs anywidget, of the extra [notebook]")
    e = pellucid.explain(tiny(), "a great film")
    kind = "application/vnd.jupyter.widget-view+json"
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    assert kind not in e._repr_mimebundle_()
    monkeypatch.setenv("JPY_SESSION_NAME", "a.ipynb")
    bundle = e._repr_mimebundle_()
    assert {"text/plain", "text/html", kind} == bundle.keys()
    made = notebook._viewer_class()(view=e._sheet().view(), told=["… and <b>2</b> more"])
    assert scores_of(json.loads(made.view)) == [e.scores.tolist()]
    # the front end's part, as anywidget plays it: the module's render(), with a model and an element, twice
    script = (
        "const values = JSON.parse(document.querySelector('[type=\"application/json\"]').textContent);"
        "const kept = {}; const model = { get: (n) => values[n], set: (n, v) => { kept[n] = v; },"
        " save_changes() {}, on() {}, off() {} };"
        f"const url = URL.createObjectURL(new Blob([{json.dumps(made._esm)}], {{ type: 'text/javascript' }}));"
        "const { default: widget } = await import(url);"
        "for (const el of document.querySelectorAll('.cell')) widget.render({ model, el });"
        "document.body.dataset.done = '1';"
        "document.body.addEventListener('told', () => { document.body.dataset.kept = kept.state; });"
    ).replace("<", "\\u003c")
    values = json.dumps({"view": made.view, "told": made.told, "state": made.state}).replace("<", "\\u003c")
    cells = '<div class="cell"></div>' * 2
    tab = Tab(running)
    page = tab.open(
        f'<!doctype html><meta charset="utf-8">{STRANGE}{cells}<script type="application/json">{values}</script>'
        f'<script type="module">{script}</script>',
        tmp_path,
    )
    page.wait_for_selector("body[data-done]")
    page.locator(".cell").nth(0).get_by_role("button", name="Tokens", exact=True).click()
    page.evaluate("() => document.body.dispatchEvent(new Event('told'))")
    assert json.loads(page.get_attribute("body", "data-kept"))["level"] == "tokens"
    other = page.locator(".cell").nth(1).get_by_role("button", name="Tokens", exact=True)
    assert other.get_attribute("aria-pressed") == "false"
    assert "… and <b>2</b> more" in page.inner_text("body") and tab.faults == []
    tab.context.close()


def test_an_attribution_shows_its_numbers() -> None:
    a = pellucid.attribute(lambda x: (x * x).sum(-1), torch.tensor([[1.0, -3.0]] * 12))
    told = a._repr_html_()
    assert "[1] +9.000" in told and "+10.00" in told and "… and 2 more rows of 12" in told


def test_an_attribution_prints_its_numbers() -> None:
    """Every number is the tensor's, and no tensor is printed."""
    x = torch.tensor([[1.0, -3.0], [0.5, 2.0]])
    a = pellucid.attribute(lambda x: (x * x).sum(-1), x)
    shown, (first, second) = str(a), ([line.split() for line in str(a).splitlines() if line[:1] in "01" and line])
    assert shown.startswith("values (2, 2) · status exact") and a.status.message in shown and "tensor" not in shown
    assert first == ["0", "10.00", "0", "+10.00", "0", "[1]", "+9.000", "[0]", "+1.000"]
    assert second == ["1", "4.250", "0", "+4.250", "0", "[1]", "+4.000", "[0]", "+0.250"]
    assert repr(a) == "Attribution(values (2, 2); output [10.00, 4.250], delta 0.0e+00)"


def test_a_model_says_what_it_is() -> None:
    told = tiny()._repr_html_()
    assert "text-classification" in told and "negative/positive" in told and "64 tokens" in told
