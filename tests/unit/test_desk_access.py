"""services.publisher.desk.access: the key of the desk."""

from __future__ import annotations

import base64

import pytest

from services.publisher.desk.access import DeskKey

KEY = "correct:horse-battery.staple"


def basic(text: str, scheme: str = "Basic") -> str:
    return f"{scheme} {base64.b64encode(text.encode()).decode()}"


@pytest.mark.parametrize("user", ["", "ada", "someone else", "ä"])
@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
def test_the_key_opens_the_desk_with_any_user_name(user: str, scheme: str) -> None:
    assert DeskKey(KEY).opens(basic(f"{user}:{KEY}", scheme))


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic ",
        f"Bearer {KEY}",
        basic(f"ada:{KEY}", "Bearer"),
        basic(KEY.replace(":", "")),
        basic("ada:"),
        basic(f"ada:{KEY}x"),
        basic(f"ada:{KEY[:-1]}"),
        basic(f"ada:{KEY.upper()}"),
        f"Basic ada:{KEY}",
        "Basic ====",
        "Basic Zm9v\x80",
        "Basic " + "A" * 8_000,
    ],
)
def test_anything_else_does_not(authorization: str) -> None:
    assert not DeskKey(KEY).opens(authorization)


def test_the_key_is_not_stored() -> None:
    key = DeskKey(KEY)
    assert KEY not in repr(vars(key))
