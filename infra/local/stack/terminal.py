"""What the laptop's commands tell a person."""

from __future__ import annotations


def say(sentence: str) -> None:
    """Tell the person what happens, at once."""
    print(sentence, flush=True)
