"""What a person is shown of whatever has a `View`: in print, in a notebook, as a page, as a picture."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from .notebook import Displayed, Printed, Sheet
from .view import View

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType


class Viewed(Displayed, Printed):
    """What has a View, and is shown by drawing it."""

    @abstractmethod
    def view(self, include: Sequence[str] = ()) -> View:
        """What a person is shown, as data that JSON holds. include: "heads", "attentions" (large) where wanted."""

    def to_html(self) -> str:
        """One page that stands alone: it asks no network for anything, and every string from outside is escaped.

        Examples:
            >>> e.to_html()[:15]
            '<!DOCTYPE html>'
        """
        from .render.html import page

        return page(self.view())

    def plot(self, kind: str = "words", dark: bool = False) -> Figure:
        """A matplotlib Figure, on light or dark paper. Needs [plots].

        kind: "words" (a bar per word), "waterfall" or "force" (the sum, as steps or as a strip), "layers" (layers ×
            tokens), "distribution" (the scores at each layer as boxes, and their entropy), "heads" (layers × heads),
            "attention" (query × key for each head), "norms" (layers × tokens), "parts" (of the embedding), "image"
            (patches). Of Explanations also "compare" (beside each other) and "generation" (generated × read).
        Raises InputError where the explanation lacks what a kind shows, and names the detail to ask for.

        Examples:
            >>> type(e.plot("waterfall")).__name__
            'Picture'
        """
        from .render.plots import INCLUDED, plot

        return plot(self.view(INCLUDED.get(kind, ())), kind, dark)

    def __rich__(self) -> RenderableType:
        from .render.terminal import draw

        return draw(self.view())

    def _sheet(self) -> Sheet:
        return sheet_of(self.view())


def sheet_of(view: View) -> Sheet:
    """What a notebook shows of a View."""
    from .render.html import page
    from .render.packed import embedded

    return Sheet(partial(page, view), partial(embedded, view))
