"""Secrets that do not show: a wrapper whose representation is stars, and a filter that keeps them out of every log."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import NoReturn

STARS = "***"
_SHAPES = (
    re.compile(r"(?i)(signature=)[0-9a-f]+"),
    re.compile(r"(?i)(x-mbx-apikey['\"]?\s*[:=]\s*['\"]?)[\w-]+"),
    re.compile(r"(?i)(listenkey['\"]?\s*[:=]\s*['\"]?)[\w-]+"),
    re.compile(r"(?i)(api_?(?:key|secret)['\"]?\s*[:=]\s*['\"]?)[\w-]+"),
)
"""What a secret looks like in an address, a header or a message."""
SHORTEST = 6
"""Values below this length are not looked for: they would blank ordinary text."""


class Secret:
    """A value that is shown to whoever calls `reveal` and to nobody else; it cannot be pickled."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return f"Secret({STARS!r})" if self._value else "Secret('')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


class Redactor(logging.Filter):
    """Replaces known secrets, and whatever looks like one, in log records; also a plain function of text."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        super().__init__()
        self._values = [secret.reveal() for secret in secrets if len(secret.reveal()) >= SHORTEST]

    def add(self, secret: Secret) -> None:
        """Know one more secret from now on, such as a listen key."""
        if len(secret.reveal()) >= SHORTEST and secret.reveal() not in self._values:
            self._values.append(secret.reveal())

    def clean(self, text: str) -> str:
        """The text without any secret."""
        for value in self._values:
            text = text.replace(value, STARS)
        for shape in _SHAPES:
            text = shape.sub(rf"\g<1>{STARS}", text)
        return text

    def filter(self, record: logging.LogRecord) -> bool:
        """Clean the message with its arguments, and the text of an exception; always lets the record pass."""
        record.msg, record.args = self.clean(record.getMessage()), ()
        if record.exc_info:
            record.exc_text = self.clean(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        return True
