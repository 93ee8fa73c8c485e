"""`pellucid.gradio` as a browser meets it, where Gradio is installed."""

from __future__ import annotations

import pytest

import pellucid
from browser import Tab, browser
from pellucid.errors import InputError
from tiny import tiny


def test_a_demo_shows_the_viewer_and_says_what_is_wrong() -> None:
    pytest.importorskip("gradio", reason="needs gradio, of the extra [gradio]")
    demo = pellucid.gradio(pellucid.load(), target="positive")
    _, address, _ = demo.launch(prevent_thread_lock=True, quiet=True)
    try:
        with browser() as running:
            tab = Tab(running)
            tab.page.goto(address)
            tab.page.get_by_label("Text", exact=True).fill("a wonderful film")
            tab.page.get_by_role("button", name="Submit").click()
            viewer = tab.page.frame_locator("iframe[title=Explanations]")
            viewer.locator(".unit", has_text="wonderful").wait_for()
            e = pellucid.explain(pellucid.load(), "a wonderful film", target="positive")
            assert f"{e.top(1)[0].score:+.3f}" in viewer.locator(".viewer").inner_text()
            tab.page.get_by_label("Text", exact=True).fill(" ")
            tab.page.get_by_role("button", name="Submit").click()
            tab.page.get_by_text("is empty").first.wait_for()
    finally:
        demo.close()


def test_what_is_no_model_is_refused() -> None:
    pytest.importorskip("gradio", reason="needs gradio, of the extra [gradio]")
    with pytest.raises(InputError, match="TinyClassifier as the model"):
        pellucid.gradio(tiny().model)


def test_a_machine_without_gradio_says_what_to_install() -> None:
    try:
        import gradio  # noqa: F401
    except ImportError:
        with pytest.raises(pellucid.PellucidError, match=r"pellucid\[gradio\]"):
            pellucid.gradio(tiny())
