"""See table.py: whatever the daemon's state, the outcome is that of huggingface_hub alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import table
from conftest import Hub

# It takes minutes.
pytestmark = pytest.mark.skipif(os.environ.get("ZEST_TEST_TABLE") != "1", reason="ZEST_TEST_TABLE=1 is not set")


@pytest.fixture(scope="session")
def small_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    yield from table.table_hub(tmp_path_factory.mktemp("small-hub"))


@pytest.mark.parametrize("is_plain", [False, True], ids=["xet", "plain"])
@pytest.mark.parametrize("state", table.STATES)
def test_the_outcome_is_that_of_huggingface_hub_alone(
    small_hub: Hub, hub_version: str, state: str, is_plain: bool, tmp_path: Path
) -> None:
    if state == "another user's" and os.geteuid() != 0:
        pytest.skip("only root can be another user")
    try:
        cells = table.column(small_hub, tmp_path / "user", hub_version, state, is_plain)
    except LookupError as error:
        pytest.skip(str(error))
    wrong = [text for cell in cells for text in cell.differences(state, hub_version, is_plain)]
    assert not wrong, "\n".join(wrong)
