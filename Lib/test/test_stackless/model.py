"""A model of the scheduler in plain Python, and random programs for it.

A program is a list of operations per tasklet.  run_model() executes it by the
rules of the specification, with generators as tasklets; run_real() with real
tasklets.  Both give a log of every result, exception and switch, which must
be equal.

With STACKLESS_DEBUG=shuffle:SEED whoever leaves a tasklet gets any member of
the run queue.  The model then makes the choices that it finds in the log of
the real thing, and everything else must follow from them.

Model of the queue: a list whose first item is the current tasklet; so "the
end of the queue" is the end of the list.
"""

from __future__ import annotations

import functools
import random
import threading
from typing import Any, Callable

import stackless

from .support import SHUFFLED

DEADLOCK = "Deadlock: the last runnable tasklet cannot be blocked."


def first_line(e):
    """What a deadlock's message adds, who waits where, is not the model's matter."""
    return str(e).partition("\n")[0]


class Error(Exception):
    """What programs throw at each other."""


# --- programs ---------------------------------------------------------------

TASKLETS = 5
CHANNELS = 3


def make_program(seed: int, length: int = 12) -> dict[Any, list[tuple]]:
    """The operations of main ("M") and of the tasklets 0 ... TASKLETS - 1."""
    rng = random.Random(seed)
    weights = {
        "schedule": 6, "schedule_remove": 2, "run": 2, "insert": 4, "remove": 2,
        "trun": 3, "switch": 2, "kill": 1, "kill_pending": 1, "throw": 1,
        "throw_pending": 1, "send": 7, "receive": 7, "send_exception": 1,
        "preference": 2, "schedule_all": 1, "close": 1, "open": 1, "tempval": 1,
        "bomb": 1, "block_trap": 1, "spawn": 3, "next": 1, "look": 2, "end": 1,
        "fail": 1, "own_tempval": 2,
    }
    names, numbers = list(weights), list(weights.values())
    serial = 0

    def operation(who):
        nonlocal serial
        serial += 1
        name = rng.choices(names, numbers)[0]
        target = rng.choice(["M", *range(TASKLETS)])
        ch = rng.randrange(CHANNELS)
        if name in ("schedule", "schedule_remove", "look", "run", "end", "fail",
                    "own_tempval"):
            return name, serial
        if name == "spawn":
            return name, rng.randrange(TASKLETS)
        if name in ("send", "send_exception"):
            return name, ch, serial
        if name in ("receive", "close", "open", "next"):
            return name, ch
        if name == "preference":
            return name, ch, rng.choice((-1, 0, 1))
        if name == "schedule_all":
            return name, ch, rng.choice((0, 1))
        if name == "block_trap":
            return name, rng.choice((0, 0, 1))
        return name, target, serial

    program: dict[Any, list[tuple]] = {}
    for who in ("M", *range(TASKLETS)):
        program[who] = [operation(who) for i in range(rng.randrange(length))]
    program["M"] = ([("spawn", i) for i in range(rng.randrange(TASKLETS + 1))]
                    + program["M"] + [("finish", 0)] * 12)
    # Main does not end before the others, and does not raise.
    program["M"] = [op for op in program["M"] if op[0] not in ("end", "fail")]
    return program


# --- the model --------------------------------------------------------------

class Bomb:
    def __init__(self, exc):
        self.exc = exc


class Tasklet:
    def __init__(self, name):
        self.name = name
        self.alive = name == "M"
        self.tempval = None
        self.channel = None
        self.direction = 0
        self.block_trap = False
        self.steps = None       # the generator, once started
        self.pending = None     # what turns tempval into a result

    @property
    def blocked(self):
        return self.channel is not None


class Channel:
    def __init__(self):
        self.waiting = []
        self.preference = -1
        self.schedule_all = 0
        self.closing = False

    @property
    def balance(self):
        return sum(t.direction for t in self.waiting)


class Finished(BaseException):
    """Main's program is at its end."""


class Model:
    def __init__(self, program, choices=None):
        self.program = program
        self.log = []
        self.choices = choices      # who became current, or None: the next
        self.nswitches = 0
        self.main = Tasklet("M")
        self.tasklets = {"M": self.main}
        for i in range(TASKLETS):
            self.tasklets[i] = Tasklet(i)
        self.channels = [Channel() for i in range(CHANNELS)]
        self.queue = [self.main]
        self.current = self.main
        self.watchdogs = []
        self.spawned = set()

    # -- execution --

    def steps(self, t):
        """The program of *t* as a generator of operations."""
        for index, op in enumerate(self.program[t.name]):
            try:
                result = yield op
            except (Error, RuntimeError, ValueError, StopIteration) as e:
                self.log.append((t.name, index, type(e).__name__, first_line(e)))
            except SystemExit as e:
                # TaskletExit; main survives it, others end.
                self.log.append((t.name, index, "TaskletExit"))
                if t is not self.main:
                    raise e
            else:
                self.log.append((t.name, index, result))
                if op[0] == "end":
                    return
                if op[0] == "fail":
                    raise Error(op[1])

    def execute(self):
        value, exc = None, None
        self.main.steps = self.steps(self.main)
        try:
            while True:
                t = self.current
                try:
                    if t.steps is None:
                        t.steps = self.steps(t)
                        if exc is not None:
                            raise exc
                        op = next(t.steps)
                    elif exc is not None:
                        op = t.steps.throw(exc)
                    else:
                        op = t.steps.send(value)
                except StopIteration:
                    if t is self.main:
                        return
                    self.die(t, None)
                except SystemExit:
                    self.die(t, None)
                except Exception as e:
                    self.die(t, e)
                else:
                    try:
                        value, exc = getattr(self, op[0])(*op[1:]), None
                    except (Error, RuntimeError, ValueError, SystemExit) as e:
                        value, exc = None, e
                    except StopIteration as e:
                        value, exc = None, e
                    if self.current is t:
                        if not isinstance(value, Waiting):
                            continue
                value, exc = self.resume()
        finally:
            for t in self.tasklets.values():
                if t.steps is not None:
                    try:
                        t.steps.close()
                    except BaseException:
                        pass

    def resume(self):
        """The pending result of the tasklet that has become the current."""
        t = self.current
        if t in self.watchdogs:
            while True:
                popped = self.watchdogs.pop()
                if popped is t:
                    break
                if popped not in self.queue and not popped.blocked:
                    self.queue.append(popped)
        value, t.tempval = t.tempval, None
        pending, t.pending = t.pending, None
        if isinstance(value, Bomb):
            return None, value.exc
        if pending == "none":
            value = None
        return value, None

    def switch(self, target, pending="value"):
        """Make *target*, a member of the queue, the current tasklet."""
        me = self.current
        me.pending = pending
        if target is not me:
            self.log.append(("switch", me.name, target.name))
            self.nswitches += 1
        i = self.queue.index(target)
        self.queue[:] = self.queue[i:] + self.queue[:i]
        self.current = target
        return WAITING

    def die(self, t, exc):
        self.queue.remove(t)
        if exc is None and self.queue:
            target = self.choose(self.queue)
        else:
            target = self.wakeup_target()
            if target.blocked:
                if exc is None:
                    exc = RuntimeError(
                        "the main tasklet is receiving without a sender available."
                        if target.direction < 0 else
                        "the main tasklet is sending without a receiver available.")
                self.unblock(target)
            if target not in self.queue:
                self.queue.append(target)
            if exc is not None:
                target.tempval = Bomb(exc)
        self.switch(target)
        t.alive = False
        t.tempval = None
        t.steps = None

    def wakeup_target(self):
        return self.watchdogs[-1] if self.watchdogs else self.main

    def unblock(self, t):
        t.channel.waiting.remove(t)
        t.channel = None

    def choose(self, candidates):
        """Who runs next, if that is left to the scheduler."""
        if self.choices is not None and self.nswitches < len(self.choices):
            chosen = self.tasklets[self.choices[self.nswitches]]
            if chosen in candidates:
                return chosen
        return candidates[0]

    def next_when_leaving(self):
        """Who runs if the current tasklet leaves the queue."""
        if len(self.queue) > 1:
            return self.choose(self.queue[1:])
        w = self.wakeup_target()
        if w in self.queue or w.blocked:
            return None
        return w

    def leave(self, target, pending="value"):
        me = self.current
        self.queue.remove(me)
        if target not in self.queue:
            self.queue.append(target)
        return self.switch(target, pending)

    # -- operations --

    def schedule(self, value):
        if len(self.queue) == 1:
            self.current.tempval = None
            return value
        self.current.tempval = value
        return self.switch(self.choose(self.queue[1:]))

    def schedule_remove(self, value):
        me = self.current
        target = self.next_when_leaving()
        if target is None:
            if me is self.wakeup_target():
                me.tempval = None
                return value
            raise RuntimeError(DEADLOCK)
        me.tempval = value
        return self.leave(target)

    def run(self, serial=0):
        if len(self.queue) == 1:
            return None
        self.watchdogs.append(self.current)
        return self.leave(self.choose(self.queue[1:]), "none")

    def finish(self, serial):
        return self.run()

    def end(self, serial):
        return None

    def fail(self, serial):
        return None

    def check_runnable(self, t):
        if t.blocked:
            raise RuntimeError("You cannot run a blocked tasklet")
        if not t.alive:
            raise RuntimeError("You cannot run an unbound(dead) tasklet")

    def insert(self, name, serial):
        t = self.tasklets[name]
        self.check_runnable(t)
        if t not in self.queue:
            self.queue.append(t)

    def remove(self, name, serial):
        t = self.tasklets[name]
        if t.blocked:
            raise RuntimeError("You cannot remove a blocked tasklet.")
        if t is self.current:
            raise RuntimeError("The current tasklet cannot be removed.")
        if t in self.queue:
            self.queue.remove(t)

    def take_own(self):
        value, self.current.tempval = self.current.tempval, None
        return value

    def trun(self, name, serial):
        t = self.tasklets[name]
        self.check_runnable(t)
        if t is self.current:
            return self.take_own()
        if t not in self.queue:
            self.queue.append(t)
        return self.switch(t)

    def switch_to(self, name, serial):
        t = self.tasklets[name]
        self.check_runnable(t)
        if t is self.current:
            return self.take_own()
        if t not in self.queue:
            self.queue.append(t)
        me = self.current
        i = self.queue.index(t)
        self.queue[:] = self.queue[i:] + self.queue[:i]
        self.queue.remove(me)
        return self.switch(t)

    def throw_exc(self, name, exc, pending):
        t = self.tasklets[name]
        if t is self.current:
            raise exc
        if not t.alive:
            if isinstance(exc, SystemExit):
                return None
            raise RuntimeError("You cannot throw to a dead tasklet")
        if t.blocked:
            self.unblock(t)
        if t not in self.queue:
            self.queue.append(t)
        t.tempval = Bomb(exc)
        if pending:
            return None
        return self.switch(t, "none")

    def kill(self, name, serial):
        return self.throw_exc(name, TaskletExit(), False)       # noqa: F821

    def kill_pending(self, name, serial):
        return self.throw_exc(name, TaskletExit(), True)        # noqa: F821

    def throw(self, name, serial):
        return self.throw_exc(name, Error(serial), False)

    def throw_pending(self, name, serial):
        return self.throw_exc(name, Error(serial), True)

    def action(self, number, direction, value):
        ch, me = self.channels[number], self.current
        pending = "none" if direction > 0 else "value"
        if ch.balance * direction < 0:
            p = ch.waiting.pop(0)
            p.channel = None
            if direction > 0:
                mine, p.tempval = None, value
            else:
                mine, p.tempval = p.tempval, None
            if ch.schedule_all:
                target = self.choose(self.queue[1:]) if len(self.queue) > 1 else p
                self.queue.append(p)
                me.tempval = mine
                return self.switch(target, pending)
            if ch.preference == -direction:
                self.queue.insert(1, p)
                me.tempval = mine
                return self.switch(p, pending)
            self.queue.append(p)
            if isinstance(mine, Bomb):
                raise mine.exc
            return mine
        if me.block_trap:
            raise RuntimeError("this tasklet does not like to be blocked.")
        if ch.closing:
            raise ValueError("Send/receive operation on a closed channel")
        target = self.next_when_leaving()
        if target is None:
            raise RuntimeError(DEADLOCK)
        me.tempval = value
        me.channel = ch
        me.direction = direction
        ch.waiting.append(me)
        return self.leave(target, pending)

    def send(self, number, value):
        return self.action(number, 1, value)

    def send_exception(self, number, value):
        return self.action(number, 1, Bomb(Error(value)))

    def receive(self, number):
        return self.action(number, -1, None)

    def next(self, number):
        ch = self.channels[number]
        if ch.closing and ch.balance <= 0:
            return "stop"
        return self.action(number, -1, None)

    def preference(self, number, value):
        self.channels[number].preference = value

    def schedule_all(self, number, value):
        self.channels[number].schedule_all = value

    def close(self, number):
        self.channels[number].closing = True

    def open(self, number):
        self.channels[number].closing = False

    def tempval(self, name, serial):
        t = self.tasklets[name]
        if t.alive and t is not self.current:
            t.tempval = serial

    def own_tempval(self, serial):
        self.current.tempval = serial

    def bomb(self, name, serial):
        t = self.tasklets[name]
        if t.alive and t is not self.current:
            t.tempval = Bomb(Error(serial))

    def block_trap(self, value):
        self.current.block_trap = bool(value)

    def spawn(self, number):
        if number not in self.spawned:
            self.spawned.add(number)
            t = self.tasklets[number]
            t.alive = True
            self.queue.append(t)

    def look(self, serial=0):
        return (
            [t.name for t in self.queue],
            [[t.name for t in ch.waiting] for ch in self.channels],
            [ch.balance for ch in self.channels],
            [(t.alive, t in self.queue or t.blocked, t.blocked,
              t.alive and t not in self.queue and not t.blocked)
             for t in self.tasklets.values()],
        )


class Waiting:
    """The result of an operation that has to wait."""


WAITING = Waiting()

# "switch" is the name of the method above that all switching goes through.
OPERATION_NAMES = {"switch": "switch_to"}


def run_model(program: dict, choices: list | None = None) -> tuple[list, tuple]:
    """The log of *program* by the rules, and the state at its end.

    *choices*: the names of those who became current one after the other, if
    it was not always the next one.
    """
    translated = {
        who: [(OPERATION_NAMES.get(op[0], op[0]), *op[1:]) for op in ops]
        for who, ops in program.items()}
    model = Model(translated, choices)
    model.execute()
    return model.log, model.look()


# --- the real thing ---------------------------------------------------------

def directly(f: Callable) -> Any:
    return f()


def through_map(f: Callable) -> Any:
    return list(map(lambda x: f(), [0]))[0]


def through_max(f: Callable) -> Any:
    results: list = []
    max([0], key=lambda x: results.append(f()))
    return results[0]


def through_exec(f: Callable) -> Any:
    namespace = {"f": f}
    exec("result = f()", namespace)
    return namespace["result"]


# How an operation is reached: softly, or with C functions in between, so that
# its tasklet is left hard.
WAYS = (directly, directly, directly, through_map, through_max, through_exec)


class Real:
    def __init__(self, program, hard=False):
        self.program = program
        self.ways = WAYS if hard else (directly,)
        self.rng = random.Random(1)
        self.log = []
        self.channels = [stackless.channel() for i in range(CHANNELS)]
        self.tasklets = {"M": stackless.getmain()}
        for i in range(TASKLETS):
            self.tasklets[i] = stackless.tasklet()
        self.names = {id(t): name for name, t in self.tasklets.items()}
        self.spawned = set()

    def callback(self, prev, next):
        self.log.append(("switch", self.names[id(prev)], self.names[id(next)]))

    def body(self, name):
        for index, op in enumerate(self.program[name]):
            try:
                # At some depth, so that frames of all ages are suspended.
                way = self.rng.choice(self.ways)
                result = way(functools.partial(self.deeper, op, index % 4))
            except (Error, RuntimeError, ValueError, StopIteration) as e:
                self.log.append((name, index, type(e).__name__, first_line(e)))
            except TaskletExit as e:        # noqa: F821 (a builtin here)
                self.log.append((name, index, "TaskletExit"))
                if name != "M":
                    raise e
            else:
                self.log.append((name, index, result))
                if op[0] == "end":
                    return
                if op[0] == "fail":
                    raise Error(op[1])

    def deeper(self, op, n):
        if n:
            return self.deeper(op, n - 1)
        name = op[0]
        if name == "schedule":
            return stackless.schedule(op[1])
        if name == "schedule_remove":
            return stackless.schedule_remove(op[1])
        if name in ("run", "finish"):
            return stackless.run()
        if name in ("end", "fail"):
            return None
        if name == "look":
            return self.look()
        if name == "spawn":
            if op[1] not in self.spawned:
                self.spawned.add(op[1])
                self.tasklets[op[1]].bind(self.body)(op[1])
            return None
        if name == "block_trap":
            stackless.getcurrent().block_trap = op[1]
            return None
        if name == "own_tempval":
            stackless.getcurrent().tempval = op[1]
            return None
        if name in ("send", "send_exception", "receive", "next", "preference",
                    "schedule_all", "close", "open"):
            ch = self.channels[op[1]]
            if name == "send":
                return ch.send(op[2])
            if name == "send_exception":
                return ch.send_exception(Error, op[2])
            if name == "receive":
                return ch.receive()
            if name == "next":
                for x in ch:
                    return x
                return "stop"
            if name == "close":
                return ch.close()
            if name == "open":
                return ch.open()
            setattr(ch, name, op[2])
            return None
        t = self.tasklets[op[1]]
        if name == "insert":
            t.insert()
        elif name == "remove":
            t.remove()
        elif name == "trun":
            return t.run()
        elif name == "switch":
            return t.switch()
        elif name == "kill":
            return t.kill()
        elif name == "kill_pending":
            return t.kill(True)
        elif name == "throw":
            return t.throw(Error, op[2])
        elif name == "throw_pending":
            return t.throw(Error(op[2]), pending=True)
        elif name == "tempval":
            if t.alive and not t.is_current:
                t.tempval = op[2]
        elif name == "bomb":
            if t.alive and not t.is_current:
                t.tempval = stackless.bomb(Error, op[2])
        else:
            raise AssertionError(name)

    def look(self):
        queue = []
        t = stackless.getcurrent()
        for i in range(stackless.getruncount()):
            queue.append(self.names[id(t)])
            assert t.next.prev is t
            t = t.next
        waiting = []
        for ch in self.channels:
            waiting.append([])
            t = ch.queue
            while t is not None:
                waiting[-1].append(self.names[id(t)])
                t = t.next
        return (
            queue, waiting, [ch.balance for ch in self.channels],
            [(t.alive, t.scheduled, t.blocked, t.paused)
             for t in self.tasklets.values()],
        )


class Callback:
    """The schedule callback, for any number of threads."""

    def __init__(self):
        self.reals: dict[int, Real] = {}

    def __call__(self, prev, next):
        real = self.reals.get(threading.get_ident())
        if real is not None and prev is not None:
            real.callback(prev, next)


def run_real(program: dict, hard: bool = False,
             callback: Callback | None = None) -> tuple[list, tuple]:
    """The log of *program* with real tasklets, and the state at its end.

    *callback*: one that is set already, for those who run several at once.
    """
    real = Real(program, hard)
    reals = {} if callback is None else callback.reals
    if callback is None:
        stackless.set_schedule_callback(real.callback)
    reals[threading.get_ident()] = real
    try:
        real.body("M")
        state = real.look()
        log = list(real.log)
    finally:
        del reals[threading.get_ident()]
        if callback is None:
            stackless.set_schedule_callback(None)
        stackless.getmain().block_trap = False
        stackless.getmain().tempval = None
        for t in real.tasklets.values():
            if not t.is_main:
                if t.blocked:
                    # Whatever is in the queue stays there.
                    t.kill(pending=True)
                t.remove()
                while t in stackless.getuncollectables():
                    t.kill()
                t.bind(None)
    return log, state


def check(seed: int, length: int = 12, hard: bool = False,
          callback: Callback | None = None) -> None:
    """Raise an AssertionError if the real thing differs from the model."""
    program = make_program(seed, length)
    if SHUFFLED:
        log, state = run_real(program, hard, callback)
        expected, final = run_model(
            program, [entry[2] for entry in log if entry[0] == "switch"])
    else:
        expected, final = run_model(program)
        if callback is not None and any(DEADLOCK in entry for entry in expected):
            return                  # with other threads there it sleeps instead
        log, state = run_real(program, hard, callback)
    for i, (a, b) in enumerate(zip(log, expected)):
        if a != b:
            before = "\n".join(map(str, log[max(0, i - 15):i]))
            raise AssertionError(
                f"seed {seed}, length {length}, hard {hard}, entry {i}:\n{before}\n"
                f"  real:  {a}\n  model: {b}\n  program: "
                + "\n    ".join(f"{k}: {v}" for k, v in program.items()))
    assert len(log) == len(expected), (seed, log[len(expected):],
                                       expected[len(log):])
    assert state == final, (seed, state, final)


def check_threads(seeds: list[range], length: int, hard: bool) -> None:
    """As many threads as there are *seeds*, each with scheduler and programs of its own."""
    callback = Callback()
    errors: list[BaseException] = []

    def thread(mine):
        try:
            for seed in mine:
                check(seed, length, hard, callback)
        except BaseException as e:
            errors.append(e)
    threads = [threading.Thread(target=thread, args=(mine,)) for mine in seeds]
    stackless.set_schedule_callback(callback)
    try:
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    finally:
        stackless.set_schedule_callback(None)
    if errors:
        raise errors[0]
