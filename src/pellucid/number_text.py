"""Numbers as a person reads them: few digits, a true minus sign, and sums whose written terms add up exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percent(p: float) -> str:
    """A probability in percent; 100.0% is written only for certainty.

    Examples:
        >>> percent(0.9526), percent(0.99999), percent(1.0)
        ('95.3%', '>99.9%', '100.0%')
    """
    if 0.9995 <= p < 1:
        return ">99.9%"
    return "<0.1%" if 0 < p < 0.0005 else f"{p:.1%}"


def decimals(scale: float) -> int:
    """The number of decimal places that gives a number of this size three or four digits.

    Examples:
        >>> decimals(1.057), decimals(0.01), decimals(1234.5)
        (3, 4, 0)
    """
    size = math.floor(math.log10(abs(scale))) if scale and math.isfinite(scale) else 0
    return min(9, max(0, 3 - size if size >= 0 else 2 - size))


def signed(x: float, places: int) -> str:
    """A number with its sign; one that would round to 0 is written as a power of ten.

    Examples:
        >>> signed(1.057, 3), signed(-0.12, 3), signed(0.0, 3), signed(2e-5, 3)
        ('+1.057', '−0.120', '0', '+2e-05')
    """
    return "0" if x == 0 else f"{'+' if x > 0 else '−'}{_size(x, places)}"


def plain(x: float, places: int) -> str:
    """A number as `signed` writes it, without a plus sign."""
    return signed(x, places).removeprefix("+")


def plus_minus(error: float | None, places: int) -> str:
    """An estimated error as `± 0.020`; empty where there is none.

    Examples:
        >>> plus_minus(0.02, 3), plus_minus(1e-5, 3), plus_minus(None, 3)
        ('± 0.020', '± <0.001', '')
    """
    if error is None:
        return ""
    least = 10.0**-places
    return f"± <{least:.{places}f}" if 0 < error < least / 2 else f"± {plain(error, places)}"


def places_that_add_up(terms: Sequence[float], total: float) -> int:
    """The fewest decimal places, from those of `decimals` on, at which the rounded terms add up to the rounded total.

    Examples:
        >>> places_that_add_up([0.0004, 0.0004], 0.0008), places_that_add_up([1.0006, 1.0006], 2.0012)
        (6, 4)
    """
    least = decimals(max(abs(v) for v in (*terms, total)))
    return next((p for p in range(least, least + 5) if _add_up(terms, total, p)), least)


def _add_up(terms: Sequence[float], total: float, places: int) -> bool:
    values = (*terms, total)
    if not all(map(math.isfinite, values)):
        return False
    *rounded, whole = (round(v * 10**places) for v in values)
    return sum(rounded) == whole


def _size(x: float, places: int) -> str:
    written = f"{abs(x):.{places}f}"
    return written if float(written) and abs(x) < 1e9 else f"{abs(x):.0e}" if abs(x) < 1 else f"{abs(x):.6g}"


def spoken(seconds: float) -> str:
    """A time as people say it.

    Examples:
        >>> spoken(4.2), spoken(200), spoken(5400)
        ('4 s', '3 min', '1.5 h')
    """
    return (
        f"{seconds:.0f} s"
        if seconds < 100
        else f"{seconds / 60:.0f} min"
        if seconds < 3600
        else f"{seconds / 3600:.1f} h"
    )


def times(n: float) -> str:
    """A multiple in two digits, or as a whole number.

    Examples:
        >>> times(1.94), times(123.4)
        ('1.9', '123')
    """
    return f"{n:.2g}" if n < 10 else f"{n:,.0f}"
