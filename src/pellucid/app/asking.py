"""What the app's routes answer: plain data in, plain data out, no HTTP."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from .. import edits
from .._explain import explain
from ..answers import explanations_of
from ..errors import InputError, quoted
from ..explanations import Explanations
from ..forms import form_of, input_of
from ..methods import METHODS
from ..models import Model
from ..outcome import Outcome
from ..passages import GENERATE
from ..public_names import model_name
from ..render.packed import packed
from ..request import Request
from ..view_inside import layer_of_attention
from .recent import Recent

if TYPE_CHECKING:
    from ..jobs.stored import Run

Body = Mapping[str, Any]
_PLURAL = {"methods": "method", "targets": "target", "baselines": "baseline"}
"""The fields of a Request that hold several of what an argument of `explain` holds one or several."""
_ASKED = {f.name for f in fields(Request)} - {"several"}
_SHOWN_LABELS = 200


@dataclass(frozen=True)
class Known:
    """What can be asked about: models and runs, each by a name that a person reads; and what was answered last."""

    models: Mapping[str, Model]
    runs: Mapping[str, Run]
    recent: Recent = field(default_factory=Recent)


def known_of(models: Sequence[Model], runs: Sequence[Run]) -> Known:
    """Models and runs by a name each. Raises InputError where there is neither."""
    if not models and not runs:
        raise InputError("Found no model; expected at least one.")
    return Known(_named(models, [m.name for m in models]), _named(runs, [r.path for r in runs]))


def _named(items: Sequence[Any], names: Sequence[str]) -> dict[str, Any]:
    """Each item by its name without the folders of this machine; a second one of a name gets a number."""
    found: dict[str, Any] = {}
    for item, path in zip(items, names, strict=True):
        name = model_name({"model": path})
        again = sum(other == name or other.startswith(f"{name} (") for other in found)
        found[f"{name} ({again + 1})" if again else name] = item
    return found


def told(known: Known) -> dict[str, Any]:
    """What the page needs to know of the models, the methods and the runs."""
    models = [
        {
            "name": name,
            "task": m.does.name,
            "labels": list(m.labels[:_SHOWN_LABELS]) if m.does.name.endswith("classification") else [],
            "form": form_of(m.does.name, getattr(m.tokenizer, "mask_token", None)),
            "edits": m.does.name == "text-classification",
            "generates": m.does.name in GENERATE,
        }
        for name, m in known.models.items()
    ]
    methods = [{"name": n, "summary": m.summary, "adds_up": m.adds_up} for n, m in METHODS.items()]
    runs = [{"name": name, "rows": len(run), "failures": run.failures} for name, run in known.runs.items()]
    return {"models": models, "methods": methods, "runs": runs}


def explained(known: Known, body: Body) -> dict[str, Any]:
    """The packed View of what is asked (`_found`); with `document: true` in the body also the document that `save`
    writes."""
    found = _found(known, body)
    document = {"document": found.to_dict()} if body.get("document") is True else {}
    return {"view": packed(found.view()), **document}


def attention(known: Known, body: Body) -> dict[str, Any]:
    """All keys of one layer of a measure of attention, of which a View has the strongest. body: as `explained`, and
    explanation (its number), measure (its name), layer."""
    found, number = _found(known, body), _whole(body, "explanation", 0)
    name, layer = body.get("measure"), _whole(body, "layer", 0)
    try:
        return {"cells": layer_of_attention(found[number], str(name), layer)}
    except (KeyError, IndexError) as error:
        raise InputError(
            f"Found explanation {number}, measure={quoted(name)}, layer {layer}; expected what the view has."
        ) from error


def exported(known: Known, body: Body) -> dict[str, Any]:
    """What is asked (`_found`) as a file. body: also kind ("html", "csv" or "json")."""
    kinds = {"html": Explanations.to_html, "csv": Explanations.to_csv, "json": Explanations.document}
    kind = body.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise InputError(f"Found kind={quoted(kind)}; expected one of {', '.join(kinds)}.")
    return {"name": f"explanation.{kind}", "content": kinds[kind](_found(known, body))}


def reduced(known: Known, body: Body) -> dict[str, Any]:
    """As `pellucid.reduce`. body: model, input."""
    found = edits.reduce(*_edited(known, body))
    return found.to_dict() | {"sentence": found.sentence}


def flipped(known: Known, body: Body) -> dict[str, Any]:
    """As `pellucid.flip`. body: model, input, to."""
    found = edits.flip(*_edited(known, body), to=body.get("to") or None)
    return found.to_dict() | {"sentence": found.sentence}


def _edited(known: Known, body: Body) -> tuple[Model, Any]:
    model = _model(known, body.get("model"))
    edits.check_classifies(model, "reduce")
    return model, input_of(model.does.name, body.get("input"))


def _found(known: Known, body: Body) -> Explanations:
    """The explanations that a body asks for (`_asked`), kept from the last time where they hold attention."""
    return known.recent.answer(body, lambda: _asked(known, body))


def _asked(known: Known, body: Body) -> Explanations:
    """The explanations that a body asks for: of `document`, what `save("x.json")` wrote; of a row of `run`, by the
    `place` that `rows` told of it or by `row`, its number; or of `input` and `request`, the fields of a Request, by
    `model` or each of `models`. Raises InputError."""
    if "document" in body and body["document"] is not True:
        return _document(body["document"])
    if "run" in body:
        outcome = _outcome(_run(known, body), body)
        found = Explanations(tuple(explanations_of(outcome)))
        if not found:
            raise InputError(f"This row was not explained: {outcome}")
        return found
    names = body.get("models") or [body.get("model")]
    if not isinstance(names, list):
        raise InputError(f"Found models={quoted(names)}; expected a list of names.")
    asked = _arguments(body.get("request", {}))
    each = [_model(known, name) for name in names]
    answers = [explain(m, input_of(m.does.name, body.get("input")), **asked) for m in each]
    return Explanations(tuple(e for answer in answers for e in explanations_of(answer)))


def _outcome(run: Run, body: Body) -> Outcome:
    place = body.get("place")
    if place is not None and not (isinstance(place, list) and list(map(type, place)) == [str, int]):
        raise InputError(f"Found place={quoted(place)}; expected the name of a shard and a whole number.")
    try:
        return run[_whole(body, "row", 0)] if place is None else run.at(*place)
    except IndexError as error:
        raise InputError(f"{error} Expected a row of the list.") from error


def _document(document: object) -> Explanations:
    if not isinstance(document, Mapping):
        raise InputError(f"Found {quoted(document)} as the document; expected what save('x.json') writes.")
    try:
        found = Explanations.from_dict(document)
        found.view()
    except InputError:
        raise
    except Exception as error:  # a document from outside may hold anything
        raise InputError(
            f"This is not a document of Pellucid explanations: {type(error).__name__}: {error}."
        ) from error
    if not found:
        raise InputError("Found a document without explanations; expected at least one.")
    return found


def _model(known: Known, name: object) -> Model:
    name = name or next(iter(known.models), "")
    if not isinstance(name, str) or name not in known.models:
        raise InputError(f"Found model={quoted(name)}; expected one of {', '.join(known.models)}.")
    return known.models[name]


# ------------------------------------------------------------------------------------------------------- runs

_COLUMNS = ("row", "text", "prediction", "probability", "label", "error_type", "error")
_MOST_ROWS = 200


def rows(known: Known, body: Body) -> dict[str, Any]:
    """Some rows of a run, and how many there are. body: run, sort (a column, "-" before it for the largest first),
    search, only ("", "wrong", "failed" or "=" and a prediction), offset, limit."""
    run, only = _run(known, body), body.get("only", "")
    sort, search = body.get("sort", "row"), body.get("search", "")
    if not all(isinstance(text, str) for text in (only, sort, search)):
        raise InputError("Found something other than a text as sort, search or only; expected texts.")
    page = _kept(run, only).page(
        sort, search=search, offset=_whole(body, "offset", 0), limit=_whole(body, "limit", 50), columns=_COLUMNS
    )
    rows = [row | {"place": place} for row, place in zip(page.rows, page.places, strict=True)]
    return {"rows": rows, "total": page.total}


def _kept(run: Run, only: str) -> Run:
    import pyarrow.compute as pc

    if only.startswith("="):
        return run.where(prediction=only[1:])
    kinds = {"": None, "wrong": pc.field("prediction") != pc.field("label"), "failed": pc.field("error").is_valid()}
    if only not in kinds:
        raise InputError(f"Found only={quoted(only)}; expected {', '.join(map(repr, kinds))} or '=' and a prediction.")
    return run if kinds[only] is None else run.where(kinds[only])


def summarized(known: Known, body: Body) -> dict[str, Any]:
    """The summary of a run as a file. body: run."""
    return {"name": "summary.html", "content": _run(known, body).summary().to_html()}


def _run(known: Known, body: Body) -> Run:
    name = body.get("run")
    if not isinstance(name, str) or name not in known.runs:
        raise InputError(f"Found run={quoted(name)}; expected one of {', '.join(known.runs) or 'no runs'}.")
    return known.runs[name]


def _whole(body: Body, name: str, otherwise: int) -> int:
    value = body.get(name, otherwise)
    if type(value) is not int or not 0 <= value < 2**40 or (name == "limit" and value > _MOST_ROWS):
        most = f" of at most {_MOST_ROWS}" if name == "limit" else ""
        raise InputError(f"Found {name}={quoted(value)}; expected a whole number{most}, 0 or more.")
    return value


# ------------------------------------------------------------------------------------------------------- requests


def _arguments(asked: object) -> dict[str, Any]:
    """The arguments of `explain` from the fields of a Request. Raises InputError."""
    if not isinstance(asked, Mapping):
        raise InputError(f"Found {quoted(asked)} as the request; expected an object with the fields of a Request.")
    given = {str(k): v for k, v in asked.items() if v is not None}
    options = given.pop("options", {})
    if unknown := [name for name in given if name not in _ASKED]:
        raise InputError(f"Found {quoted(unknown[0])} in the request; expected {', '.join(sorted(_ASKED))}.")
    if not isinstance(options, Mapping):
        raise InputError(f"Found {quoted(options)} as options; expected an object with options of the method.")
    own = set(inspect.signature(explain).parameters) - {"options"}
    if taken := [name for name in options if name in own]:
        raise InputError(f"Found {quoted(taken[0])} among the options; expected options of the method.")
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name in _PLURAL:
            several = value if isinstance(value, list) else [value]
            found[_PLURAL[name]] = several[0] if len(several) == 1 else several
        else:
            found[name] = value
    return found | {str(k): v for k, v in options.items()}
