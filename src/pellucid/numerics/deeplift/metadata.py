"""The keys under which extra data is stored on autograd nodes."""

INPUT = "pellucid_input"
"""The input of an operation whose node keeps only its result, and the version it had."""
CALL = "pellucid_call"
"""On an in-place operation on a view: the call's name, its arguments, which of them carry a gradient, and alpha."""
SLICES = "torch::autograd::CopySlices"
"""The node of an in-place operation on a view."""
OVERWRITTEN = "pellucid_overwritten"
"""On the same node, where the call is not linear: its function, what it overwrote, and where."""
OUTPUT = "pellucid_output"
"""The result of an operation whose node keeps its input, but not all of its constants."""
BRANCH = "pellucid_branch"
"""On a choice by a condition: where the value that decided comes from, its output there, and the two chosen from."""
IN_PLACE: dict[str, tuple[int, ...]] = {
    "__setitem__": (1,),
    "copy_": (),
    "add_": (),
    "sub_": (),
    "neg_": (),
    "fill_": (),
    "zero_": (),
    "mul_": (1,),
    "div_": (1,),
    "masked_fill_": (1, 2),
}
"""Linear in-place calls, and the places of the arguments they are linear given."""
