"""No secret in any text: representations, logs, tracebacks."""

from __future__ import annotations

import io
import logging
import pickle

import pytest

from qtsim.live.redaction import Redactor, Secret

KEY = "canary-key-4711abcdef"


def test_a_secret_shows_stars_and_gives_its_value_only_when_asked() -> None:
    secret = Secret(KEY)
    for text in (repr(secret), str(secret), f"{secret}", repr({"key": secret})):
        assert KEY not in text
    assert secret.reveal() == KEY
    assert secret == Secret(KEY)
    assert secret != Secret("other")
    assert not Secret("")
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)


def logged(redactor: Redactor) -> tuple[logging.Logger, io.StringIO]:
    out = io.StringIO()
    stream = logging.StreamHandler(out)
    stream.addFilter(redactor)
    logger = logging.Logger("test")
    logger.addHandler(stream)
    return logger, out


def test_logs_are_cleaned_of_known_secrets_and_of_what_looks_like_one() -> None:
    logger, out = logged(Redactor([Secret(KEY)]))
    logger.warning("sent %s to %s", KEY, {"a": KEY})
    logger.warning("GET /fapi/v1/order?symbol=X&signature=deadbeef01 X-MBX-APIKEY: zzz listenKey=LK77x")
    try:
        raise ValueError(f"bad {KEY}")
    except ValueError:
        logger.exception("failed")
    text = out.getvalue()
    assert "failed" in text
    assert "ValueError" in text
    for secret in (KEY, "deadbeef01", "zzz", "LK77x"):
        assert secret not in text


def test_a_secret_that_is_learnt_later_is_cleaned_too() -> None:
    redactor = Redactor()
    assert redactor.clean(f"a {KEY}") == f"a {KEY}"
    redactor.add(Secret(KEY))
    assert redactor.clean(f"a {KEY}") == "a ***"


def test_a_short_value_does_not_blank_ordinary_text() -> None:
    assert Redactor([Secret("a"), Secret("")]).clean("a plain sentence") == "a plain sentence"
