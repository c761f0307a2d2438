"""Run random programs of operations (operations.py), and see that nothing is wrong."""
from __future__ import annotations

import contextlib
import gc
import os
import random
import signal
import sys
import threading
import types
from typing import Any

import greenlet
import stackless

import operations
from case import Case
from wild import TOOL, Wild
from ways import INLINED, WAYS, Loader
from world import Error, World

MOST_KILLS = 300
# Is the next tasklet chosen at random?
SHUFFLED = "shuffle" in os.environ.get("STACKLESS_DEBUG", "")
SIMPLEST: dict[str, Any] = {"wild": False, "seed": 0, "ways": ["directly"], "hard": False, "repeat": 1}


def make_case(seed: int) -> Case:
    rng = random.Random(f"operations {seed}")
    wild = rng.random() < 0.5
    ways = rng.sample(sorted(WAYS), rng.randint(1, 6)) + ["directly"] * rng.choice((0, 2))
    if rng.random() < 0.3:
        ways = rng.sample(INLINED, 4)
    variant = {"wild": wild, "seed": seed, "ways": ways, "hard": rng.random() < 0.2, "repeat": rng.choice((1, 1, 2, 4))}
    return Case("operations", operations.make_program(seed, "wild" if wild else "compare"), variant)


def check(source: str, variant: dict[str, Any]) -> str:
    sys.meta_path.insert(0, Loader)
    try:
        return attack(source, variant) if variant["wild"] else compare(source, variant)
    finally:
        sys.meta_path.remove(Loader)


# --- compare ---------------------------------------------------------------------------------

def compile_it(source: str) -> types.CodeType:
    return compile(source, "<operations>", "exec", dont_inherit=True)


def compare(source: str, variant: dict[str, Any]) -> str:
    """Softly with cold call sites, which is the reference, and in other ways with cold and warm ones."""
    expected = run(compile_it(source), World(["directly"]), False)
    code = compile_it(source)
    for _ in range(variant["repeat"]):
        entries = run(code, World(variant["ways"]), variant["hard"])
        if entries != expected and not SHUFFLED:
            return difference(entries, expected)
    return ""


def difference(entries: list[Any], expected: list[Any]) -> str:
    i = next((i for i, (a, b) in enumerate(zip(entries, expected)) if a != b), min(len(entries), len(expected)))
    before = "".join(f"    {entry}\n" for entry in entries[max(0, i - 8):i])
    return (f"difference: operations\nentry {i}, after\n{before}  directly, softly: {expected[i:i + 1]}\n"
            f"  here:             {entries[i:i + 1]}")


def run(code: types.CodeType, world: World, hard: bool) -> list[Any]:
    """The log."""
    namespace = world.namespace()
    exec(code, namespace)
    stackless.enable_softswitch(not hard)
    try:
        namespace["main"]()
        for _ in range(4):
            stackless.run()
    except BaseException as e:
        world.entries.append(("main ends", world.show(e)))
        if isinstance(e, SystemError):
            raise
    finally:
        world.ending = True
        entries = world.entries.copy()
        tidy(world)
    return entries


def tidy(world: World) -> None:
    """Everything ends, and the scheduler is as before."""
    world.ending = True
    reset_scheduler()
    everybody = [x for x in (*world.T, *world.G, *world.saved.values()) if x not in (world.home, world.main)]
    for _ in range(MOST_KILLS):
        living = [x for x in everybody if alive(x)]
        if not living and stackless.getruncount() == 1:
            break
        for x in living:
            end(x)
        with contextlib.suppress(BaseException):
            stackless.run()
        reset_scheduler()
    else:
        if not isinstance(world, Wild):
            living = [world.show(x) for x in everybody if alive(x)]
            raise Error(f"cannot be killed: {living}, {stackless.getruncount()} runnable")


def reset_scheduler() -> None:
    """What programs set."""
    stackless.set_schedule_callback(None)
    stackless.set_channel_callback(None)
    stackless.set_error_handler(None)
    greenlet.settrace(None)
    stackless.enable_softswitch(True)
    stackless.switch_trap(-stackless.switch_trap(0))
    me = stackless.getcurrent()
    me.block_trap = False
    me.set_atomic(False)
    me.set_ignore_nesting(False)


def alive(x: Any) -> bool:
    return x.alive if isinstance(x, stackless.tasklet) else bool(x)


def end(x: Any) -> None:
    with contextlib.suppress(BaseException):
        if isinstance(x, stackless.tasklet):
            x.kill()
        else:
            x.throw()


# --- wild ------------------------------------------------------------------------------------

def attack(source: str, variant: dict[str, Any]) -> str:
    code = compile_it(source)
    wrong: list[str] = []
    for _ in range(variant["repeat"]):
        sys.unraisablehook = lambda args: note_error(wrong, args.exc_value)
        attack_once(code, variant, wrong)
        gc.collect()
    sys.unraisablehook = sys.__unraisablehook__
    return "\n".join(wrong)


def note_error(wrong: list[str], error: BaseException | None) -> None:
    """That one means that our C code, or upstream's, is at a loss."""
    if isinstance(error, SystemError):
        wrong.append(f"error: SystemError: {error}")


def attack_once(code: types.CodeType, variant: dict[str, Any], wrong: list[str]) -> None:
    world = Wild(variant["ways"])
    done = threading.Event()
    waker = threading.Thread(target=wake_those_that_wait, args=(world, done), daemon=True)
    waker.start()
    try:
        run(code, world, variant["hard"])
    except BaseException as e:          # of a signal handler, for instance, in our code
        note_error(wrong, e)
    reset()
    tidy(world)
    for thread in world.threads:
        thread.join(10)
        if thread.is_alive():
            wrong.append("hang: a thread does not end")
    done.set()
    waker.join()


def wake_those_that_wait(world: Wild, done: threading.Event) -> None:
    """Programs with threads may wait for ever, with good reason: deadlocks are not told then."""
    if not done.wait(0.3):
        world.ending = True
        while not done.wait(0.02):
            world.wake()


def reset() -> None:
    """What else programs set."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    sys.settrace(None)
    sys.setprofile(None)
    gc.callbacks.clear()
    if sys.monitoring.get_tool(TOOL) is not None:
        sys.monitoring.set_events(TOOL, 0)
        sys.monitoring.free_tool_id(TOOL)
    reset_scheduler()
