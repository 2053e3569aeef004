"""A fixed share of a core for a process, by Linux's control groups, of either version; only root may."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
PERIOD = 20_000
"""Microseconds in each of which the share may be used; short, so that a process that has used it up waits little."""


def can_budget() -> bool:
    """Whether this system and this user can."""
    return os.access(_root(), os.W_OK)


@contextmanager
def cpu_budget(name: str, pid: int, share: float) -> Iterator[None]:
    """Keep a process to so much of a core until the end of the block."""
    root, quota = _root(), int(PERIOD * share)
    folder = root / f"ollama-mcp-{os.getpid()}-{name}"
    if root == GROUPS:
        (root / "cgroup.subtree_control").write_text("+cpu")
        limits = {"cpu.max": f"{quota} {PERIOD}"}
    else:
        limits = {"cpu.cfs_period_us": str(PERIOD), "cpu.cfs_quota_us": str(quota)}
    folder.mkdir()
    try:
        for file, limit in limits.items():
            (folder / file).write_text(limit)
        (folder / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        for member in (folder / "cgroup.procs").read_text().split():
            (root / "cgroup.procs").write_text(member)
        folder.rmdir()


def _root() -> Path:
    second = GROUPS / "cgroup.controllers"
    return GROUPS if second.exists() and "cpu" in second.read_text().split() else GROUPS / "cpu"
