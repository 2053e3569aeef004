"""A short form of benchmarks/endurance.py: nothing is left behind by requests, disconnects and faults."""

import pytest

from benchmarks.endurance import endure


@pytest.mark.anyio
async def test_after_many_requests_disconnects_and_faults_the_server_holds_no_more_than_before() -> None:
    report = await endure(requests=300, disconnects=30, faults=30)
    assert report.wrong == []
    assert report.grown() == []
    assert report.sent >= 360
