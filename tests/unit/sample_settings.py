"""Refused settings for tests."""

from __future__ import annotations

import pytest

from services.runtime import settings
from services.runtime.errors import ConfigurationError


def refused() -> str:
    """The error of settings from the environment. Its cause quotes no value that begins with `planted`."""
    with pytest.raises(ConfigurationError) as caught:
        settings.load()
    assert caught.value.__cause__ is None or "planted" not in str(caught.value.__cause__)
    return str(caught.value)
