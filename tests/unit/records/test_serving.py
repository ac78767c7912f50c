"""The socket that the service listens on."""

import asyncio
import socket

from passerelle.cli.serving import listen


async def test_an_answer_in_two_writes_does_not_wait_for_the_clients_acknowledgement():
    answered = asyncio.get_running_loop().create_future()

    async def serve(_reader, writer):
        answered.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    with listen("127.0.0.1", 0) as listening:
        async with await asyncio.start_server(serve, sock=listening):
            _, writer = await asyncio.open_connection(*listening.getsockname())
            assert await answered
            writer.close()
            await writer.wait_closed()
