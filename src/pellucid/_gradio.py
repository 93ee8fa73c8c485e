"""`pellucid.gradio`: a Gradio demo of a model, whose answers the viewer draws."""

from __future__ import annotations

from typing import Any

from ._explain import explain
from .answers import explanations_of
from .errors import InputError, MissingExtra, PellucidError
from .explanations import Explanations
from .forms import form_of, input_of
from .models import Model
from .public_names import model_name


def gradio(model: Model, **options: Any) -> Any:
    """A `gradio.Interface` with the form of the model's task, to be launched or put among others. Needs [gradio].

    options: as `explain`, for every input. Raises InputError for what is no Model, MissingExtra.

    Examples:
        >>> import pellucid
        >>> demo = pellucid.gradio(pellucid.load(), baseline="pad")  # doctest: +SKIP
        >>> demo.launch()  # doctest: +SKIP
    """
    try:
        import gradio as gr  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtra("pellucid.gradio needs Gradio: pip install 'pellucid[gradio]'.") from error
    if not isinstance(model, Model):
        raise InputError(f"Found a {type(model).__name__} as the model; expected pellucid.load() or pellucid.Model().")
    fields = form_of(model.does.name)
    kinds = {"image": lambda label: gr.Image(label=label, type="pil")}

    def shown(*values: Any) -> str:
        try:
            given = input_of(model.does.name, {f["name"]: v for f, v in zip(fields, values, strict=True)})
            return Explanations(tuple(explanations_of(explain(model, given, **options))))._repr_html_()
        except PellucidError as error:
            raise gr.Error(str(error)) from error

    inputs = [kinds.get(f["kind"], lambda label: gr.Textbox(label=label))(f["label"]) for f in fields]
    return gr.Interface(
        shown, inputs, gr.HTML(), title=f"Pellucid: {model_name({'model': model.name})}", flagging_mode="never"
    )
