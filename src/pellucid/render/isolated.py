"""A page inside another, such as a notebook's: a frame of its own, which no style of the other reaches.

The frame holds its page in `srcdoc`, so it needs no network, no global name, no id and no require.js, and stays in
what a notebook is exported to. Its script, if the page has one, runs in the frame alone.
"""

from __future__ import annotations

from html import escape

MOST = 900
"""The height in pixels beyond which the frame scrolls; also where it is not told its height."""
_FIT = (
    "try{const d=this.contentDocument.documentElement;"
    f"this.style.height=Math.min({MOST},Math.max(120,d.scrollHeight+4))+'px'}}catch(e){{}}"
)


def framed(page: str, title: str) -> str:
    """A page of HTML as a frame, as high as its content up to `MOST`. title: its name for screen readers.

    Examples:
        >>> framed("<p>&lt;b&gt;</p>", "An explanation")[:39]
        '<iframe title="An explanation" srcdoc="'
    """
    return (
        f'<iframe title="{escape(title)}" srcdoc="{escape(page)}" onload="{escape(_FIT)}" '
        f'style="width:100%;height:480px;border:0;display:block;color-scheme:light dark"></iframe>'
    )
