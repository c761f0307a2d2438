"""Pickles and states of tasklets that were changed: an exception, or a tasklet; never a crash.

    python -m test.test_stackless.damaged [SEED [NUMBER]]

makes that many (100,000) of each; the test suite a few.
"""

from __future__ import annotations

import pickle
import random
import sys
import time
import warnings

import stackless
from stackless import tasklet

from . import pickling
from .constructs import SOFT, WARM
from .constructs_inline import INLINED

EVERY = {**SOFT, **WARM, **INLINED}


def load_or_not(data):
    """Damaged pickles: 1 if it was loaded, 0 if that raised an exception."""
    warnings.simplefilter("ignore")
    try:
        t = pickle.loads(data)
        if isinstance(t, tasklet) and t.alive and not t.blocked:
            t.insert()
            stackless.run(10000)
        loaded = 1
    except (Exception, TaskletExit):
        loaded = 0
    for _ in range(5):
        if stackless.getruncount() > 1:
            t = stackless.getcurrent().next
            t.remove()
    return loaded


def change_state(state, rnd):
    """A tasklet's state with something changed in a frame."""
    frames = list(state[3])
    i = rnd.randrange(len(frames))
    frame = list(frames[i])
    values = [x for f in frames for x in f] + [None, 0, 1, -1, "", (), [], {}, 1 << 70]
    how = rnd.randrange(7)
    j = rnd.randrange(len(frame))
    if how == 0:
        frame[j] = rnd.choice(values)
    elif how == 1:
        del frame[j]
    elif how == 2:
        frame.insert(j, rnd.choice(values))
    elif how == 3:
        k = rnd.randrange(len(frame))
        frame[j], frame[k] = frame[k], frame[j]
    elif how == 4:
        numbers = [k for k, x in enumerate(frame) if type(x) is int]
        if numbers:
            k = rnd.choice(numbers)
            frame[k] = max(0, frame[k] + rnd.choice((-4, -3, -2, -1, 1, 2, 3, 4, 1 << rnd.randrange(9))))
    elif how == 5:
        del frames[i]
        return (*state[:3], frames, *state[4:])
    else:
        frames.insert(rnd.randrange(len(frames) + 1), rnd.choice(frames))
        return (*state[:3], frames, *state[4:])
    frames[i] = tuple(frame)
    return (*state[:3], frames, *state[4:])


def build_changed(name, seed, times):
    """Build tasklets that are not as they were, and run what comes of it."""
    rnd = random.Random(f"{name} {seed}")
    t = tasklet(pickling.task)(EVERY[name], [])
    t.run()
    data = pickling.dumps(t) if name not in pickling.REFUSED else None
    t.run()
    for _ in range(times if data else 0):
        copied = pickle.loads(data)
        state = copied.__reduce__()[2]
        copied.bind(None)
        try:
            other = tasklet()
            other.__setstate__(change_state(state, rnd))
            other.insert()
            stackless.run(2000)
        except (Exception, TaskletExit):
            pass
        while stackless.getruncount() > 1:
            stackless.getcurrent().next.remove()


NAMES = sorted(set(EVERY) - set(pickling.REFUSED))


def damaged(rnd, number, names=NAMES[::20]):
    """Pickles of tasklets in these constructs in which some bytes are others."""
    samples = []
    for name in names:
        t = tasklet(pickling.task)(EVERY[name], [])
        t.run()
        samples.append(pickling.dumps(t, 2))
        t.run()
    for _ in range(number):
        data = bytearray(rnd.choice(samples))
        for _ in range(rnd.choice((1, 1, 1, 2, 3))):
            data[rnd.randrange(len(data))] = rnd.choice((rnd.randrange(256), 0, 1, 255))
        yield bytes(data)


def main(seed: int, number: int) -> int:
    print("seed", seed)
    other, crashes = pickling.OtherProcess(), 0

    def call(function, *args):
        nonlocal other, crashes
        try:
            other.call(function, *args)
        except RuntimeError as e:
            crashes += 1
            print(e, args if len(args) > 1 else args[0][:2000], flush=True)
            other = pickling.OtherProcess()
    rnd = random.Random(seed)
    for start in range(0, number, 500):
        for data in damaged(rnd, min(500, number - start), rnd.sample(NAMES, 8)):
            call(load_or_not, data)
    for name in sorted(EVERY):
        call(build_changed, name, seed, max(1, number // len(EVERY)))
    print(f"{number} pickles, as many states, {crashes} crashes")
    other.close()
    return crashes != 0


if __name__ == "__main__":
    from test.test_stackless import damaged as module    # pickles name it
    arguments = [int(word) for word in sys.argv[1:]]
    sys.exit(module.main(*arguments, *(int(time.time()), 100_000)[len(arguments):]))
