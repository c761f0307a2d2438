"""uvloop (Cython): asyncio on libuv."""
import asyncio

import uvloop


async def echo(reader, writer):
    while data := await reader.readline():
        writer.write(data.upper())
    writer.close()


async def client(port, number):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for turn in range(10):
        writer.write(f"{number} says {turn}\n".encode())
        assert await reader.readline() == f"{number} SAYS {turn}\n".encode()
    writer.close()


async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await asyncio.gather(*(client(port, number) for number in range(20)))
    server.close()


uvloop.run(main())
