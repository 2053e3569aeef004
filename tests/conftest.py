"""What all tests share."""

from collections.abc import Iterator

import pytest

from tests.forked import Parent, parent


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def forks() -> Iterator[Parent]:
    """What starts the console command without its imports."""
    with parent() as forks:
        yield forks
