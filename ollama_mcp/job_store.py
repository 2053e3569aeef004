"""Jobs on disk: what a job has said so far outlives the process that runs it."""

import asyncio
import os
import secrets
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from ollama_mcp.errors import ConfigurationError, ServiceError
from ollama_mcp.job_record import JobRecord

SCHEMA_VERSION = 1
KEPT = 1000
"""Jobs on disk; the oldest give way."""

BUSY_TIMEOUT = 5.0

T = TypeVar("T")


class JobStore:
    """One SQLite file in a directory, which several processes may share; all access is in one thread.

    Each process holds a lock that ends with it, however it ends: a job that is said to run in a process
    whose lock is free is lost.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._owner = secrets.token_hex(8)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="job-store")

    async def open(self) -> None:
        """Open the file or make it; `ConfigurationError` if that cannot be done."""
        try:
            await self._run(self._open)
        except (OSError, sqlite3.Error) as error:
            self._thread.shutdown()
            raise ConfigurationError(f"Jobs cannot be kept in {self._directory}: {error}") from error

    async def save(self, record: JobRecord) -> None:
        """Put a job of this process down as it stands; `ServiceError` if that cannot be done."""
        try:
            await self._run(lambda: self._save(record))
        except sqlite3.Error as error:
            raise ServiceError(f"It cannot be saved in {self._directory}: {error}.") from error

    async def find(self, job_id: str) -> JobRecord | None:
        """A job of any process, None if there is none; `ServiceError` if the file cannot be read."""

        def read() -> JobRecord | None:
            self._mark_lost()
            row = self._jobs.execute("SELECT record FROM jobs WHERE id = ?", (job_id,)).fetchone()
            return JobRecord.model_validate_json(row[0]) if row else None

        return await self._read(read)

    async def newest(self, limit: int) -> list[JobRecord]:
        """The jobs of all processes, the newest first; `ServiceError` if the file cannot be read."""

        def read() -> list[JobRecord]:
            self._mark_lost()
            rows = self._jobs.execute("SELECT record FROM jobs ORDER BY started DESC LIMIT ?", (limit,))
            return [JobRecord.model_validate_json(row[0]) for row in rows]

        return await self._read(read)

    async def aclose(self) -> None:
        """Let go of the file."""

        def close() -> None:
            self._jobs.close()
            self._alive.close()
            self._lock_of(self._owner).unlink(missing_ok=True)

        await self._run(close)
        self._thread.shutdown()

    async def _read(self, work: Callable[[], T]) -> T:
        try:
            return await self._run(work)
        except sqlite3.Error as error:
            raise ServiceError(f"The jobs in {self._directory} cannot be read: {error}.") from error

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _open(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._alive = _connect(self._lock_of(self._owner))
        self._alive.execute("BEGIN EXCLUSIVE")
        self._jobs = _connect(self._directory / "jobs.db")
        self._jobs.execute("PRAGMA journal_mode = WAL")
        self._jobs.execute("PRAGMA synchronous = NORMAL")
        (version,) = self._jobs.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise sqlite3.DatabaseError("its file was made by a newer ollama-mcp; use that, or another directory")
        self._jobs.execute(
            "CREATE TABLE IF NOT EXISTS jobs (id TEXT PRIMARY KEY, state TEXT NOT NULL, owner TEXT NOT NULL, "
            "started REAL NOT NULL, record TEXT NOT NULL)"
        )
        self._jobs.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._mark_lost()

    def _save(self, record: JobRecord) -> None:
        row = (record.id, record.state, self._owner, record.started, record.model_dump_json())
        self._jobs.execute("INSERT OR REPLACE INTO jobs VALUES (?, ?, ?, ?, ?)", row)
        if record.state != "running":
            self._jobs.execute(
                "DELETE FROM jobs WHERE state != 'running' AND id NOT IN "
                "(SELECT id FROM jobs ORDER BY started DESC LIMIT ?)",
                (KEPT,),
            )

    def _mark_lost(self) -> None:
        running = self._jobs.execute("SELECT DISTINCT owner FROM jobs WHERE state = 'running'").fetchall()
        for (owner,) in running:
            if owner == self._owner or self._lives(owner):
                continue
            rows = self._jobs.execute("SELECT record FROM jobs WHERE state = 'running' AND owner = ?", (owner,))
            for (text,) in rows.fetchall():
                record = JobRecord.model_validate_json(text).as_lost()
                self._jobs.execute(
                    "UPDATE jobs SET state = ?, record = ? WHERE id = ?",
                    (record.state, record.model_dump_json(), record.id),
                )
            self._lock_of(owner).unlink(missing_ok=True)

    def _lives(self, owner: str) -> bool:
        path = self._lock_of(owner)
        if not path.exists():
            return False
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as lock:
            try:
                lock.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError:
                return True
        return False

    def _lock_of(self, owner: str) -> Path:
        return self._directory / f"running-{owner}.lock"


def _connect(path: Path) -> sqlite3.Connection:
    # Made here, so that nobody else can read it from the first; SQLite gives its other files the same mode.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    return sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None)
