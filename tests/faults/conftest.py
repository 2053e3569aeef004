"""Processes to fork from."""

from collections.abc import Iterator

import pytest

from tests.forked import Parent, parent


@pytest.fixture(scope="package")
def forks() -> Iterator[Parent]:
    with parent() as forks:
        yield forks
