"""Conversations as a person writes them, and as a chat template takes them."""

from __future__ import annotations

import json
import re
from typing import Any

from .errors import InputError, quoted

ROLES = ("system", "developer", "user", "assistant", "tool")
_TURN = re.compile(rf"({'|'.join(ROLES)})\s*:\s?(.*)", re.IGNORECASE | re.DOTALL)


def is_conversation(text: str) -> bool:
    """Whether a text is the messages themselves: JSON, or lines of which the first begins with a role."""
    return bool(_TURN.match(text)) or text.lstrip()[:1] in ("[", "{")


def conversation_of(text: str) -> dict[str, Any]:
    """A conversation as an input has it: its "messages", as `messages_of`, and what else a mapping as JSON has, such as
    "tools" or a "continuation". Raises InputError."""
    expected = "expected a list of {'role': 'user', 'content': 'a text'} as JSON, or lines such as 'user: a text'"
    if text.lstrip()[:1] in ("[", "{"):
        try:
            found = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"Found messages that are no JSON ({error}); {expected}.") from error
        found = found if isinstance(found, dict) else {"messages": found}
        if not isinstance(found.get("messages"), list) or not found["messages"]:
            raise InputError(f"Found {quoted(text, 80)} as messages; {expected}.")
        return found
    turns: list[dict[str, str]] = []
    for line in re.split(r"\r\n|\r|\n", text):
        if turn := _TURN.fullmatch(line):
            turns.append({"role": turn[1].lower(), "content": turn[2]})
        elif turns:
            turns[-1]["content"] += f"\n{line}"
        elif line.strip():
            raise InputError(f"Found {quoted(line, 80)} as the first line of a conversation; {expected}.")
    if not turns:
        raise InputError(f"Found no messages; {expected}.")
    return {"messages": [{**turn, "content": turn["content"].strip()} for turn in turns]}


def messages_of(text: str) -> list[dict[str, str]]:
    """The messages of a conversation: JSON (a list of {"role", "content"}, or {"messages": that list}), or lines that
    begin with the name of a role and a colon; a line that does not goes on with the message above. Raises InputError.

    Examples:
        >>> messages_of("user: Hello!\\nHow are you?\\nassistant: Fine.")[0]
        {'role': 'user', 'content': 'Hello!\\nHow are you?'}
        >>> messages_of('[{"role": "user", "content": "Hello!"}]')
        [{'role': 'user', 'content': 'Hello!'}]
    """
    return conversation_of(text)["messages"]
