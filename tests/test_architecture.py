"""The house: imports point down only, from floor to floor and inside each room, and a few libraries stay in theirs."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import pellucid

ROOT = Path(str(pellucid.__file__)).parent
Floors = list[str]
FLOORS: dict[str, Floors] = {  # of each folder, from the top: the names on one floor do not import each other
    "": [
        "__main__",
        "cli captum",
        "app _gradio",
        "evaluation",
        "jobs",
        "_forecast check citations edits",
        "_explain _attribute extend",
        "_outcomes answers sources",
        "_long_documents",
        "_answer",
        "averaging models notes outcome",
        "explanations",
        "methods metrics explanation",
        "viewed",
        "engine",
        "attribution",
        "render view_building",
        "view_of_one",
        "view_inside",
        "view_items",
        "request view",
        "source_units",
        "hops units",
        "forms notebook numerics problem passages plain_data tables",
        "grouping scored",
        "sentences",
        "choices console conversations interruption randomness tokens",
        "errors number_text public_names status token_text types version viewer",
    ],
    "app": [
        "serving",
        "server",
        "asking guarding work",
        "recent",
    ],
    "captum": [
        "remote",
        "language",
        "dataloader deeplift lime shapley",
        "noise path removal",
        "gradient lrp",
        "base metrics",
        "calls embeddings progress text_inputs visualization",
        "outputs",
        "plots targets",
    ],
    "cli": [
        "run_command summary_command",
        "app_command check_command evaluate_command explain_command methods_command",
        "inputs loading spelling",
    ],
    "edits": [
        "flipping",
        "reduction vocabulary",
        "wording",
        "judging",
    ],
    "engine": [
        "coalitions entering problem_of relevance surrogate_samples",
        "experts integer_inputs passes removal targets",
        "borrowing hooks layer_calls layer_hooks path_sums relu_gradients rows token_sums",
        "groups memory",
    ],
    "jobs": [
        "worker",
        "_open _run mapping",
        "workers ray",
        "stored",
        "comparison planning summary",
        "comparison_page",
        "comparison_text summary_page",
        "agreement drivers progress shortcuts summary_text",
        "significance words",
        "answering sql",
        "blocks manifest matching",
        "index",
        "columns folder identity",
        "schema",
    ],
    "viewer": ["palette"],
    "sources": [
        "finding",
        "formats streams",
        "delimited",
        "addresses source",
    ],
    "evaluation": [
        "measuring",
        "comparing",
        "agreement answers result",
        "curves page",
        "cost data randomising removal rows",
    ],
    "methods": [
        "remarks",
        "distributions path",
        "adaptive apart deeplift gradient perturb",
        "graphs",
        "stretches",
    ],
    "metrics": [
        "faithfulness plausibility",
        "bootstrap ranks removal_curves sanity word_scores",
    ],
    "models": [
        "load",
        "model",
        "padding problems",
        "inside own_answer",
        "batch",
        "baseline_probability pipeline",
        "lookups tasks",
        "key_value_cache lookup_calls modality runner",
        "baselines net",
        "batching checkpoints devices placement structure text untrained",
    ],
    "models/inside": [
        "layers",
        "attention_measures",
        "own_sequences",
    ],
    "models/tasks": [
        "image_text_to_text multiple_choice zero_shot_classification",
        "image_and_text image_prompts text2text_generation text_generation",
        "image_classification",
        "text_classification",
        "continuation_goals deletion fill_mask question_answering sentence_similarity shortened_texts "
        "token_classification",
        "continuation generation patches pictures prompts target_names task",
    ],
    "models/text": [
        "reader",
        "batch_inputs tokenizing",
        "collating decoding filler groups inputs nested_inputs token_spans windows",
        "encoding labels tokenizer",
    ],
    "numerics": [
        "deeplift",
        "attention lookups surrogates",
        "noise quadrature shapley torch_calls",
    ],
    "numerics/attention": [
        "parts",
        "logits",
    ],
    "numerics/deeplift": [
        "checking paired_batch",
        "rules",
        "lockstep recording",
        "nodes",
        "metadata operation_names pairs unsupported",
    ],
    "numerics/deeplift/recording": [
        "recorder",
        "cut_paths expert_routing training_calls",
        "code_location conditions inner_calls",
    ],
    "numerics/deeplift/rules": [
        "table",
        "functions",
        "composed experts extremes pairwise softmax where",
        "linear norms",
        "elementwise inverses",
        "block_sizes",
    ],
    "numerics/lookups": [
        "calls origins",
    ],
    "numerics/quadrature": [
        "composite interpolation",
        "fixed points",
    ],
    "render": [
        "files",
        "html plots terminal",
        "aligned picture plot_bars plot_maps",
        "plot_pieces",
        "facts screen",
        "colour packed",
    ],
}
ONLY_IN = {
    "transformers": {"models", "cli"},
    "tokenizers": {"models"},
    "captum": {"captum"},
    "anywidget": {"notebook"},
    "gradio": {"_gradio"},
    "starlette": {"app"},
    "uvicorn": {"app"},
    "ray": {"jobs"},
}


def floors_of(folder: str) -> dict[str, int]:
    """The floor of each name in a folder, 0 for the lowest."""
    told = FLOORS.get(folder, [])
    return {name: len(told) - i for i, names in enumerate(told) for name in names.split()}


def imports(path: Path, root: Path = ROOT) -> list[str]:
    """Absolute names of what a file imports: inside functions too, and where only types are checked."""
    found: list[str] = []
    package = ["pellucid", *path.relative_to(root).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            inner = root.joinpath(*module.split(".")[1:])
            for a in node.names:
                is_module = inner.joinpath(a.name).is_dir() or inner.joinpath(f"{a.name}.py").is_file()
                found.append(f"{module}.{a.name}" if module.startswith("pellucid") and is_module else module)
    return found


def violations(root: Path = ROOT) -> list[str]:
    """Each import that does not point down, as a sentence."""
    found: list[str] = []
    for path in sorted(root.rglob("*.py")):
        own = list(path.relative_to(root).with_suffix("").parts)
        for name in imports(path, root):
            top, *other = name.split(".")
            if top in ONLY_IN and own[0] not in ONLY_IN[top]:
                found.append(f"{path.relative_to(root)} imports {top}, which belongs in {ONLY_IN[top]}")
            if top != "pellucid" or not other or own == ["__init__"]:
                continue
            shared = next((i for i, (a, b) in enumerate(zip(own, other, strict=False)) if a != b), None)
            if shared is None:  # a package's own __init__, from inside it
                if len(own) > len(other):
                    found.append(f"{path.relative_to(root)} imports its own folder {name}")
                continue
            floor = floors_of("/".join(own[:shared]))
            a, b = own[shared], other[shared]
            if a != "__init__" and not floor.get(b, 99) < floor.get(a, -1):
                found.append(f"{path.relative_to(root)} imports {name}")
    return found


def test_imports_point_down() -> None:
    assert violations() == []


@pytest.mark.parametrize("folder", sorted({str(p.parent.relative_to(ROOT)) for p in ROOT.rglob("*.py")}))
def test_every_file_has_a_floor(folder: str) -> None:
    here = ROOT / folder
    names = {p.stem for p in here.glob("*.py")} | {p.name for p in here.iterdir() if (p / "__init__.py").is_file()}
    assert names - {"__init__"} == floors_of("" if folder == "." else folder).keys()


PLANTED = {
    "numerics/shapley.py": "from ..explanation import Explanation",  # up
    "errors.py": "from .status import Status",  # a neighbour on the same floor
    "explanation.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .models.model import Model",
    "problem.py": "def f():\n    from . import _explain",
    "engine/passes.py": "import transformers",
    "numerics/deeplift/nodes.py": "from .rules.table import RULES",  # inside a room
    "models/text/encoding.py": "from ..model import Model",
}


@pytest.mark.parametrize("path", PLANTED)
def test_a_planted_violation_is_found(path: str, tmp_path: Path) -> None:
    for p in ROOT.rglob("*.py"):
        copy = tmp_path / p.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(p.read_text("utf-8") if p == ROOT / path else "", "utf-8")
    file = tmp_path / path
    assert violations(tmp_path) == []
    file.write_text(f"{file.read_text('utf-8')}\n{PLANTED[path]}\n", "utf-8")
    assert [found.split()[0] for found in violations(tmp_path)] == [path]


def test_hooks_are_in_two_files() -> None:
    found = {p.relative_to(ROOT).as_posix() for p in ROOT.rglob("*.py") if "register_forward" in p.read_text("utf-8")}
    assert found == {"engine/hooks.py", "engine/layer_hooks.py"}
