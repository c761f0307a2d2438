"""The same as demo_stackless.py with asyncio: a task and a queue where that has a tasklet and a
channel, a future for an answer."""

from __future__ import annotations

import asyncio
from random import Random

import corpus
from demo_report import Report


async def know_a_phrase(inbox: asyncio.Queue) -> None:
    """The life of one of the many: learn a word, or answer a question, until told to stop."""
    followers: corpus.Followers = {}
    while True:
        message = await inbox.get()
        if isinstance(message, str):
            followers[message] = followers.get(message, 0) + 1
        elif message is None:
            return
        else:
            message.set_result(followers)   # a question: the message is the future's answer


async def read_files(library: asyncio.Queue, inboxes: dict[corpus.Phrase, asyncio.Queue],
                     report: Report) -> None:
    """Take files from the library; send each word to the task that knows the phrase before."""
    while (path := await library.get()) is not None:
        for phrase, word in corpus.lessons(path):
            if phrase in inboxes:
                await inboxes[phrase].put(word)
                report.messages += 1
        report.files_read += 1


async def ask(inbox: asyncio.Queue) -> corpus.Followers:
    """What the task behind this queue has learned."""
    answer = asyncio.get_running_loop().create_future()
    await inbox.put(answer)
    return await answer


async def write_a_line(inboxes: dict[corpus.Phrase, asyncio.Queue]) -> str:
    """Let the tasks say one word each: the one that comes next."""
    line, chance = list(corpus.SENTENCE_START), Random(1)
    while len(line) < corpus.SENTENCE_LENGTH and (inbox := inboxes.get((line[-2], line[-1]))):
        line.append(corpus.pick(await ask(inbox), chance))
    return " ".join(line)


async def show_progress(report: Report) -> None:
    """One more task: says twice a second how far the readers are."""
    while report.files_read < report.files:
        report.progress("reading")
        await asyncio.sleep(0.5)


async def main(report: Report) -> dict[corpus.Phrase, corpus.Followers]:
    """All of it; the result is what the tasks have learned."""
    paths, phrases = report.paths, report.phrases

    with report.phase("create"):
        inboxes = {phrase: asyncio.Queue(1) for phrase in phrases}
        tasks = [asyncio.create_task(know_a_phrase(inbox)) for inbox in inboxes.values()]
        await asyncio.sleep(0)          # now all of them wait
    report.tasks_alive(sum(not task.done() for task in tasks))

    with report.phase("read"):
        async with asyncio.TaskGroup() as readers:
            library = asyncio.Queue(1)
            for _ in range(corpus.READERS):
                readers.create_task(read_files(library, inboxes, report))
            readers.create_task(show_progress(report))
            for path in paths + [None] * corpus.READERS:
                await library.put(path)

    with report.phase("ask"):
        learned = {phrase: await ask(inbox) for phrase, inbox in inboxes.items()}
        report.messages += 2 * len(learned)
    report.line = await write_a_line(inboxes)

    with report.phase("stop"):
        for inbox in inboxes.values():
            await inbox.put(None)
        while tasks:
            await tasks.pop()
    report.messages += len(inboxes)
    return learned


if __name__ == "__main__":
    Report.run(lambda report: asyncio.run(main(report)))
