"""The app as a browser, and as an attacker, meets it: a real process, and a real Chromium where there is one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pellucid
from browser import Tab
from pellucid.app import asking
from serving import scores_of

httpx = pytest.importorskip("httpx", reason="httpx is not installed")
pytest.importorskip("uvicorn", reason="the extra [app] is not installed")

HOSTILE = [
    "<script>window.hurt=1</script>",
    '"><img src=x onerror="window.hurt=1">',
    "</script><svg onload=window.hurt=1>",
    "\u202eesrever\u202c \u2028 \u2029 &amp; \x00 \x1b[31m",
    "{{7*7}} ${7*7} javascript:window.hurt=1",
    "x" * 300,
]


class Server:
    """A running `pellucid app`."""

    def __init__(self, process: subprocess.Popen[str], address: str):
        self.process, self.address = process, address
        self.origin, _, self.token = address.partition("/?token=")

    def post(self, name: str, body: Any, **headers: str) -> Any:
        given = {"authorization": f"Bearer {self.token}", **headers}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx.post(f"{self.origin}/api/{name}", content=content, headers=given, timeout=120)

    def memory(self) -> int:
        """Resident bytes of the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024  # pyright: ignore


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pytest.importorskip("pyarrow", reason="needs pyarrow, of the extra [jobs]")
    rows = [("a good film", "positive"), ("a bad film", "negative"), ("so dull", "positive"), ("", "negative")]
    data = [{"text": text, "label": label} for text, label in rows]
    pellucid.run(
        pellucid.load(), data, out := str(tmp_path_factory.mktemp("data") / "run"), column="text", label="label"
    )
    command = [sys.executable, "-u", "-W", "ignore", "-m", "pellucid", "app", out, "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    lines: list[str] = []
    while not (found := re.search(r"http://\S+", lines[-1] if lines else "")):
        lines.append(process.stdout.readline())
        assert lines[-1], lines
    yield Server(process, found[0])
    process.terminate()
    process.wait(20)
    process.stdout.close()


def test_the_answer_is_that_of_python(server: Server) -> None:
    asked = {"input": "It's great!", "request": {"targets": ["negative"], "detail": ["layers", "attentions"]}}
    told = server.post("explain", {**asked, "document": True}).json()
    e = pellucid.explain(pellucid.load(), "It's great!", target="negative", detail=["layers", "attentions"])
    (view,) = told["view"]["explanations"]
    assert scores_of(told["view"]) == [pytest.approx(e.scores.tolist(), abs=1e-5)]
    assert pellucid.Explanations.from_dict(told["document"])[0].target.name == "negative"
    assert len(view["depths"]) == len(e.layers)  # pyright: ignore
    assert view["attention"] and not {"attentions", "heads", "measures"} & view.keys()
    again = server.post("explain", {"document": told["document"]}).json()
    assert again == {"view": told["view"]}
    assert "document" not in server.post("explain", asked).json()


LONG = "not a dull plot at all , but a good film with fine music " * 8


def test_a_layer_of_attention_is_there_whole(server: Server) -> None:
    asked = {"input": LONG, "request": {"detail": ["attentions"]}}
    (view,) = server.post("explain", asked).json()["view"]["explanations"]
    (measure,) = view["attention"]
    whole = server.post("attention", {**asked, "measure": "probability", "layer": 1}).json()["cells"]
    e = pellucid.explain(pellucid.load(), LONG, detail=["attentions"])
    assert e.attentions is not None and measure["kept"] < len(e.tokens)
    found = np.zeros_like(e.attentions[1])
    for head, query, keys in ((h, q, keys) for h, each in enumerate(whole) for q, keys in enumerate(each)):
        found[head, query, keys[::2]] = np.array(keys[1::2]) * measure["peak"] / 127
    np.testing.assert_allclose(found, e.attentions[1], atol=measure["peak"] / 127)
    said = server.post("attention", {**asked, "measure": "rollout", "layer": 1}).json()
    assert "rollout" in said["error"]["message"]


def test_the_answer_whose_layers_are_looked_at_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second layer needs no run of the model; an answer without attention, or another question, is asked anew."""
    asked = {"input": "It's great!", "request": {"detail": ["attentions"]}}
    known = asking.known_of([pellucid.load()], [])
    asking.explained(known, asked)
    with monkeypatch.context() as patched:
        patched.setattr(asking, "explain", lambda *_, **__: pytest.fail("the model ran again"))
        cells = [asking.attention(known, {**asked, "measure": "probability", "layer": k})["cells"] for k in range(3)]
    assert len({json.dumps(layer) for layer in cells}) == 3
    asking.explained(known, {"input": "It's great!"})
    assert len(known.recent.kept) == 1
    monkeypatch.setattr("pellucid.app.recent.MOST_BYTES", 1)
    asking.explained(known, {**asked, "input": "It's dull!"})
    assert not known.recent.kept


def test_edits_are_those_of_python(server: Server) -> None:
    text, model = "a gripping and funny film", pellucid.load()
    assert server.post("reduce", {"input": text}).json()["reduced"] == pellucid.reduce(model, text).reduced
    assert server.post("flip", {"input": text}).json()["flipped"] == pellucid.flip(model, text).flipped


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"input": ""}, "Found no text"),
        ({"input": "good", "request": {"targets": ["nice"]}}, "nice"),
        ({"input": "good", "request": {"methods": ["magic"]}}, "magic"),
        ({"input": "good", "request": {"options": {"progress": 1}}}, "progress"),
        ({"input": "good", "request": {"errors": "return"}}, "errors"),
        ({"input": {"text": ["good"]}}, "expected a text"),
        ({"input": {"path": "/etc/passwd"}}, "path"),
        ({"input": "good", "model": "../../etc"}, "expected one of"),
        ({"input": "\ud800"}, "half of a character"),
        ({"input": "good", "request": [1]}, "fields of a Request"),
        ({"input": "word " * 2000}, "tokens"),
    ],
)
def test_an_error_is_a_sentence(server: Server, body: Any, says: str) -> None:
    answer = server.post("explain", body)
    assert answer.status_code == 400 and says in answer.json()["error"]["message"]


def test_an_error_is_that_of_python(server: Server) -> None:
    with pytest.raises(pellucid.PellucidError) as raised:
        pellucid.explain(pellucid.load(), "good", target="nice")
    told = server.post("explain", {"input": "good", "request": {"targets": ["nice"]}}).json()["error"]
    assert told == {"type": type(raised.value).__name__, "message": str(raised.value)}


def test_who_does_not_know_the_token_gets_nothing(server: Server) -> None:
    for token in ("", "wrong", server.token[:-1], "é"):
        headers = {"authorization": f"Bearer {token}xx".encode()}
        assert httpx.get(f"{server.origin}/?token={token}").status_code == 403
        for name in ("models", "status"):
            assert httpx.get(f"{server.origin}/api/{name}", headers=headers).status_code == 403
        assert httpx.post(f"{server.origin}/api/explain", headers=headers, json={"input": "a"}).status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1.nip.io"])
def test_a_host_that_is_rebound_gets_nothing(server: Server, host: str) -> None:
    assert httpx.get(server.address, headers={"host": host}).status_code == 421
    assert server.post("explain", {"input": "good"}, host=host).status_code == 421


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1"])
def test_a_foreign_origin_gets_nothing(server: Server, origin: str) -> None:
    assert server.post("explain", {"input": "good"}, origin=origin).status_code == 403
    assert server.post("explain", {"input": "good"}, origin=server.origin).status_code == 200


def test_a_body_that_is_too_large_or_no_json_is_said_to_be(server: Server) -> None:
    large = server.post("explain", b'{"input": "' + b"a" * 10_000_000 + b'"}')
    assert large.status_code == 413 and "10 MB" in large.json()["error"]["message"]
    for body in (b"", b"no", b"[1]", b"\xff", b"[" * 100_000):
        answer = server.post("explain", body)
        assert answer.status_code == 400 and "JSON" in answer.json()["error"]["message"]


def test_documents_from_outside_are_refused_in_a_sentence(server: Server) -> None:
    document = pellucid.explain(pellucid.load(), "good").to_dict()
    broken = [{}, {"schema_version": 1}, {**document, "tokens": 3}, {**document, "scores": ["a"]}, [], None]
    broken += [{**document, "target": "x"}, {"schema_version": 1, "explanations": []}]
    for each in broken:
        assert server.post("explain", {"document": each}).status_code == 400, each
    page = server.post("export", {"document": document, "kind": "html"}).json()
    assert page["name"] == "explanation.html" and "<html" in page["content"]
    asked = server.post("export", {"input": "good", "kind": "json"}).json()
    assert json.loads(asked["content"])["scores"] == pytest.approx(document["scores"], abs=1e-5)


def test_fifty_clients_at_once(server: Server) -> None:
    texts = [f"a good film number {i}" for i in range(50)]
    server.post("explain", {"input": texts[0]})
    before = server.memory()
    with ThreadPoolExecutor(50) as pool:
        for _ in range(3):
            answers = list(pool.map(lambda t: server.post("explain", {"input": t}), texts))
            assert [a.status_code for a in answers] == [200] * 50
            shown = [a.json()["view"]["explanations"][0]["cuts"][0]["text"] for a in answers]
            assert shown == texts
        large = list(pool.map(lambda _: server.post("explain", b"a" * 10_000_001), range(20)))
    assert {a.status_code for a in large} == {413}
    assert server.process.poll() is None and server.memory() - before < 150_000_000


SLOW = {"input": "a good film " * 30, "request": {"methods": ["kernel_shap"], "options": {"n_samples": 50_000}}}


def wait_until_running(server: Server, client: str) -> None:
    headers = {"authorization": f"Bearer {server.token}", "x-client": client}
    until = time.monotonic() + 60
    while not httpx.get(f"{server.origin}/api/status", headers=headers).json()["passes"]:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_what_runs_is_stopped_by_its_client_alone(server: Server) -> None:
    with ThreadPoolExecutor(3) as pool:
        slow = pool.submit(server.post, "explain", SLOW, **{"x-client": "me/explain"})
        wait_until_running(server, "me/explain")
        assert server.post("cancel", {}, **{"x-client": "another/explain"}).json() == {"cancelled": 0}
        assert server.post("cancel", {}, **{"x-client": ""}).json() == {"cancelled": 0} and not slow.done()
        began = time.monotonic()
        assert server.post("cancel", {}, **{"x-client": "me/explain"}).json() == {"cancelled": 1}
        assert slow.result().status_code == 409
        assert server.post("explain", {"input": "good"}).status_code == 200  # the queue goes on
        assert time.monotonic() - began < 20  # what was stopped takes minutes


def test_what_is_newer_stops_what_is_outdated(server: Server) -> None:
    with ThreadPoolExecutor(8) as pool:
        slow = pool.submit(server.post, "explain", SLOW, **{"x-client": "me/explain"})
        wait_until_running(server, "me/explain")
        later = [pool.submit(server.post, "explain", {"input": "good"}, **{"x-client": "me/explain"}) for _ in range(6)]
        codes = [f.result().status_code for f in later]
        assert slow.result().status_code == 409 and codes.count(200) >= 1 and set(codes) <= {200, 409}
    model = pellucid.load()
    told = server.post("explain", {"input": "a good film"}).json()["view"]["explanations"][0]
    assert told["sum"]["terms"][3]["value"] == pytest.approx(pellucid.explain(model, "a good film").output, abs=1e-5)


def test_a_run_is_looked_through(server: Server) -> None:
    page = server.post("rows", {"run": "run", "search": "film", "sort": "-probability"}).json()
    assert page["total"] == 2 and {r["text"] for r in page["rows"]} == {"a good film", "a bad film"}
    assert [r["row"] for r in server.post("rows", {"run": "run", "only": "wrong"}).json()["rows"]] == [2]
    (failed,) = server.post("rows", {"run": "run", "only": "failed"}).json()["rows"]
    assert failed["error_type"] == "InputError"
    e = pellucid.explain(pellucid.load(), "a bad film")
    (place,) = (r["place"] for r in page["rows"] if r["text"] == "a bad film")
    for opened in ({"row": 1}, {"place": place}):
        told = server.post("explain", {"run": "run"} | opened).json()["view"]
        assert scores_of(told) == [pytest.approx(e.scores.tolist(), abs=1e-5)]
    shard = place[0]
    for wrong in ([f"../shards/{shard}", 0], [shard, 99], [shard, -1], [shard, True], shard, [], {}):
        assert server.post("explain", {"run": "run", "place": wrong}).status_code == 400
    assert server.post("explain", {"run": "run", "row": 99}).status_code == 400
    assert (
        "could not" in server.post("explain", {"run": "run", "row": 3}).text
        or "empty" in server.post("explain", {"run": "run", "row": 3}).text
    )
    for body in (
        {"run": "../run"},
        {"run": "run", "limit": 10**6},
        {"run": "run", "sort": "; drop"},
        {"run": "run", "only": "1 or 1"},
    ):
        assert server.post("rows", body).status_code == 400


# ------------------------------------------------------------------------------------------------------- in a browser


@pytest.fixture
def page(running: Any, server: Server) -> Iterator[Any]:
    """The app in a window of its own, in which nothing goes wrong unseen."""
    tab = Tab(running)
    tab.page.goto(server.address)
    tab.page.wait_for_selector("[data-part=text]")
    yield tab.page
    tab.context.close()
    assert [fault for fault in tab.faults if not re.search(r"40[09] \(", fault)] == []


def viewer(page: Any, text: str) -> Any:
    """The drawn explanation, once this stands in it."""
    page.locator(".answer .viewer", has_text=text).wait_for()
    return page.locator(".answer .viewer")


def test_scores_follow_while_one_types(page: Any) -> None:
    page.fill("[data-part=text]", "a wonderful film")
    assert "positive" in viewer(page, "wonderful").inner_text()
    page.fill("[data-part=text]", "a terrible film")
    assert "negative" in viewer(page, "terrible").inner_text()


def test_the_first_picture_is_one_click_away(page: Any) -> None:
    page.get_by_role("button", name="Example").click()
    assert "superb" in viewer(page, "superb").inner_text()


def test_keyboard_alone_explains_chooses_and_stops(page: Any) -> None:
    assert page.evaluate("() => document.activeElement.dataset.part") == "text"
    page.keyboard.type("a wonderful film")
    viewer(page, "wonderful")
    reached: list[str] = []
    for _ in range(40):
        page.keyboard.press("Tab")
        name = page.evaluate(
            "() => { const e = document.activeElement; return e.shadowRoot ? 'the picture' "
            ": e.getAttribute('aria-label') ?? e.name ?? e.textContent; }"
        ) or page.evaluate("() => document.activeElement.textContent")
        reached.append(name)
        if name == "negative":
            page.keyboard.press("Enter")
            page.wait_for_function("() => document.querySelector('[name=target]').value === 'negative'")
    assert {"method", "baseline", "detail", "Open a saved JSON file", "the picture"} <= set(reached)
    assert all(any(word in name for name in reached) for word in ("Explain", "Example", "Fewest words"))


def test_running_work_is_stopped_by_a_click(page: Any, server: Server) -> None:
    page.select_option("[name=method]", "kernel_shap")
    ask = '"methods":["kernel_shap"]'
    more = f'{ask},"options":{json.dumps(SLOW["request"]["options"])}'
    script = "([ask, more]) => { const send = fetch; window.fetch = (to, how) => send(to, how?.body ? "
    page.evaluate(script + "{ ...how, body: how.body.replace(ask, more) } : how); }", [ask, more])
    page.fill("[data-part=text]", "a good film " * 30)
    page.locator("[data-role=progress]", has_text=re.compile(r"runs of the model: [1-9]")).wait_for()
    page.get_by_role("button", name="Stop").click()
    assert page.locator("[data-role=stop]").is_hidden()
    assert server.post("explain", {"input": "good"}).status_code == 200


def test_edits_history_and_saving(page: Any, tmp_path: Path) -> None:
    text = "a gripping, funny and moving film"
    page.fill("[data-part=text]", text)
    page.get_by_role("button", name="Explain", exact=True).click()
    viewer(page, "gripping")
    model = pellucid.load()
    reduction, flip = pellucid.reduce(model, text), pellucid.flip(model, text)
    page.get_by_role("button", name="Fewest words").click()
    page.locator("[data-role=edit]", has_text=reduction.sentence).wait_for()
    assert page.locator("[data-role=edit] strong").all_inner_texts() == list(reduction.kept)
    assert page.locator("[data-role=edit] del").all_inner_texts() == list(reduction.removed)
    page.get_by_role("button", name="Fewest changes").click()
    page.locator("[data-role=edit]", has_text=flip.sentence).wait_for()
    assert page.locator("[data-role=edit] ins").all_inner_texts() == [r.after for r in flip.replaced]
    with page.expect_download() as download:
        page.select_option("[data-role=export]", "json")
    download.value.save_as(saved := tmp_path / "saved.json")
    assert pellucid.Explanation.from_json(saved.read_text("utf-8")).text == text
    page.get_by_role("button", name="Explain the edited text").click()
    assert "negative" in viewer(page, flip.replaced[0].after).inner_text()
    earlier = page.locator("[data-role=history] li button")
    assert earlier.all_inner_texts()[:2] == [flip.flipped, text]
    earlier.nth(1).click()
    page.wait_for_function(f"() => document.querySelector('[data-part=text]').value === {json.dumps(text)}")
    page.fill("[name=target]", "nonsense")
    page.locator("[data-role=error]", has_text="nonsense").wait_for()


def test_the_layer_of_attention_that_is_looked_at_is_drawn_whole(page: Any) -> None:
    page.check("[name=detail][value=attentions]")
    page.fill("[data-part=text]", LONG)
    drawn = viewer(page, "dull")
    drawn.get_by_text("Values are in steps of 1/127").wait_for()
    layer = drawn.get_by_label("Layer", exact=True)
    other = "1" if layer.input_value() != "1" else "2"
    with page.expect_response(lambda answer: answer.url.endswith("api/attention")) as answered:
        layer.select_option(other)
    assert len(answered.value.json()["cells"]) == 12
    drawn.get_by_label(f"probability, layer {other}").wait_for()
    drawn.get_by_text("Values are in steps of 1/127").wait_for()


def test_a_row_of_a_run_is_opened(page: Any) -> None:
    page.locator("[data-role=run-count]", has_text="1–4 of 4").wait_for()
    page.select_option("[data-role=run-only]", "wrong")
    page.locator("[data-role=run-count]", has_text="1–1 of 1").wait_for()
    page.locator("[data-role=run-rows] button").click()
    viewer(page, "true label")
    assert page.inner_text(".answer h2") == "run, row 2"
    with page.expect_download() as download:
        page.get_by_role("button", name="Save summary").click()
    assert "<html" in Path(download.value.path()).read_text("utf-8")


def test_hostile_texts_are_shown_as_they_are(page: Any) -> None:
    for text in HOSTILE:
        with page.expect_response(lambda r: r.url.endswith("/api/explain")):
            page.fill("[data-part=text]", text)
            page.get_by_role("button", name="Explain", exact=True).click()
    seen = " ".join(HOSTILE[0].split())
    page.fill("[data-part=text]", HOSTILE[0])
    page.wait_for_function(
        "(seen) => document.querySelector('.answer > div').shadowRoot.querySelector('.reading')"
        ".textContent.replaceAll(/\\s+/g, ' ').trim() === seen",
        arg=seen,
    )
    assert page.evaluate("() => [window.hurt, document.documentElement.scrollWidth <= innerWidth]") == [None, True]


@pytest.mark.parametrize("how", [{"color_scheme": "dark"}, {"viewport": {"width": 390, "height": 800}}])
def test_axe_finds_no_serious_fault_and_a_phone_shows_all_of_it(running: Any, server: Server, how: Any) -> None:
    package = pytest.importorskip("axe_core_python", reason="needs axe-core-python, of the extra [dev]")
    axe = (Path(next(iter(package.__path__))) / "axe.min.js").read_text("utf-8")
    tab = Tab(running, **how)
    tab.page.goto(server.address)
    tab.page.fill("[data-part=text]", "a wonderful film")
    viewer(tab.page, "wonderful")
    tab.page.get_by_role("button", name="Fewest changes").click()
    tab.page.locator("[data-role=edit] ins").wait_for()
    assert tab.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    tab.page.evaluate(axe)
    found = tab.page.evaluate("axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa']})")["violations"]
    assert [(f["id"], [n["target"] for n in f["nodes"]]) for f in found if f["impact"] in ("serious", "critical")] == []
    tab.context.close()
    assert tab.faults == []
