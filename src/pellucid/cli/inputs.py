"""What a command explains, from its arguments, a file and standard input: texts, pairs, prompts and conversations."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ..console import argument, lines_of
from ..conversations import conversation_of, is_conversation
from ..errors import InputError, quoted

if TYPE_CHECKING:
    from ..models import Model

Input: TypeAlias = str | tuple[str, str] | dict[str, Any]


def read_inputs(
    texts: list[str],
    file: Path | None,
    pair: str | None = None,
    context: str | None = None,
    continuation: str | None = None,
    chat: str | None = None,
    sources: Sequence[Path] = (),
) -> list[Input]:
    """The inputs. sources: files whose texts stand before the question or the conversation.

    Raises InputError where there are no inputs, and where two of the parts exclude each other.
    """
    seconds = {"--pair": pair, "--context": context, "--continuation": continuation}
    given = [name for name, part in seconds.items() if part is not None]
    if len(given) > 1:
        raise InputError(f"Found both {given[0]} and {given[1]}; expected one of them.")
    after = {} if continuation is None else {"continuation": argument(continuation)}
    if chat is not None:
        if texts or file is not None or given not in ([], ["--continuation"]):
            raise InputError("Found --chat and another text; expected the conversation alone, or with --continuation.")
        found = _conversation(argument(chat))
        asked = {**({"documents": _documents(sources)} if sources else {}), **after}
        if twice := found.keys() & asked.keys():
            raise InputError(f"Found {', '.join(sorted(twice))} in --chat and as an option; expected one of the two.")
        return [{**found, **asked}]
    found = _texts(texts, file)
    if sources:
        if given not in ([], ["--continuation"]):
            raise InputError(f"Found --sources and {given[0]}; expected --sources alone, or with --continuation.")
        return [{"documents": _documents(sources), "question": text, **after} for text in found]
    second = next((part for part in seconds.values() if part is not None), None)
    return [text if second is None else (text, argument(second)) for text in found]


def target_of(model: Model, given: str) -> str | int:
    """A target from the command line; of a task that writes a continuation, digits alone are a token's number."""
    text = argument(given)
    return int(text) if model.does.continues and text.removeprefix("-").isdecimal() else text


def targets_of(model: Model, given: Sequence[str] | None) -> str | int | list[str | int] | None:
    """Targets from the command line: none, one, or a list of several."""
    found = [target_of(model, one) for one in given or ()]
    return found if len(found) > 1 else found[0] if found else None


def _texts(texts: list[str], file: Path | None) -> list[str]:
    if file is not None:
        try:
            texts = texts + lines_of(file.read_bytes(), repr(str(file)))
        except OSError as error:
            told = f"Could not read {str(file)!r}: {error.strerror or error}."
            raise InputError(f"{told} Expected a UTF-8 file with one text per line.") from error
    lines = lines_of(_standard_input(), "standard input") if "-" in texts and sys.stdin is not None else []
    found = [t for text in texts for t in (lines if text == "-" else [argument(text)])]
    if not found:
        raise InputError("Found no text; expected one as an argument, --file F, or - for standard input.")
    return found


def _documents(files: Sequence[Path]) -> list[tuple[str, str]]:
    """The name and the text of each file. Raises InputError."""
    found: list[tuple[str, str]] = []
    for file in files:
        try:
            found.append((file.name, _decoded(file.read_bytes(), repr(str(file))).strip()))
        except OSError as error:
            raise InputError(
                f"Could not read --sources {str(file)!r}: {error.strerror or error}. Expected files of text."
            ) from error
    return found


def _standard_input() -> bytes:
    return sys.stdin.buffer.read()


def _conversation(chat: str) -> dict[str, Any]:
    """A conversation from a file, from standard input (-), or from the argument itself. Raises InputError."""
    if chat == "-":
        return conversation_of(_decoded(_standard_input(), "standard input"))
    if is_conversation(chat):
        return conversation_of(chat)
    try:
        content = Path(chat).read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(
            f"Could not read --chat {quoted(chat)}: {getattr(error, 'strerror', None) or error}. Expected a file of "
            "messages, as JSON or as lines 'user: …', or the messages themselves."
        ) from error
    return conversation_of(_decoded(content, repr(chat)))


def _decoded(content: bytes, source: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"Could not read {source} as UTF-8: {error}. Expected UTF-8.") from error
