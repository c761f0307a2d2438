"""A million tasklets learn which word comes next in Python source.

Every phrase (two neighbouring words) is a tasklet of its own with a channel of its own.  It
sleeps until someone sends it a word that was seen after its phrase; then it counts the word and
sleeps again.  A few other tasklets read the files and send.  When all is read, the million are
asked what they have learned, some of them to write a line of code together.
"""

from __future__ import annotations

from random import Random
from time import monotonic

import corpus
import stackless
from demo_report import Report


def know_a_phrase(inbox: stackless.channel) -> None:
    """The life of one of the million: learn a word, or answer a question, until told to stop."""
    followers: corpus.Followers = {}
    while True:
        message = inbox.receive()
        if isinstance(message, str):
            followers[message] = followers.get(message, 0) + 1
        elif message is None:
            return
        else:
            message.send(followers)     # a question: the message is the channel for the answer


def read_files(library: stackless.channel, inboxes: dict[corpus.Phrase, stackless.channel],
               report: Report) -> None:
    """Take files from the library; send each word to the tasklet that knows the phrase before."""
    while (path := library.receive()) is not None:
        for phrase, word in corpus.lessons(path):
            if phrase in inboxes:
                inboxes[phrase].send(word)
                report.messages += 1
        report.files_read += 1


def ask(inbox: stackless.channel) -> corpus.Followers:
    """What the tasklet behind this channel has learned."""
    answer = stackless.channel()
    inbox.send(answer)
    return answer.receive()


def write_a_line(inboxes: dict[corpus.Phrase, stackless.channel]) -> str:
    """Let the tasklets say one word each: the one that comes next."""
    line, chance = list(corpus.SENTENCE_START), Random(1)
    while len(line) < corpus.SENTENCE_LENGTH and (inbox := inboxes.get((line[-2], line[-1]))):
        line.append(corpus.pick(ask(inbox), chance))
    return " ".join(line)


def show_progress(report: Report) -> None:
    """One more tasklet: says twice a second how far the readers are."""
    due = monotonic()
    while report.files_read < report.files:
        if monotonic() >= due:
            report.progress("reading")
            due += 0.5
        stackless.schedule()


def main(report: Report) -> dict[corpus.Phrase, corpus.Followers]:
    """All of it; the result is what the tasklets have learned."""
    paths, phrases = report.paths, report.phrases

    with report.phase("create"):
        inboxes = {phrase: stackless.channel() for phrase in phrases}
        for inbox in inboxes.values():
            stackless.tasklet(know_a_phrase)(inbox)
        stackless.run()                 # comes back when all of them wait
    report.tasks_alive(sum(-inbox.balance for inbox in inboxes.values()))

    with report.phase("read"):
        library = stackless.channel()
        for _ in range(corpus.READERS):
            stackless.tasklet(read_files)(library, inboxes, report)
        stackless.tasklet(show_progress)(report)
        for path in paths + [None] * corpus.READERS:
            library.send(path)          # waits until one of the readers has time
        stackless.run()

    with report.phase("ask"):
        learned = {phrase: ask(inbox) for phrase, inbox in inboxes.items()}
        report.messages += 2 * len(learned)
    report.line = write_a_line(inboxes)

    with report.phase("stop"):
        for inbox in inboxes.values():
            inbox.send(None)
        stackless.run()
    report.messages += len(inboxes)
    return learned


if __name__ == "__main__":
    Report.run(main)
