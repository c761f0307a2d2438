"""await_() from plain functions, with greenback."""
import asyncio

import greenback


async def double(x):
    await asyncio.sleep(0)
    return 2 * x


def plain(n):
    return list(map(lambda x: greenback.await_(double(x)), range(n)))


async def task(n):
    await greenback.ensure_portal()
    return plain(n)


async def main():
    results = await asyncio.gather(*(task(n) for n in range(20)))
    assert results == [[2 * i for i in range(n)] for n in range(20)]
    assert await greenback.with_portal_run(task, 3) == [0, 2, 4]


asyncio.run(main())
