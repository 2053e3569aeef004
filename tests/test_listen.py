"""The listening socket of the HTTP server."""

import asyncio
import socket

import pytest

from ollama_mcp.serve import _listen


@pytest.mark.anyio
async def test_a_small_write_does_not_wait_for_the_one_before_to_be_acknowledged() -> None:
    accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def look(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        accepted.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    listener = _listen("127.0.0.1", 0)
    async with await asyncio.start_server(look, sock=listener):
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        assert await accepted
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
