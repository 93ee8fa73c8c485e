"""What a person sees holds what was computed, all of it, and obeys nothing that a text says."""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import pellucid.render
from pellucid import number_text
from pellucid.errors import InputError
from pellucid.explanation import Explanation
from pellucid.explanations import Explanations
from pellucid.passages import passages
from pellucid.render import colour, facts, files, html, terminal
from pellucid.render.html import style
from pellucid.tables import COLUMNS
from pellucid.tokens import Target, Token
from pellucid.view import ExplanationView

HOSTILE = [
    "<script>alert(1)</script>",
    '" onmouseover="alert(1)',
    "</title></style></div><img src=x onerror=alert(1)>",
    "&lt;b&gt; &amp; 'q' ]]> <!-- -->",
]
WORLD = [
    "  Très  émouvant,\n\n\tcafé \n",
    "정말 훌륭한 영화였다!",
    "هذا فيلم رائع (2024) جدا",
    "great 👩‍👩‍👧 🎬🇰🇷 !",
    "",
]


def explained(text: Any, by_word: dict[str, float] | None = None, **changed: Any) -> Explanation:
    """One token a word, of six letters at most, between [CLS] and [SEP]; words not named in `by_word` get 0.01."""
    tokens, values = [Token("[CLS]", 101, special=True)], [0.0]
    for segment, part in enumerate(text if isinstance(text, tuple) else (text,)):
        for number, match in enumerate(re.finditer(r"\w+|[^\w\s]", part)):
            start, end = match.span()
            middle = start + 3 if end - start > 6 else end
            for a, b in ((start, middle), (middle, end)):
                if a < b:
                    tokens.append(Token(part[a:b], 7, (a, b), word=number, segment=segment))
                    values.append((by_word or {}).get(match.group(), 0.01) * (b - a) / (end - start))
        tokens.append(Token("[SEP]", 102, special=True, segment=segment))
        values.append(0.0)
    e = Explanation(
        text=text,
        tokens=tuple(tokens),
        scores=np.array(values),
        target=Target("positive", 1),
        method="deeplift",
        baseline="mask",
        output=-1.6748 + sum(values) + 1e-7,
        baseline_output=-1.6748,
        delta=1e-7,
        prediction="positive",
        probability=0.9526,
        passes=2,
        meta={"model": "some/model"},
    )
    return replace(e, **changed)


def page(explanations: Sequence[Explanation]) -> str:
    return html.page(Explanations(tuple(explanations)).view())


def still(explanations: Sequence[Explanation]) -> str:
    """The page without its scripts."""
    return re.sub(r"<script.*?</script>", "", page(explanations), flags=re.DOTALL)


def fragment(explanations: Sequence[Explanation]) -> str:
    return html.fragment(Explanations(tuple(explanations)).view())


def view(e: Explanation) -> Any:
    return terminal.draw(e.view())


def views(explanations: Sequence[Explanation]) -> Any:
    return terminal.draw(Explanations(tuple(explanations)).view())


def seen(e: Explanation) -> ExplanationView:
    return e.view().explanations[0]


@pytest.fixture
def film() -> Explanation:
    text = "I went to see this movie last night. I've got to say... it's great! This is an amazing movie!"
    return explained(text, {"amazing": 1.057, "great": 0.848, "!": 0.24, "movie": 0.1, "night": -0.12, "last": -0.31})


class Read(HTMLParser):
    """Every element and attribute of a page, and the text of each passage."""

    def __init__(self, html: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.passages: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("meta", "img", "link", "br"):
            return
        inside = self.open[-1] == "passage" if self.open else False
        here = dict(attrs).get("class") == "passage"
        self.open.append("passage" if inside or here else tag)
        if here:
            self.passages.append("")

    def handle_endtag(self, tag: str) -> None:
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "passage":
            self.passages[-1] += data

    def values(self, kind: str) -> list[str]:
        return [a[kind] or "" for _, a in self.elements if kind in a]


def printed(renderable: Any, **options: Any) -> str:
    console = Console(file=StringIO(), **{"width": 100, "color_system": None, **options})
    console.print(renderable)
    return console.file.getvalue()  # type: ignore[attr-defined]


# --------------------------------------------------------------------------------------------------------------- html


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("write", [page, fragment])
def test_outside_strings_are_shown_never_run(text: str, write: Any) -> None:
    told = {"method": text, "baseline": text, "notes": (text,)}
    base = explained(text, prediction=text, target=Target(text), adds_up=False, **told)
    tokens = tuple(replace(t, text=text) for t in base.tokens)
    e = replace(base, tokens=tokens, meta={"model": text, text: text})
    read = Read(write([e, e]))
    assert not {"img", "iframe", "object", "link", "b"} & {tag for tag, _ in read.elements}
    assert [a.get("type") for tag, a in read.elements if tag == "script"] == (
        ["application/json", "module"] if write is page else []
    )
    assert not [name for _, attrs in read.elements for name in attrs if name.startswith("on")]
    assert read.passages == [text, text]


@pytest.mark.parametrize("text", [*HOSTILE, *WORLD])
def test_passage_is_the_text_exactly(text: str) -> None:
    assert Read(page([explained(text)])).passages == [text]
    assert Read(page([explained((text, "other"))])).passages == [text, "other"]


def test_page_stands_alone(film: Explanation) -> None:
    html = page([film, film])
    tags = [tag for tag, _ in Read(html).elements]
    assert "Content-Security-Policy" in html and "default-src 'none'; style-src 'unsafe-inline'" in html
    fetched = html.replace("http://www.w3.org/2000/svg", "")  # the name of SVG, which nothing is fetched from
    assert "http:" not in fetched and "https:" not in fetched and "url(" not in html and "@import" not in html
    assert tags.count("script") == 2 and not {"src", "srcset"} & {k for _, a in Read(html).elements for k in a}
    assert "prefers-color-scheme: dark" in html and "@media print" in html and "print-color-adjust: exact" in html
    assert "pre-wrap" in html and html.startswith("<!DOCTYPE html>")
    assert [h for h in Read(html).values("href")] == ["#e1", "#e2"]


def test_every_word_tells_its_score_and_its_pieces(film: Explanation) -> None:
    read = Read(page([film]))
    title = next(t for t in read.values("title") if t.startswith("amazing"))
    assert title.split("\n") == ["amazing  +1.057", "ama  +0.453", "zing  +0.604"]
    assert "amazing  +1.057; ama  +0.453; zing  +0.604" in read.values("aria-label")
    focusable = [a for _, a in read.elements if a.get("tabindex") == "0"]
    assert focusable and all(a["title"] and a["aria-label"] for a in focusable)


def test_equation_can_be_checked(film: Explanation) -> None:
    html = page([film])
    numbers = re.search(r'<p class="sum">(.*?)</p>', html)
    assert numbers
    values = [float(v) for v in Read(numbers[1]).values("value")]
    assert values[0] + values[1] + values[2] == pytest.approx(values[3], abs=1e-12)
    spoken = " ".join(re.sub(r"<[^>]*>", " ", numbers[1]).split())
    assert re.fullmatch(r"−1\.675 baseline \+ \+\S+ contributions \+ \+1e-07 residual = \S+ output", spoken)
    assert [t.name for t in seen(film).sum.terms] == ["baseline", "contributions", "residual", "output"]


@pytest.mark.parametrize("seed", range(20))
def test_written_numbers_add_up_as_written(seed: int, film: Explanation) -> None:
    rng = np.random.default_rng(seed)
    scale, scores = 10.0 ** rng.integers(-3, 3), rng.normal(size=len(film.tokens))
    e = replace(film, scores=scores * scale, baseline_output=scale, delta=0.1 * scale)
    e = replace(e, output=e.baseline_output + float(e.scores.sum()) + e.delta)
    *parts, output = (float(t.written.replace("−", "-")) for t in seen(e).sum.terms)
    assert sum(parts) == pytest.approx(output, abs=1e-9)


def test_fragment_is_scoped(film: Explanation) -> None:
    html = fragment([film, film])
    assert html.startswith('<div class="pellucid card">') and "<html" not in html and "<body" not in html
    assert not Read(html).values("id") and not Read(html).values("href")
    sheet = re.sub(r"@media[^{]*\{", "", style())
    for selector in re.findall(r"([^{}]+)\{[^{}]*\}", sheet):
        bare = re.sub(r"\([^()]*(\([^()]*\)[^()]*)*\)", "", selector)
        assert all(".pellucid" in part for part in bare.split(",")), selector


def test_special_tokens_show_only_with_a_score(film: Explanation) -> None:
    assert "[CLS]" not in Read(page([film])).values("data-token")
    scores = film.scores.copy()
    scores[0] = -0.5
    read = Read(page([replace(film, scores=scores)]))
    assert read.values("data-token") == ["[CLS]"] and read.passages == [film.text]
    assert "[CLS]  −0.500" in read.values("title")


def test_text_from_right_to_left_keeps_its_direction() -> None:
    assert Read(page([explained(WORLD[2])])).values("dir") == ["auto"]


# ----------------------------------------------------------------------------------------------------------- passages


def test_overlapping_spans_show_their_text_once() -> None:
    pieces = tuple(Token(t, i, (3, 4)) for i, t in enumerate(["ð", "Ł", "ĺ"]))
    tokens = (Token("go", 9, (0, 2)), *pieces, Token("!", 8, (4, 5)))
    e = explained("go 🎬!", tokens=tokens, scores=np.array([0.1, 0.2, 0.3, 0.4, -0.5]))
    (passage,) = passages(e)
    runs = passage.words
    assert [r.text for r in runs] == ["go", " ", "🎬", "!"]
    assert runs[2].score == pytest.approx(0.9)
    assert "🎬  +0.900\n🎬  +0.200\n🎬  +0.300\n🎬  +0.400" in Read(page([e])).values("title")


def test_tokens_without_spans_are_shown_beside_the_text() -> None:
    e = explained("good film", tokens=(Token("▁good", 1), Token("▁film", 2)), scores=np.array([1.0, -0.5]))
    read = Read(page([e]))
    assert read.passages == ["good film"] and read.values("data-token") == ["▁good", "▁film"]
    assert "▁good" in printed(view(e))


def test_leading_space_of_a_token_is_not_coloured() -> None:
    tokens = (Token("good", 1, (0, 4)), Token("Ġfilm", 2, (4, 9)))
    e = explained("good film", tokens=tokens, scores=np.array([1.0, -0.5]))
    assert [(r.text, bool(r.tokens)) for r in passages(e)[0].words] == [("good", True), (" ", False), ("film", True)]


@pytest.mark.parametrize("scores", [np.zeros(4), np.array([0.0, 1e-300, -1e-300, 0.0]), np.array([0, 1e9, -3e12, 0])])
def test_odd_scales(scores: np.ndarray) -> None:
    e = explained("good film")
    e = replace(e, scores=scores, output=e.baseline_output, delta=0.0)
    for shown in (still([e]), printed(view(e))):
        assert "nan" not in shown.lower() and "inf" not in shown.lower().replace("info", "")
        assert "film" in shown


def test_no_tokens_at_all() -> None:
    e = explained("", tokens=(), scores=np.array([]))
    assert "positive" in page([e]) and "positive" in printed(view(e)) and page([])


# ----------------------------------------------------------------------------------------------------------- terminal


def test_terminal_without_colour_loses_nothing(film: Explanation) -> None:
    shown = printed(view(film))
    assert "\x1b" not in shown
    assert film.text in shown
    for part in ("positive", "95.3%", "deeplift", "mask", "amazing", "+1.057", "−0.310", "2 ", "exact", "█"):
        assert part in shown
    *parts, output = (float(t.written.replace("−", "-")) for t in seen(film).sum.terms)
    assert "baseline −1.675 + contributions" in shown and sum(parts) == pytest.approx(output, abs=1e-6)


@pytest.mark.parametrize("width", [30, 40, 60, 200])
def test_terminal_of_any_width_keeps_the_numbers(width: int, film: Explanation) -> None:
    shown = printed(view(film), width=width)
    for word in film.top(10):
        assert number_text.signed(word.score, 3) in shown
    assert max(map(len, shown.splitlines())) <= width


def test_terminal_colours_by_sign(film: Explanation) -> None:
    shown = printed(view(film), color_system="truecolor", force_terminal=True)
    blue = tuple(int(colour.TERMINAL.positive[i : i + 2], 16) for i in (1, 3, 5))
    assert f"48;2;{blue[0]};{blue[1]};{blue[2]}mamazing" in shown


def test_nothing_from_outside_reaches_the_terminal_as_a_command() -> None:
    text = "[bold]x[/bold] \x1b[31mred\x1b[0m \x07bell \x9b5m :smile: \u202eabc"
    e = explained(text, prediction=text, target=Target(text), method=text, baseline=text, notes=(text,), adds_up=False)
    e = replace(e, meta={"model": text}, tokens=(Token(text, 1), *e.tokens[1:]), scores=np.ones(len(e.tokens)))
    shown = printed(views([e, e]), width=400)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", shown)
    assert "[bold]x[/bold]" in shown and "\\x1b[31mred" in shown and ":smile:" in shown


def on_terminal(what: Any, **options: Any) -> str:
    return printed(what, force_terminal=True, color_system="truecolor", **options)


def letters(shown: str) -> list[str]:
    """The lines without their colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_line_ends_between_phrases(width: int, film: Explanation) -> None:
    shown = printed(view(film), width=width)
    for phrase in ("target positive", "method deeplift", "baseline mask", "relative delta", "contributions +"):
        assert any(phrase in line for line in shown.splitlines())
    bar = max(line.count("█") for line in shown.splitlines())
    assert bar >= min(50, width - 40)


def test_a_long_text_leaves_room_for_its_bars() -> None:
    text = "slow " * 250 + "superb " + "slow " * 250
    e = explained(text, {"superb": 2.0})
    lines = letters(on_terminal(view(e), width=80))
    assert len(lines) < 40 and any("superb" in line and "slow" in line for line in lines)
    left_out = sum(int(n) for n in re.findall(r"… (\d+) lines? of weaker words", "\n".join(lines)))
    whole = printed(view(e), width=80)  # in a file or a pipe nothing is left out
    assert whole.count("slow ") >= 490 and left_out + 8 == len([x for x in whole.splitlines() if "slow slow" in x])


def test_four_grounds_that_stay_apart_on_16_colours() -> None:
    e = explained("good fine poor bad", {"good": 2.0, "fine": 0.3, "poor": -0.3, "bad": -2.0})
    shown = printed(view(e), force_terminal=True, color_system="standard")
    grounds = [re.search(rf"\x1b\[([0-9;]*)m{word}\x1b", shown)[1] for word in ("good", "fine", "poor", "bad")]  # type: ignore[index]
    assert [re.search(r"4[0-7]", g)[0] for g in grounds] == ["44", "46", "43", "41"]  # type: ignore[index]
    assert ["4" in g.split(";") for g in grounds] == [False, False, True, True]  # underlined: negative


@pytest.mark.parametrize(("colours", "lightest"), [("", None), ("0;15", True), ("15;0", False)])
def test_weak_words_are_no_slabs(colours: str, lightest: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLORFGBG", colours)
    e = explained("good fine", {"good": 2.0, "fine": 0.3})
    shown = on_terminal(view(e))
    look = re.search(r"\x1b\[([0-9;]*)mfine\x1b", shown)
    assert look
    ground = re.search(r"48;2;(\d+);(\d+);(\d+)", look[1])
    if lightest is None:
        assert ground is None and "38;2" in look[1]
    else:
        assert ground and (min(map(int, ground.groups())) > 128) == lightest


def test_the_strongest_cell_of_a_layer_is_coloured_though_words_have_nothing() -> None:
    e = explained("good film")
    layer = np.zeros(len(e.tokens))
    layer[0] = 1.5
    shown = on_terminal(view(replace(e, layers=layer[None])))
    assert re.search(r"\x1b\[[^m]*48;2[^m]*m\[CLS\]", shown)


def test_methods_stand_in_one_table_whose_columns_add_up(film: Explanation) -> None:
    other = replace(film, method="occlusion", scores=2 * film.scores, output=film.output + film.change, delta=2e-7)
    lines = printed(views([film, other]), width=120).splitlines()
    assert sum(film.text in line for line in lines) == 1 and "─" not in "".join(lines)
    head = next(i for i, line in enumerate(lines) if "occlusion" in line)
    number = r"(?<=\s)[+−]?\d\S*(?=\s|$)"
    rows = [(line, re.findall(number, line)) for line in lines[head + 1 :]]
    end = next(i for i, (line, _) in enumerate(rows) if line.startswith("baseline"))
    table = [[float(n.replace("−", "-")) for n in numbers[-2:]] for _, numbers in rows]
    assert len(table[0]) == 2 and rows[0][0].startswith("amazing")
    for column in (0, 1):
        words, sums = [row[column] for row in table[:end]], [row[column] for row in table[end : end + 4]]
        assert sum(words) == pytest.approx(sums[1], abs=8e-3) and sum(sums[:3]) == pytest.approx(sums[3], abs=2e-3)


def test_rows_of_a_generation_keep_words_with_numbers() -> None:
    tokens = tuple(Token(f"Ġword{i}", i, (6 * i, 6 * i + 5), word=i, segment=int(i > 2)) for i in range(6))
    text = (" ".join(f"word{i}" for i in range(3)), " ".join(f"word{i}" for i in range(3)))
    scores = np.array([1.0, -0.5, 0.25, 0.125, 0, 0])
    base = explained(text, tokens=tokens, scores=scores, prediction=None, probability=None)
    base = replace(base, meta={"task": "text-generation", "output": "log-probability"}, output=-0.5)
    es = [replace(base, target=Target(f"word{i}", i, position=i)) for i in (3, 4)]
    lines = printed(views(es), width=60).splitlines()
    assert "Ġ" not in "".join(lines) and [x.split()[:3] for x in lines if re.match("[12] ", x)] == [
        ["1", "word3", f"{100 * np.exp(-0.5):.1f}%"],
        ["2", "word4", f"{100 * np.exp(-0.5):.1f}%"],
    ]
    assert not [line for line in lines if re.match(r" *[+−]", line)]  # no number begins a line


def test_long_text() -> None:
    e = explained("word " * 1000, {"word": 0.5})
    assert printed(view(e)).count("word") >= 1000
    assert Read(page([e])).passages == [e.text]


# --------------------------------------------------------------------------------------------------------------- both


def test_pairs_show_both_texts() -> None:
    e = explained(("A man plays.", "Nobody plays."), {"Nobody": -2.0, "plays": 0.5})
    assert Read(page([e])).passages == ["A man plays.", "Nobody plays."]
    shown = printed(view(e))
    assert "text 1\nA man plays." in shown and "text 2\nNobody plays." in shown


@pytest.mark.parametrize("show", [lambda e: still([e]), lambda e: printed(view(e))])
def test_estimated_errors_are_shown(show: Any, film: Explanation) -> None:
    error = np.where([t.special for t in film.tokens], 0.0, 0.02)
    shown = show(replace(film, error=error, status="sampled"))
    assert "± 0.040" in shown and "± 0.020" in shown  # "amazing" is two tokens; errors add up at worst
    assert f"{100 * np.linalg.norm(error) / np.linalg.norm(film.scores):.2g}% of the scores" in shown
    assert "± &lt;0.001" in show(replace(film, error=error / 1e3)).replace("± <", "± &lt;")
    assert "±" not in show(film)


@pytest.mark.parametrize("show", [lambda e: still([e]), lambda e: fragment([e]), lambda e: printed(view(e))])
def test_methods_that_promise_nothing_say_so(show: Any, film: Explanation) -> None:
    said = "does not promise that its scores add up"
    assert said in show(replace(film, adds_up=False, delta=0.7, method="gradient"))
    assert said not in show(film)


def test_a_sum_that_is_off_is_not_called_exact(film: Explanation) -> None:
    assert "floating-point precision" in seen(film).sum.verdict
    assert "up to the residual" in seen(replace(film, delta=0.05)).sum.verdict


def test_numbers() -> None:
    assert number_text.signed(-0.12, 3) == "−0.120" and number_text.signed(1.057, 3) == "+1.057"
    assert number_text.signed(0.0, 3) == "0" and number_text.signed(2e-5, 3) == "+2e-05"
    assert (
        number_text.percent(1.0) == "100.0%"
        and number_text.percent(0.99999) == ">99.9%"
        and number_text.percent(1e-6) == "<0.1%"
    )
    assert facts.label("\n") == "⏎" and facts.label("a\x1b") == "a\\x1b"


@pytest.mark.parametrize("theme", [colour.LIGHT, colour.DARK, colour.TERMINAL])
def test_colours_can_be_read(theme: colour.Theme) -> None:
    for t in np.linspace(-1, 1, 101):
        ground = colour.background(float(t), theme)
        assert colour.contrast(ground, colour.ink_on(ground)) >= colour.READABLE
    assert colour.background(1, theme) == theme.positive and colour.background(-1, theme) == theme.negative
    assert colour.background(0, theme) == theme.paper


def test_render_imports_lazily() -> None:
    allowed = {name: {"rich"} for name in ("terminal.py", "aligned.py", "screen.py")} | {"picture.py": {"matplotlib"}}
    for path in Path(pellucid.render.__file__).parent.glob("*.py"):
        tops = [n for n in ast.parse(path.read_text("utf-8")).body if isinstance(n, ast.Import | ast.ImportFrom)]
        names = {a.name.split(".")[0] for n in tops if isinstance(n, ast.Import) for a in n.names}
        names |= {(n.module or "").split(".")[0] for n in tops if isinstance(n, ast.ImportFrom) and not n.level}
        assert not (names & {"torch", "matplotlib", "rich", "pandas", "transformers"}) - allowed.get(path.name, set())


# -------------------------------------------------------------------------------------------------------------- files


def test_json_round_trip(film: Explanation, tmp_path: Path) -> None:
    path = film.save(tmp_path / "e.json")
    again = Explanation.from_json(path.read_text("utf-8"))
    assert again.text == film.text and again.scores.tolist() == film.scores.tolist() and again.tokens == film.tokens
    Explanations((film, film)).save(tmp_path / "es.JSON")
    data = json.loads((tmp_path / "es.JSON").read_text("utf-8"))
    assert data == json.loads(Explanations((film, film)).to_json()) and len(data["explanations"]) == 2


def test_csv_round_trip(tmp_path: Path) -> None:
    e = explained('=1+1, "quoted"\nline, 영화 🎬', {"1": 1 / 3})
    e = replace(e, tokens=(replace(e.tokens[0], text='a,"b"\r\n=c'), *e.tokens[1:]))
    path = files.save(Explanations((e, e)), tmp_path / "e.csv")
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert list(rows[0]) == list(COLUMNS) and len(rows) == 2 * len(e.tokens)
    mine = [r for r in rows if r["explanation"] == "1"]
    assert [r["token"] for r in mine] == [t.text for t in e.tokens]
    assert [float(r["score"]) for r in mine] == e.scores.tolist()
    spans = [(int(r["start"]), int(r["end"])) if r["start"] else None for r in mine]
    assert spans == [t.span for t in e.tokens]


def test_html_file(film: Explanation, tmp_path: Path) -> None:
    path = film.save(tmp_path / "e.html")
    assert path == tmp_path / "e.html" and path.read_text("utf-8") == page([film])
    assert [p.name for p in tmp_path.iterdir()] == ["e.html"]


@pytest.mark.parametrize(
    ("name", "said"),
    [("e.txt", "'.txt'"), ("e", "no suffix"), ("none/e.json", "no directory"), ("there.json", "a directory")],
)
def test_a_path_that_cannot_be_written_to(film: Explanation, tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "there.json").mkdir()
    with pytest.raises(InputError, match=said):
        film.save(tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == ["there.json"]


def test_a_failed_write_leaves_the_older_file(film: Explanation, tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "e.json"
    path.write_text("old")

    def full(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        film.save(path)
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["e.json"]


def test_nothing_to_save(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one"):
        Explanations(()).save(tmp_path / "e.json")


# -------------------------------------------------------------------------------------------------------------- plots


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_image_files(film: Explanation, tmp_path: Path, suffix: str, start: bytes) -> None:
    pytest.importorskip("matplotlib")
    path = files.save(Explanations((film, explained("$x_1$ \\frac 훌륭한 رائع 🎬 \x1b"))), tmp_path / f"e{suffix}")
    assert path.read_bytes().startswith(start)


def test_words_plot(film: Explanation) -> None:
    pytest.importorskip("matplotlib")
    (axes,) = film.plot().axes
    assert [round(bar.get_width(), 6) for bar in axes.patches] == [round(w.score, 6) for w in film.top(12)]
    assert [t.get_text() for t in axes.get_yticklabels()][:2] == ["amazing", "great"]


def test_waterfall_goes_from_baseline_to_output(film: Explanation) -> None:
    pytest.importorskip("matplotlib")
    film = replace(film, delta=0.25, output=film.output + 0.25 - 1e-7)
    (axes,) = film.plot("waterfall").axes
    at = film.baseline_output
    for bar in axes.patches:
        left, right = sorted((at, at + bar.get_width()))
        assert sorted((bar.get_x(), bar.get_x() + bar.get_width())) == pytest.approx([left, right])
        at += bar.get_width()
    assert at == pytest.approx(film.output)
    assert [t.get_text() for t in axes.get_yticklabels()][-2:] == ["residual", "output"]


def test_layers_plot(film: Explanation) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(InputError, match="no layers"):
        film.plot("layers")
    layers = np.outer([1, 2, 3], film.scores)
    image = replace(film, layers=layers).plot("layers").axes[0].images[0]
    assert np.array_equal(image.get_array(), layers) and image.norm.vmin == -image.norm.vmax


def test_unknown_plot(film: Explanation) -> None:
    with pytest.raises(InputError, match="'words', 'waterfall', 'layers'"):
        film.plot("pie")


def test_layers_are_numbered_from_1_and_told_alike_everywhere(film: Explanation) -> None:
    e = replace(film, layers=np.stack([film.scores, 2 * film.scores]))
    first, second = seen(e).layers
    assert seen(film).layers == () and first.delta == pytest.approx(e.delta, abs=1e-9)
    assert second.delta == pytest.approx(e.change - 2 * film.scores.sum())
    html = page([e])
    assert "Layer by layer" in html and "Layer by layer" not in page([film])
    for number, layer in enumerate((first, second), 1):
        best = max(film.words(), key=lambda w: abs(w.score))
        assert layer.number == number and layer.strongest[0].text == best.text
        assert layer.strongest[0].score == pytest.approx(number * best.score)
        told = number_text.signed(number * best.score, 3)
        assert told == layer.strongest[0].written and told in html and told in printed(view(e), width=120)
    axes = e.plot("layers").axes[0]
    assert axes.yaxis.get_major_formatter()(0, 0) == "1"
    assert len(Explanations((e, e)).plot("layers").axes) == 4


def test_a_promise_that_is_not_kept_is_said(film: Explanation) -> None:
    coarse = replace(film, scores=film.scores / 2, delta=float(film.scores.sum()) / 2, method="integrated_gradients")
    out = StringIO()
    Console(file=out, width=120).print(view(coarse))
    for shown in (out.getvalue(), page([coarse])):
        assert "do not add up yet: the residual is 50.0% of the change" in shown
    assert "verdict caution" in still([coarse]) and "verdict caution" not in still([film])


def test_a_special_token_stands_apart_from_the_text(film: Explanation) -> None:
    e = explained("a good film")
    e = replace(e, scores=np.array([0.5, *e.scores[1:-1], 0.5]))
    out = StringIO()
    Console(file=out, width=80).print(view(e))
    assert "[CLS] a good film [SEP]\n" in out.getvalue()


def test_a_long_text_is_told_how_its_scores_are_added_up() -> None:
    """Once for all that is printed; not of a short text, nor where sentences are the rows already."""
    long, short = (explained(" ".join(["word"] * n)) for n in (151, 150))
    told = "hint  151 words are many to read: --groups sentence, or .sentences(),"
    both = " ".join(printed(Explanations((long, replace(long, method="other")))).split())
    assert both.count("hint") == 1 and " ".join(told.split()) in both
    assert "hint" not in printed(short)
    assert "hint" not in printed(replace(long, meta={"groups": "sentence"}))
