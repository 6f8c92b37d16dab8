"""Dry runs time pieces of their work as briefly as may be."""

import pytest


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffeval.pricing.stage.ENOUGH", 0.0)
