"""What the app's routes answer: plain data in, plain data out, no HTTP."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from .. import edits
from .._explain import explain
from ..answers import explanations_of
from ..errors import InputError, quoted
from ..explanation import Explanations
from ..forms import FORMS, input_of
from ..methods import METHODS
from ..models import Model
from ..public_names import model_name
from ..request import Request

Body = Mapping[str, Any]
Models = Mapping[str, Model]
_PLURAL = {"methods": "method", "targets": "target", "baselines": "baseline"}
"""The fields of a Request that hold several of what an argument of `explain` holds one or several."""
_ASKED = {f.name for f in fields(Request)} - {"several"}
_SHOWN_LABELS = 200


def named(models: list[Model]) -> dict[str, Model]:
    """The models by a name each, as a person reads it; a second one of a name gets a number."""
    found: dict[str, Model] = {}
    for model in models:
        name = model_name({"model": model.name})
        again = sum(other == name or other.startswith(f"{name} (") for other in found)
        found[f"{name} ({again + 1})" if again else name] = model
    return found


def models_told(models: Models) -> dict[str, Any]:
    """What the page needs to know of the models and of the methods."""
    told = [
        {
            "name": name,
            "task": m.does.name,
            "labels": list(m.labels[:_SHOWN_LABELS]) if m.does.name.endswith("classification") else [],
            "limit": m.limit,
            "form": FORMS.get(m.does.name, FORMS["text-classification"]),
            "edits": m.does.name == "text-classification",
        }
        for name, m in models.items()
    ]
    methods = [
        {"name": n, "summary": m.summary, "adds_up": m.adds_up, "inside": m.passes_inside} for n, m in METHODS.items()
    ]
    return {"models": told, "methods": methods}


def explained(models: Models, body: Body) -> dict[str, Any]:
    """The View and the document of an explanation. body: model, input, and the fields of a Request."""
    model = _model(models, body)
    answer = explain(model, input_of(model.does.name, body.get("input")), **_arguments(body.get("request", {})))
    found = Explanations(tuple(explanations_of(answer)))
    return _shown(found)


def opened(models: Models, body: Body) -> dict[str, Any]:
    """The View of a document that was saved. body: document, what `save("x.json")` wrote."""
    return _shown(_document(body))


def exported(models: Models, body: Body) -> dict[str, Any]:
    """A document as a file. body: document, kind ("html", "csv" or "json")."""
    kinds = {"html": Explanations.to_html, "csv": Explanations.to_csv, "json": Explanations.document}
    kind = body.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise InputError(f"Found kind={quoted(kind)}; expected one of {', '.join(kinds)}.")
    return {"name": f"explanation.{kind}", "content": kinds[kind](_document(body))}


def reduced(models: Models, body: Body) -> dict[str, Any]:
    """As `pellucid.reduce`. body: model, input."""
    model = _model(models, body)
    return edits.reduce(model, _edited(model, body)).to_dict()


def flipped(models: Models, body: Body) -> dict[str, Any]:
    """As `pellucid.flip`. body: model, input, to."""
    model = _model(models, body)
    return edits.flip(model, _edited(model, body), to=body.get("to") or None).to_dict()


def _edited(model: Model, body: Body) -> Any:
    edits.check_classifies(model, "reduce")
    return input_of(model.does.name, body.get("input"))


def _shown(found: Explanations) -> dict[str, Any]:
    inside = [name for name in ("heads", "attentions") if any(getattr(e, name) is not None for e in found)]
    return {"view": found.view(include=inside).to_dict(), "document": found.to_dict()}


def _document(body: Body) -> Explanations:
    document = body.get("document")
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


def _model(models: Models, body: Body) -> Model:
    name = body.get("model") or next(iter(models))
    if not isinstance(name, str) or name not in models:
        raise InputError(f"Found model={quoted(name)}; expected one of {', '.join(models)}.")
    return models[name]


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
