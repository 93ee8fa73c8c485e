"""What a terminal can show: its width, how a score is coloured on it, and pieces of text that are laid out on it.

A terminal with many colours and a known background gets the colour scale of the page; where the background is not
known, weak words have coloured letters and only strong ones a coloured ground, which is legible on light and on dark.
A terminal with 16 colours gets four grounds that stay apart: strong and weak, up and down.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.style import Style
from rich.text import Text

from .colour import DARK, LIGHT, TERMINAL, Theme, background, ink_on

DIM = Style(dim=True)
BOLD = Style(bold=True)
FAINT = 0.06  # as colour.FAINT, higher: the paper of the scale is not quite the terminal's
STRONG = 0.35  # from here on a word has a coloured ground where the terminal's own is not known
LONGEST = 14  # lines of a text that are shown whole on a terminal
KEPT = 8  # lines that are shown of a longer one
STRENGTH = "strength"
_RISES, _FALLS = "#1c79d8", "#cf5a12"  # letters that can be read on black and on white


@dataclass(frozen=True)
class Screen:
    """A terminal. width: in cells. whole: whether long texts are shown whole, as in a file or a pipe, where one can
    scroll. style: the colours of a strength in −1 … 1. positive, negative: the colours of bars."""

    width: int
    whole: bool
    style: Callable[[float], Style]
    positive: str
    negative: str


@dataclass(frozen=True)
class Sketch:
    """What is drawn once the terminal is known."""

    drawn: Callable[[Screen], RenderResult]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self.drawn(screen_of(console, options.max_width))


def screen_of(console: Console, width: int) -> Screen:
    """The terminal that a console writes to, by what it says of itself (COLORFGBG for its background)."""
    whole = not console.is_terminal
    if console.color_system in ("standard", "windows"):
        return Screen(width, whole, _sixteen, "blue", "red")
    theme = _theme(os.environ.get("COLORFGBG", ""))
    drawn = theme or TERMINAL
    style = (lambda t: _on(t, theme)) if theme else _anywhere
    return Screen(width, whole, style, drawn.positive, drawn.negative)


def _theme(colours: str) -> Theme | None:
    """The theme of a terminal whose COLORFGBG is `foreground;background`, two of 16 colours; None if not known."""
    ground = colours.rpartition(";")[2]
    return None if not ground.isdigit() else LIGHT if ground in ("7", "15") else DARK


def _on(t: float, theme: Theme) -> Style:
    """A ground of the theme. Negative words are underlined as well: the sign outlives the colour."""
    if abs(t) < FAINT:
        return _marked(Style(), t)
    colour = background(t, theme)
    return _marked(Style(bgcolor=colour, color=ink_on(colour), underline=t < 0), t)


def _anywhere(t: float) -> Style:
    if abs(t) < STRONG:
        ink = _FALLS if t < 0 else _RISES
        return _marked(Style() if abs(t) < FAINT else Style(color=ink, underline=t < 0), t)
    return _on(t, TERMINAL)


def _sixteen(t: float) -> Style:
    if abs(t) < FAINT:
        return _marked(Style(), t)
    strong, weak = (("red", "yellow"), ("blue", "cyan"))[t > 0]
    look = Style(bgcolor=strong, color="bright_white") if abs(t) >= STRONG else Style(bgcolor=weak, color="black")
    return _marked(look + Style(underline=t < 0), t)


def _marked(style: Style, t: float) -> Style:
    return style + Style(meta={STRENGTH: abs(t)})


@dataclass(frozen=True)
class Phrases:
    """Phrases on as many lines as they need; a line ends between two phrases, never in one that fits on a line."""

    phrases: tuple[Text, ...]
    between: str = " · "

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        widths = [p.cell_len for p in self.phrases] or [0]
        most = sum(widths) + len(self.between) * (len(widths) - 1)
        return Measurement(min(max(widths), options.max_width), min(most, options.max_width))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        line = Text()
        for phrase in self.phrases:
            if line and line.cell_len + len(self.between) + phrase.cell_len > options.max_width:
                yield line
                line = Text()
            line = line.append(self.between if line else "", DIM).append_text(phrase)
        if line:
            yield line


@dataclass(frozen=True)
class Excerpt:
    """A text; of one that is longer than a screen its first line and the lines of its strongest words, and how many
    lines stand between."""

    text: Text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = self.text.wrap(console, options.max_width)
        if len(lines) <= LONGEST or not console.is_terminal:
            yield self.text
            return
        strongest = sorted(range(1, len(lines)), key=lambda i: -_strength(lines[i]))[: KEPT - 1]
        at = 0
        for i in (0, *sorted(strongest), len(lines)):
            if i > at:
                yield Text(f"… {i - at} {'line' if i - at == 1 else 'lines'} of weaker words …", DIM)
            if i < len(lines):
                yield lines[i]
            at = i + 1


def _strength(line: Text) -> float:
    found = [s.style.meta.get(STRENGTH, 0.0) for s in line.spans if isinstance(s.style, Style)]
    return max(found, default=0.0)


@dataclass(frozen=True)
class Bar:
    """A bar as wide as it may be: `share` of that width, to the left of an axis at `low` of it or to the right."""

    share: float
    low: float
    most: int
    positive: str
    negative: str

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, min(self.most, options.max_width))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(0, min(self.most, options.max_width) - 1)
        left = round(width * self.low)
        full, half = divmod(round(2 * width * abs(self.share)), 2)
        if self.share < 0:
            bar = ("▐" * half + "█" * full)[-left:] if left else ""
            line = Text().append(bar.rjust(left), self.negative).append("│" + " " * (width - left), DIM)
        else:
            bar = ("█" * full + "▌" * half)[: width - left]
            line = Text().append(" " * left + "│", DIM).append(bar.ljust(width - left), self.positive)
        yield line
