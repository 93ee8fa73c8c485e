"""The parts of a network: what its forward takes, its layers, and its tables of embeddings."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..errors import InputError, UnsupportedModel, quoted

SHOWN = 6
"""How many names of modules an error lists: the first ones and the last."""


@dataclass(frozen=True)
class Arguments:
    """The arguments of a forward. named: those that it names. anything: whether it takes any other too."""

    named: frozenset[str]
    anything: bool


def wrappers(net: nn.Module) -> Iterator[nn.Module]:
    """A network, then the only module in it, and so on inwards while a module wraps one other, as adapters do."""
    yield net
    while len(children := list(net.children())) == 1:
        (net,) = children
        yield net


def is_pretrained(net: nn.Module) -> bool:
    """Whether a network is a PreTrainedModel of transformers, or of a class of the user's that is made of one."""
    return hasattr(net, "base_model_prefix")


_PASSING = ("torch.", "peft.", "accelerate.", "transformers.")
"""The libraries whose wrappers pass on what they are given."""


def is_of_transformers(net: nn.Module) -> bool:
    """Whether a network is one of transformers' own models, or a library's wrapper of one: whether nobody else wrote
    what its forward does with the ids."""
    for module in wrappers(net):
        library = type(module).__module__
        if is_pretrained(module) and library.startswith("transformers."):
            return True
        if not library.startswith(_PASSING):
            return False
    return False


def unwrapped(net: nn.Module) -> nn.Module:
    """The network inside of a wrapper that spreads it over devices, as DataParallel does."""
    while isinstance(net, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        net = net.module
    return net


def arguments(net: nn.Module, takes: str, task: str) -> Arguments:
    """The arguments of a network's forward. takes: one that it must take, for the task of this name. Raises
    UnsupportedModel where it does not."""
    named, anything = _named(net, takes)
    for wrapper in wrappers(net) if anything else ():  # what passes everything on takes what is in it takes
        inner, passes = _named(wrapper, takes)
        if not passes:
            named, anything = (inner, False) if takes in inner else (named, anything)
            break
    reads = getattr(net, "main_input_name", takes)
    if takes not in named and (not anything or reads != takes):
        raise UnsupportedModel(
            f"{type(net).__name__}.forward takes {', '.join(sorted(named)) or 'nothing'}; expected an argument "
            f"{takes!r} for {task}. Give it that name, or load a model that reads it."
        )
    # what generates text keeps a key–value cache unless it is told not to; some pass that on without naming it
    passed = _passes_on(net) and is_of_transformers(net) and callable(getattr(net, "generate", None))
    return Arguments(named | {"use_cache"} if passed else named, anything)


def _passes_on(net: nn.Module) -> bool:
    """Whether a forward takes arguments that it does not name."""
    return any(p.kind == p.VAR_KEYWORD for p in inspect.signature(net.forward).parameters.values())


def _named(net: nn.Module, takes: str) -> tuple[frozenset[str], bool]:
    """The arguments that a forward names, and whether it takes any other."""
    parameters = inspect.signature(net.forward).parameters.values()
    named = frozenset(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
    return named, any(p.kind == p.VAR_KEYWORD for p in parameters) and takes not in named


def is_decoder(net: nn.Module) -> bool:
    """Whether a model is of a family of decoders, by its configuration: transformers generates text with it, fills no
    masks with it, and it has no encoder."""
    from transformers.models.auto import modeling_auto as known

    config = getattr(net, "config", None)
    kind = getattr(config, "model_type", None)
    generates = kind in known.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in known.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return generates and not getattr(config, "is_encoder_decoder", False)


def layer_stack(net: nn.Module) -> list[nn.Module]:
    """The layers of a network: the outermost list of modules, on the side that reads the input, that is as long as the
    configuration says; else the longest. Of several the last: what a layer is made of may stand in lists of its own
    (XLM), in the order in which it runs. Raises UnsupportedModel where there is none."""
    side = reading_side(net)
    lists = [(n, m) for n, m in side.named_modules() if isinstance(m, nn.ModuleList) and len(m)]
    outer = [m for n, m in lists if not any(n.startswith(f"{other}.") for other, _ in lists if other != n)]
    if not outer:
        raise UnsupportedModel(
            f"{type(net).__name__} has no list of layers (an nn.ModuleList); name the modules that are: "
            "at=['path.to.layer', …]."
        )
    config = getattr(side, "config", None)  # of a model of images and texts, whose text passes through fewer, its own
    told = getattr(getattr(config, "text_config", config), "num_hidden_layers", None)
    layers = max(reversed(outer), key=lambda m: (len(m) == told, len(m)))
    return [layer for item in layers for layer in (item if isinstance(item, nn.ModuleList) else [item])]


def module_named(net: nn.Module, name: str) -> nn.Module:
    """The module of a dotted name. Raises InputError where there is none of that name."""
    try:
        return net.get_submodule(name)
    except AttributeError as error:
        raise InputError(
            f"Found at={quoted(name)}; the model has no module of that name. Expected one of "
            f"model.model.named_modules(), such as {', '.join(map(repr, _near(net, name)))}."
        ) from error


def _near(net: nn.Module, name: str) -> list[str]:
    """The names of modules that a user may have meant: those beside a name that ends in a number too high, each other
    number there; else names with the same end, else names that are written much alike, else the layers."""
    names = [n for n, _ in net.named_modules() if n]
    above, _, last = name.rpartition(".")
    beside = [n for n in names if n.rpartition(".")[0] == above] if last.isdigit() else []
    same_end = [n for n in names if n.rpartition(".")[2] == last and not last.isdigit()]
    near = beside or same_end or difflib.get_close_matches(name, names, SHOWN, 0.6)
    if not near:
        stack = next((n for n, m in net.named_modules() if isinstance(m, nn.ModuleList) and len(m)), "")
        near = [n for n in names if n.rpartition(".")[0] == stack]
    return near if len(near) <= SHOWN else [*near[: SHOWN - 1], near[-1]]


def reading_side(net: nn.Module) -> nn.Module:
    """The side of a network that reads the text: an encoder that embeds by itself (a module of its own, tied to the
    shared one by weight), also where no decoder goes with it (T5EncoderModel); else the whole."""
    get: Any = getattr(net, "get_encoder", None)
    encoder = net if get is None else get()
    return encoder if table_of(encoder) is not None else net


def table_of(net: nn.Module) -> nn.Module | None:
    """The module that a network itself names as the one that embeds its input; None where it names none."""
    try:
        get: Any = net.get_input_embeddings
        found = get()
    except (NotImplementedError, AttributeError):
        return None
    return found if isinstance(found, nn.Module) else None


def tables(net: nn.Module) -> list[nn.Embedding | nn.EmbeddingBag]:
    """Every table of embeddings in a network."""
    return [m for m in net.modules() if isinstance(m, (nn.Embedding, nn.EmbeddingBag))]


def own_module(net: nn.Module, given: nn.Module | str) -> nn.Module:
    """A module of the network that the user named, or gave. Raises UnsupportedModel where the network has no such
    module."""
    if isinstance(given, nn.Module):
        if not any(m is given for m in net.modules()):
            raise UnsupportedModel(f"The embeddings module {type(given).__name__} is no part of the model.")
        return given
    try:
        return net.get_submodule(given)
    except AttributeError as error:
        names = [n for n, m in net.named_modules() if isinstance(m, (nn.Embedding, nn.EmbeddingBag))]
        raise UnsupportedModel(
            f"The model has no module {given!r}; its modules that embed: {', '.join(map(repr, names)) or 'none'}."
        ) from error


def first_position(net: nn.Module) -> int:
    """The number of a text's first position: 0, or for RoBERTa and its kin the one behind the padding index."""
    positions = [m for n, m in net.named_modules() if n.endswith("position_embeddings")]
    padding = getattr(positions[0], "padding_idx", None) if positions else None
    return 0 if padding is None else padding + 1


def most_positions(net: nn.Module) -> int | None:
    """How many tokens a network has positions for; None where its configuration does not say."""
    try:
        positions = getattr(getattr(net, "config", None), "max_position_embeddings", None)
    except NotImplementedError:  # XLNet's way to say that there is no limit
        positions = None
    return positions - first_position(net) if isinstance(positions, int) and positions > 0 else None


def label_names(net: nn.Module) -> tuple[str, ...]:
    """The names of a network's classes, by index; empty where its configuration does not say."""
    names: Mapping[int, object] = getattr(getattr(net, "config", None), "id2label", None) or {}
    return tuple(str(names[i]) for i in sorted(names))


def placeholder(net: nn.Module) -> int | None:
    """The id of the token that a network puts an image in the place of; None where it has none."""
    config = getattr(net, "config", None)
    found = getattr(config, "image_token_id", getattr(config, "image_token_index", None))
    return found if isinstance(found, int) else None


_SOUND = ("input_values", "input_features")


def check_one_kind(net: nn.Module) -> None:
    """Raises UnsupportedModel where a network reads a text and an image together as two towers, or sound."""
    name = type(net).__name__
    towers = [part for part in ("text", "image", "audio") if hasattr(net, f"get_{part}_features")]
    if "text" in towers and len(towers) > 1:
        raise UnsupportedModel(
            f"{name} reads a text and {towers[1]} and compares the two; expected a model of one input. Give "
            f"pellucid.Model a network of your own that takes input_ids and attention_mask, holds the {towers[1]}, "
            f"and returns the similarities as logits; or explain the {towers[1]} by "
            "pellucid.attribute(lambda x: model(pixel_values=x, input_ids=ids).logits_per_image, x, target=0)."
        )
    if getattr(net, "main_input_name", None) in _SOUND:
        raise UnsupportedModel(
            f"{name} reads sound ({net.main_input_name}), which has no tokens; expected a model of texts or of "
            "images. Explain its numbers: pellucid.attribute(lambda x: model(x).logits, x, target=0)."
        )
