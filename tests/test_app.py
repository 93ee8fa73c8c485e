"""The app as a browser, and as an attacker, meets it: a real process, and a real Chromium where there is one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import pellucid

httpx = pytest.importorskip("httpx", reason="httpx is not installed")
pytest.importorskip("uvicorn", reason="the extra [app] is not installed")

CHROMIUM = Path("/usr/bin/chromium")
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
def server() -> Iterator[Server]:
    command = [sys.executable, "-u", "-W", "ignore", "-m", "pellucid", "app", "--no-browser"]
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
    asked = {"input": "It's great!", "request": {"targets": ["negative"], "detail": ["layers"]}}
    told = server.post("explain", asked).json()
    e = pellucid.explain(pellucid.load(), "It's great!", target="negative", detail=["layers"])
    scores = [t["score"] for t in told["view"]["explanations"][0]["tokens"]]
    assert scores == pytest.approx(e.scores.tolist(), abs=1e-5)
    assert pellucid.Explanations.from_dict(told["document"])[0].target.name == "negative"
    assert len(told["view"]["explanations"][0]["layers"]) == len(e.layers)  # pyright: ignore
    again = server.post("view", {"document": told["document"]}).json()
    assert again["view"] == told["view"]


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
        headers = {"authorization": f"Bearer {token}x".encode()}
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
        assert server.post("view", {"document": each}).status_code == 400, each
    page = server.post("export", {"document": document, "kind": "html"}).json()
    assert page["name"] == "explanation.html" and "<html" in page["content"]


def test_fifty_clients_at_once(server: Server) -> None:
    texts = [f"a good film number {i}" for i in range(50)]
    server.post("explain", {"input": texts[0]})
    before = server.memory()
    with ThreadPoolExecutor(50) as pool:
        for _ in range(3):
            answers = list(pool.map(lambda t: server.post("explain", {"input": t}), texts))
            assert [a.status_code for a in answers] == [200] * 50
            assert [a.json()["document"]["explanations"][0]["text"] for a in answers] == texts
        large = list(pool.map(lambda _: server.post("explain", b"a" * 10_000_001), range(20)))
    assert {a.status_code for a in large} == {413}
    assert server.process.poll() is None and server.memory() - before < 250_000_000


def test_what_is_outdated_is_not_begun(server: Server) -> None:
    slow = {"input": "a good film " * 8, "request": {"methods": ["shapley"]}}
    with ThreadPoolExecutor(12) as pool:
        first = pool.submit(server.post, "explain", slow)
        later = [pool.submit(server.post, "explain", {"input": "good"}, **{"x-client": "me/0"}) for _ in range(8)]
        codes = sorted(f.result().status_code for f in later)
        assert first.result().status_code == 200
    assert codes.count(200) >= 1 and set(codes) <= {200, 409}


# ------------------------------------------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip("there is no Chromium")
    with playwright.sync_playwright() as p:
        found = p.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    context = browser.new_context()
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" and "40" not in m.text else None)
    page.goto(server.address)
    page.wait_for_selector("[data-part=text]")
    yield page
    assert errors == []
    context.close()


def headline(page: Any) -> str:
    page.wait_for_function("() => document.querySelector('[data-role=views] section div')?.shadowRoot?.textContent")
    return page.evaluate("() => document.querySelector('[data-role=views] section div').shadowRoot.textContent")


def test_scores_follow_while_one_types(page: Any) -> None:
    page.fill("[data-part=text]", "a wonderful film")
    assert "positive" in headline(page)
    page.fill("[data-part=text]", "a terrible film")
    page.wait_for_function(
        "() => document.querySelector('[data-role=views] section div').shadowRoot.textContent.includes('terrible')"
    )
    assert "negative" in headline(page)


def test_a_class_that_is_clicked_is_the_target(page: Any) -> None:
    page.fill("[data-part=text]", "a wonderful film")
    headline(page)
    with page.expect_response("**/api/explain") as answer:
        page.get_by_role("button", name="negative", exact=True).click()
    assert answer.value.json()["view"]["explanations"][0]["target"]["name"] == "negative"
    assert page.input_value("[name=target]") == "negative"


def test_errors_edits_history_and_saving(page: Any, tmp_path: Path) -> None:
    page.fill("[data-part=text]", "a gripping, funny and moving film")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Explain", exact=True).click()
    headline(page)
    page.get_by_role("button", name="Fewest words").click()
    page.wait_for_selector("[data-role=edit] .after")
    assert "No fewer words" in page.inner_text("[data-role=edit]")
    page.get_by_role("button", name="Fewest changes").click()
    page.wait_for_function("() => document.querySelector('[data-role=edit] .told')?.textContent.includes('→ negative')")
    page.wait_for_selector("[data-role=history] li button")
    with page.expect_download() as download:
        page.select_option("[data-role=export]", "json")
    download.value.save_as(saved := tmp_path / "saved.json")
    assert pellucid.Explanation.from_json(saved.read_text("utf-8")).text == "a gripping, funny and moving film"
    page.set_input_files("[data-role=open]", str(saved))
    page.wait_for_function("() => document.querySelector('[data-role=views] h2').textContent === 'saved.json'")
    page.fill("[name=target]", "nonsense")
    page.wait_for_selector("[data-role=error]:not([hidden])")
    assert "nonsense" in page.inner_text("[data-role=error]")


def test_hostile_text_is_shown_as_it_is(page: Any) -> None:
    for text in HOSTILE:
        with page.expect_response("**/api/explain"):
            page.fill("[data-part=text]", text)
            page.get_by_role("button", name="Explain", exact=True).click()
        page.wait_for_timeout(60)
        assert page.evaluate("() => window.hurt") is None
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def test_a_phone_shows_all_of_it(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.fill("[data-part=text]", "a wonderful film")
    headline(page)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
