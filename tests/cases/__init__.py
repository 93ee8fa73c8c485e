"""The test cases of operations: CASES[name] = (a function, the shapes of its inputs, whether these are positive).

Each rule of DeepLIFT is met by at least one case.
"""

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
