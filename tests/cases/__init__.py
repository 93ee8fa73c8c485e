"""Every operation that a rule is known for, as a function to be checked: CASES[name] = (f, shapes of its inputs,
whether they must be positive). The tests of the rules run them; scripts/operations.py lists them."""

from __future__ import annotations

from typing import Any

from . import elementwise, images, linear, losses, modules, products, several

Case = tuple[Any, list[tuple[int, ...]], bool]

CASES: dict[str, Case] = {
    **linear.CASES,
    **products.CASES,
    **elementwise.CASES,
    **several.CASES,
    **images.CASES,
    **losses.CASES,
    **modules.CASES,
}
