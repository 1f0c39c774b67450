"""
What must not be shown, and texts without it.

A value is registered when it is read. From then on it is taken out of log lines, error messages, titles, artifacts and the
termination message, and in a pod out of what is printed; so are the forms that it takes on the way: escaped as in JSON
or `repr()`, quoted as in a URL, and in Base64, also as part of a longer text.

Texts are searched for each form in turn. That is some microseconds a line for a handful of secrets, and several times
faster than one regular expression of them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from threading import Lock
from typing import Any, Final

MASK: Final = "**********"
SHORTEST: Final = 4
"""Characters of a value: shorter ones are in every text."""
SHORTEST_PART: Final = 8
"""Characters of a line or a setting in a value: shorter ones are mostly no secrets by themselves."""
CUT: Final = "..."
CUT_PART: Final = 32
"""Characters of a value that are looked for before and behind "..."; pydantic shows 25, and what is longer was not cut."""
SHORTEST_CUT: Final = 6
MOST_LINES: Final = 200
"""Lines of a value that are looked for one by one: a bundle of certificates would slow down every line of the log."""
KEPT_IN_URLS: Final = "!#$%&'()*+,/:;=?@[]~"
"""What requests and others leave as it is in a URL that they are given."""
ARMOUR: Final = "-----"
"""What the first and last lines of PEM begin with; they are the same for all keys."""


class Registry:
    """Values that must not be shown. Adding is safe from any thread, and takes effect with the next text."""

    def __init__(self) -> None:
        self.forms: tuple[str, ...] = ()
        """All that is looked for, longest first; empty while nothing is registered."""
        self.told: tuple[str | bytes, ...] = ()
        """Values that were learnt after the start of the process: those that its children do not learn from their environment."""
        self._starts: Mapping[str, tuple[str, ...]] = {}
        self._lock = Lock()

    def add(self, value: str | bytes) -> bool:
        """
        Registers a value and what it contains. Returns whether anything in it is new.

        Values below 4 characters, and lines and entries below 8, are left out.
        """
        with self._lock:
            forms = {*self.forms, *_forms_of(value)}
            if len(forms) == len(self.forms):
                return False
            ordered = tuple(sorted(forms, key=lambda form: (-len(form), form)))
            self._starts = {
                first: tuple(form for form in ordered if form[0] == first) for first in {form[0] for form in ordered}
            }
            self.forms = ordered
            return True

    def tell(self, value: str | bytes) -> None:
        """As `add`, for a value that the environment of the process did not tell."""
        if self.add(value):
            self.told = (*self.told, value)

    def found_in(self, text: str) -> bool:
        """Whether there is anything to take out."""
        return any(form in text for form in self.forms)

    def redacted(self, text: str) -> str:
        """The text with a mask in place of each registered value; where two overlap, one mask stands for both."""
        is_cut = CUT in text
        if not is_cut and not self.found_in(text):
            return text
        spans = _merged([*self._spans(text), *(self._cut_spans(text) if is_cut else ())])
        return self._masked(text, spans) if spans else text

    def until_unsure(self, text: str) -> int:
        """How much of the text can be told apart from a value that goes on behind it: all but the end that may begin one."""
        unsure = next((at for at in range(self._reach(text), len(text)) if self._may_begin(text, at)), len(text))
        return min([unsure, *(start for start, end in _merged(self._spans(text)) if end > unsure)])

    def _reach(self, text: str) -> int:
        longest = len(self.forms[0]) if self.forms else 1
        return max(0, len(text) - longest + 1)

    def _may_begin(self, text: str, at: int) -> bool:
        rest = len(text) - at
        return any(len(form) > rest and text.endswith(form[:rest]) for form in self._starts.get(text[at], ()))

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        for form in self.forms:
            at = text.find(form)
            while at >= 0:
                yield at, at + len(form)
                at = text.find(form, at + 1)

    def _cut_spans(self, text: str) -> Iterator[tuple[int, int]]:
        """What stands before or behind "..." and is the beginning or the end of a value, as pydantic shows long ones."""
        at = text.find(CUT)
        while at >= 0:
            for start in range(max(0, at - CUT_PART), at - SHORTEST_CUT + 1):
                shown = text[start:at]
                if any(form.startswith(shown) for form in self._starts.get(shown[0], ())):
                    yield start, at
                    break
            behind = at + len(CUT)
            for end in range(behind + CUT_PART, behind + SHORTEST_CUT - 1, -1):
                if end <= len(text) and any(form.endswith(text[behind:end]) for form in self.forms):
                    yield behind, end
                    break
            at = text.find(CUT, at + 1)

    def _masked(self, text: str, spans: Iterable[tuple[int, int]]) -> str:
        parts, shown = [], 0
        for start, end in spans:
            parts += [text[shown:start], MASK]
            shown = end
        return "".join([*parts, text[shown:]])


SECRETS: Final = Registry()
"""Of this process: whatever it says, to whomever, is without them."""


def register(value: str | bytes) -> None:
    """Has this process never show the value again, if it is long enough to be told from other text (4 characters)."""
    SECRETS.tell(value)


def redacted(text: str) -> str:
    """The text without registered values."""
    return SECRETS.redacted(text) if SECRETS.forms else text


def redacted_json(value: Any, *, keep: Callable[[str], bool] = lambda _: False) -> Any:
    """
    JSON types without registered values, in keys, texts and numbers.

    Args:
        keep: Which entries of the outermost object stay as they are, by key.
    """
    if not SECRETS.forms:
        return value
    if isinstance(value, dict):
        return {
            key if keep(key) else redacted(key): entry if keep(key) else redacted_json(entry)
            for key, entry in value.items()
        }
    if isinstance(value, list):
        return [redacted_json(entry) for entry in value]
    if isinstance(value, str):
        return redacted(value)
    return redacted(str(value)) if _is_number(value) and SECRETS.found_in(str(value)) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans that overlap or touch as one, in their order."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _forms_of(value: str | bytes) -> Iterator[str]:
    data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else bytes(value)
    if len(data.strip()) < SHORTEST or not data.strip(b"*"):  # a mask of the mask would hide nothing
        return
    yield from _in_base64(data)
    yield from _in_base64(data.strip())
    text = _text(value)
    if text is None:
        yield from (repr(data)[2:-1], data.hex())
        return
    parts = tuple(dict.fromkeys((text, text.strip(), *_password(text), *_json_texts(text))))
    for each in parts:
        yield from _escaped(each)
    for line in dict.fromkeys(line for each in parts for line in _lines(each)):
        # Of the other forms a long text has too many: each is looked for in every line of the log.
        yield from (line, _as_json(line))


def _text(value: str | bytes) -> str | None:
    if isinstance(value, str):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _escaped(text: str) -> Iterator[str]:
    """The text as it is, on one line, and as JSON, repr() and URLs write it."""
    import json  # noqa: PLC0415 - most processes register nothing
    from urllib.parse import quote, quote_plus  # noqa: PLC0415 - as above

    data = text.encode("utf-8", "surrogatepass")
    quoted = (quote(data), quote(data, safe=""), quote_plus(data), quote(data, safe=KEPT_IN_URLS))
    lower = ("".join(_lowered(form)) for form in quoted)
    backslashed = (repr(text)[1:-1], repr(text + "'\"")[1:-4], repr(data)[2:-1])
    written = (json.dumps(text)[1:-1], _as_json(text))
    on_one_line = " ".join(text.split())
    for form in (text, on_one_line, *written, *backslashed, *quoted, *lower):
        if len(form.strip()) >= SHORTEST:
            yield form


def _as_json(text: str) -> str:
    """As the log writes it, without the quotes."""
    import json  # noqa: PLC0415 - as above

    return json.dumps(text, ensure_ascii=False)[1:-1]


def _lowered(quoted: str) -> Iterator[str]:
    """A URL with its %2F as %2f."""
    head, *escapes = quoted.split("%")
    yield head
    for escape in escapes:
        yield f"%{escape[:2].lower()}{escape[2:]}"


def _in_base64(data: bytes) -> Iterator[str]:
    """Base64 of the bytes, and what it shows of them at each place that they may have in something longer."""
    from base64 import b64encode, urlsafe_b64encode  # noqa: PLC0415 - as above

    for encode in (b64encode, urlsafe_b64encode):
        yield encode(data).decode().rstrip("=")
        for before in range(3):
            shown = encode(bytes(before) + data + bytes(2)).decode()
            inner = shown[-(-8 * before // 6) : 8 * (before + len(data)) // 6]
            if len(inner) >= SHORTEST_PART:
                yield inner


def _password(text: str) -> Iterator[str]:
    from urllib.parse import unquote, urlsplit  # noqa: PLC0415 - as above

    if "://" not in text or "@" not in text:
        return
    try:
        password = urlsplit(text.strip()).password or ""
    except ValueError:  # brackets that hold no address
        return
    yield from (each for each in (password, unquote(password)) if len(each) >= SHORTEST)


def _json_texts(text: str) -> Iterator[str]:
    if text.strip()[:1] not in {"{", "["}:
        return
    import json  # noqa: PLC0415 - as above

    try:
        waiting = [json.loads(text)]
    except (ValueError, RecursionError):
        return
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str) and len(value.strip()) >= SHORTEST_PART:
            yield value


def _lines(text: str) -> Iterator[str]:
    """The lines of a text, and what stands behind "=" or ":" in them, as in a file of settings."""
    lines = text.strip().splitlines()
    for line in islice((line.strip() for line in lines), MOST_LINES):
        if len(lines) > 1 and len(line) >= SHORTEST_PART and not line.startswith(ARMOUR):
            yield line
        for sign in ("=", ": "):
            setting = line.partition(sign)[2].strip(" \"'")
            if len(setting) >= SHORTEST_PART:
                yield setting
