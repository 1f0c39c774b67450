"""Text for a terminal: whoever writes a message or a log line is not the one who reads it."""

from __future__ import annotations

import re
from typing import Final

COMMAND: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]|\x1b(?!\[[0-9;]*m)")
"""What a terminal does something for, other than to go on in another colour or line."""


def harmless(text: str) -> str:
    """The text without commands to the terminal."""
    return COMMAND.sub("", text)
