"""What nbval replaces before it compares, wherever pytest is called from."""

from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("nbval_sanitize_with", None):
        config.option.nbval_sanitize_with = str(Path(__file__).with_name("sanitize.cfg"))
