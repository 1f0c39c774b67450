"""What somebody may write to whose messages and log lines another person reads on a terminal."""

from typing import Final

BAD: Final = "a\x1b[2J\x1b]0;title\x07\x9b1A\x1b[31mred\x1b[0m"
GOOD: Final = "a[2J]0;title1A\x1b[31mred\x1b[0m"
"""The same, as a terminal may have it: its colours stay."""
