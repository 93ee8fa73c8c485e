"""Draws an Evaluation as one HTML page that stands alone: no network, no script, every outside string escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, TypeAlias

from ..metrics.bootstrap import Interval
from ..metrics.faithfulness import METRICS
from ..number_text import times
from ..public_names import model_name
from .rows import Cell, MeanCurve, Row

Evaluation: TypeAlias = Any
"""As `result` has it, which draws itself by this file."""
_COLOURS = ("#2b7bba", "#c8553d", "#3a8f5c", "#8a5fb0", "#b8860b", "#d16ba5", "#4d8f9c", "#7a6a58")
_DASHES = ("", "6 3", "2 3")
_STYLE = """
:root{color-scheme:light dark;--ink:light-dark(#1c2733,#e6e9ee);--soft:light-dark(#5d6b7a,#9aa7b5);
--line:light-dark(#dde3ea,#313b47);--page:light-dark(#fff,#14191f)}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:72rem;margin:2rem auto;
padding:0 1rem}h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}.said{font-size:1.05rem;font-weight:600}
.note{color:var(--soft);font-size:.9rem}.wide{overflow-x:auto;
background:linear-gradient(90deg,var(--page) 30%,transparent),linear-gradient(90deg,transparent,var(--page) 70%) 100% 0,
linear-gradient(90deg,#8886,transparent),linear-gradient(90deg,transparent,#8886) 100% 0;background-repeat:no-repeat;
background-size:2.5rem 100%,2.5rem 100%,.7rem 100%,.7rem 100%;background-attachment:local,local,scroll,scroll}
table{border-collapse:collapse}
td,th{padding:.25rem .7rem;border-bottom:1px solid var(--line);text-align:right;font-weight:400;white-space:nowrap;
font-variant-numeric:tabular-nums}th{color:var(--soft);font-size:.85rem}td:first-child,th:first-child{text-align:left}
.tied td{font-weight:600}.dim td{color:var(--soft)}.plots{display:grid;gap:1rem 2rem;
grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr))}figure{margin:0}svg{width:100%;height:auto}
svg text{font:11px system-ui,sans-serif;fill:var(--soft)}figcaption{font-size:.9rem}
@media(max-width:40rem){td,th{padding:.25rem .35rem}td:first-child{white-space:normal}td .note{display:block}}
table+table,.wide+.wide{margin-top:1rem}.key{display:inline-block;width:1.6rem;height:.6rem;margin-right:.5rem}
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_LEFT, _TOP, _WIDTH, _HEIGHT = 34, 8, 330, 200


def page(found: Evaluation) -> str:
    """The page of an Evaluation: its sentence, its table, the mean curves of each operator, and every metric."""
    title = f"What to believe of {model_name({'model': found.model})}"
    rows = [*found.rows, *([found.best_order] if found.best_order else [])]
    failed = f" {len(found.failures)} failed, the first: {found.failures[0]}" if found.failures else ""
    parts = [
        f"<h1>{escape(title)}</h1><p class=said>{escape(found.sentence)}</p>",
        f"<p class=note>{found.texts} texts.{escape(failed)} Total: what the target's probability loses without the "
        "first words of a ranking less what it loses with them alone, averaged over the ways to remove words; more is "
        "better. A random ranking has a row, mostly below 0: a method that is not above it says nothing of the model. "
        "Bold: tied with the best. In brackets: 95 % intervals, by resampling the texts. Cost: seconds as a "
        "multiple of one forward and backward pass of the model.</p>",
        _overview(found, rows),
    ]
    for operator in found.operators:
        parts += [f"<h2>Words removed by: {escape(operator)}</h2>", _plots(operator, rows), _metrics(operator, rows)]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
        f'content="{_POLICY}"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><body>{''.join(parts)}</body></html>\n"
    )


def _overview(found: Evaluation, rows: Sequence[Row]) -> str:
    agreement = list(found.rows[0].plausibility)
    heads = ["method · baseline", "total", *found.operators, *agreement, "passes", "cost", "peak memory"]
    lines: list[tuple[str, list[str]]] = []
    for k, row in enumerate(rows):
        cells = [
            _key(k) + escape(row.name),
            _interval(row.total),
            *(_number(row.by_operator[o].mean) for o in found.operators),
            *(_number(row.plausibility[a].mean) if a in row.plausibility else "" for a in agreement),
            "" if row.passes is None else f"{row.passes:.3g}",
            "" if row.cost is None else times(row.cost),
            "" if row.memory is None else f"{row.memory / 2**20:,.0f} MiB",
        ]
        lines.append(("tied" if row in found.tied else "", cells))
    return _table(heads, lines)


def _metrics(operator: str, rows: Sequence[Row]) -> str:
    """Every metric of one operator, an output's in a table of its own."""
    outputs = dict.fromkeys(c.output for c in rows[0].cells)
    tables: list[str] = []
    for output in outputs:
        names = [m for m in METRICS if any(c.metric == m and c.output == output for c in rows[0].cells)]
        lines: list[tuple[str, list[str]]] = []
        for k, row in enumerate(rows):
            of = {c.metric: c for c in row.cells if c.operator == operator and c.output == output}
            lines.append(("", [_key(k) + escape(row.name), *(_mean(of.get(name)) for name in names)]))
        heads = [f"{output}", *(f"{name} {'↑' if METRICS[name].better == 'higher' else '↓'}" for name in names)]
        tables.append(_table(heads, lines))
    return "<details><summary>Every metric</summary>" + "".join(tables) + "</details>"


def _mean(cell: Cell | None) -> str:
    if cell is None:
        return ""
    return f"<b>{_number(cell.value.mean)}</b>" if cell.tied else _number(cell.value.mean)


def _plots(operator: str, rows: Sequence[Row]) -> str:
    """A plot for each end that removal begins with."""
    ends = dict.fromkeys(c.first for c in rows[0].curves if c.operator == operator)
    figures: list[str] = []
    for end in ends:
        lines: list[str] = []
        for k, row in enumerate(rows):
            for curve in row.curves:
                if curve.operator == operator and curve.first == end:
                    lines.append(_line(curve, k, row.name))
        figures.append(
            f"<figure><figcaption>{escape(end)}</figcaption><svg viewBox='0 0 {_LEFT + _WIDTH + 18} {_HEIGHT + 36}' "
            f"role=img aria-label='{escape(f'Mean probability while words are removed, {end}')}'>{_axes()}"
            f"{''.join(lines)}</svg></figure>"
        )
    return f"<div class=plots>{''.join(figures)}</div>"


def _line(curve: MeanCurve, k: int, name: str) -> str:
    at = " ".join(f"{_x(s):.1f},{_y(v):.1f}" for s, v in zip(curve.shares, curve.values, strict=True))
    return (
        f"<polyline points='{at}' fill=none stroke='{_colour(k)}' stroke-width=2 stroke-dasharray='{_dash(k)}'>"
        f"<title>{escape(name)}</title></polyline>"
    )


def _axes() -> str:
    marks: list[str] = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = _x(share), _y(share)
        marks.append(f"<line x1={_LEFT} x2={_LEFT + _WIDTH} y1={y:.1f} y2={y:.1f} stroke='var(--line)' />")
        marks.append(f"<text x={_LEFT - 5} y={y + 4:.1f} text-anchor=end>{share:g}</text>")
        marks.append(f"<text x={x:.1f} y={_TOP + _HEIGHT + 14} text-anchor=middle>{share:.0%}</text>")
    words = f"<text x={_LEFT + _WIDTH / 2} y={_TOP + _HEIGHT + 27} text-anchor=middle>words removed</text>"
    return "".join(marks) + words


def _x(share: float) -> float:
    return _LEFT + _WIDTH * share


def _y(probability: float) -> float:
    return _TOP + _HEIGHT * (1 - probability)


def _colour(k: int) -> str:
    return _COLOURS[k % len(_COLOURS)]


def _dash(k: int) -> str:
    return _DASHES[k // len(_COLOURS) % len(_DASHES)]


def _key(k: int) -> str:
    return (
        f"<svg class=key viewBox='0 0 26 10' aria-hidden=true><line x1=0 x2=26 y1=5 y2=5 stroke='{_colour(k)}' "
        f"stroke-width=3 stroke-dasharray='{_dash(k)}' /></svg>"
    )


def _table(heads: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    """heads: plain. rows: each with its class, and cells of HTML."""
    head = "".join(f"<th scope=col>{escape(h)}</th>" for h in heads)
    body = "".join(f"<tr class='{kind}'>{''.join(f'<td>{c}</td>' for c in cells)}</tr>" for kind, cells in rows)
    return f"<div class=wide><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _number(value: float) -> str:
    return "" if value != value else f"{value:.3f}".replace("-", "−")


def _interval(i: Interval) -> str:
    return f"{_number(i.mean)} <span class=note>[{_number(i.low)}, {_number(i.high)}]</span>"
