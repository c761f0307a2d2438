"""Run a random program (grammar.py) plainly and in tasklets, and compare what it did.

The reference is a call of main() outside of tasklets, in this interpreter.  A
*variant* tells how it runs the other time.  In both, S(), schedule() and
take() do the same as far as the program can see; in a tasklet they switch.
"""
from __future__ import annotations

import collections
import contextvars
import dataclasses
import gc
import importlib.util
import itertools
import random
import re
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

import greenlet
import stackless

from case import Case
from grammar import make_program

BUDGET = 250            # calls of ev() and S()
TOOL = 3                # of sys.monitoring
LONGEST = 20000         # of the logs to be compared
ROUNDS = 20000          # of the driver; more means that nothing goes on


class Error(Exception):
    """Of the harness."""


class Budget(BaseException):
    """The program has done enough."""


class Injected(Exception):
    """Raised at a place where the program waits."""


@dataclasses.dataclass
class Variant:
    """How a program runs when it does not run plainly."""
    seed: int = 0
    kind: str = "tasklet"               # or greenlet
    ways: tuple[str, ...] = ("schedule",)       # what S() does, one of these
    hard: bool = False                  # every switch
    via: str = ""                       # the C function that calls main()
    instances: int = 1                  # run at the same time
    shared: bool = False                # with one code object, also with the reference
    bystanders: tuple[str, ...] = ()
    ticks: int = 0                      # time slices of up to so many
    options: tuple[str, ...] = ()       # of stackless.run()
    instrument: str = ""                # trace, profile, monitor ...
    inject: tuple[int, ...] = ()        # the calls of S() that raise
    thread: bool = False
    warm: int = 0                       # plain runs before

    @classmethod
    def random(cls, seed: int) -> Variant:
        rng = random.Random(f"variant {seed}")

        def some(names: tuple[str, ...], most: int) -> tuple[str, ...]:
            return tuple(rng.sample(names, rng.randint(0, most)))
        kind = rng.choice(("tasklet", "tasklet", "tasklet", "greenlet"))
        ways = some(tuple(WAYS), 4) or ("schedule",)
        if kind == "greenlet":
            ways = ("leave", "leave", *ways[:2])
        v = cls(seed, kind, ways)
        v.hard = rng.random() < 0.15
        v.via = rng.choice(("", "", "", "map", "sort", "exec"))
        v.instances = rng.choice((1, 1, 2, 3))
        v.shared = rng.random() < 0.6
        v.bystanders = some(tuple(BYSTANDERS), 2)
        v.ticks = rng.choice((0, 0, 3, 10, 60)) if kind == "tasklet" else 0
        v.options = some(("soft", "ignore_nesting", "totaltimeout"), 2)
        v.instrument = rng.choice(("",) * 7 + INSTRUMENTS)
        if rng.random() < 0.4:
            v.inject = tuple(sorted(rng.sample(range(40), rng.randint(1, 4))))
        v.thread = rng.random() < 0.1
        v.warm = rng.choice((0, 0, 0, 1, 5))
        if v.instrument.startswith("monitor"):
            v.shared = v.instances == 1 and v.shared
            # Upstream's: INSTRUCTION events end when sys.settrace() is called below.
            v.bystanders = tuple(b for b in v.bystanders if b != "tracing")
        elif v.instrument and kind == "greenlet":
            v.instances = 1                 # trace functions stay with the thread
        return v


INSTRUMENTS = ("trace", "opcodes", "profile", "monitor", "monitor instructions", "trace and profile")


# --- making values comparable -----------------------------------------------------

ADDRESS = re.compile(r"0x[0-9a-fA-F]+")
SHOWN = (int, str, bool, float, type(None), types.EllipsisType)


def show(x: Any, depth: int = 3) -> Any:
    """Something to compare; runs no code of the program's."""
    kind = type(x)
    if kind in SHOWN:
        return ADDRESS.sub("ADDRESS", x) if kind is str else x
    if kind in (list, tuple) and depth:
        return (kind.__name__, *(show(item, depth - 1) for item in x))
    if kind is dict and depth:
        return ("dict", *((show(k, depth - 1), show(v, depth - 1)) for k, v in x.items()))
    if isinstance(x, type) and type.__subclasscheck__(BaseException, x):
        return type.__dict__["__name__"].__get__(x)
    if issubclass(kind, BaseException):
        return ("exception", kind.__name__, show(BaseException.args.__get__(x), depth - 1))
    return f"<{type.__dict__['__name__'].__get__(kind)}>"


# --- modules to import ------------------------------------------------------------

MODULE = """
ev("importing", __name__)
S()
number = schedule(5)
ev(number, S())
if __name__.endswith("2"):
    raise Injected(__name__)
"""


class Finder:
    """In sys.meta_path: modules named fuzzed<number of the program>_<number>."""
    instances: dict[str, Instance] = {}

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> Any:
        if name.partition("_")[0] not in cls.instances:
            return None
        return importlib.util.spec_from_loader(name, cls)

    @staticmethod
    def create_module(spec: Any) -> None:
        return None

    @classmethod
    def exec_module(cls, module: types.ModuleType) -> None:
        instance = cls.instances[module.__name__.partition("_")[0]]
        module.__dict__.update(instance.namespace(), __name__=module.__name__)
        exec(compile(MODULE, instance.file, "exec"), module.__dict__)

    @classmethod
    def forget_modules(cls, instance: Instance) -> None:
        prefix = instance.file.strip("<>")
        cls.instances[prefix] = instance
        for name in list(sys.modules):
            if name.startswith(f"{prefix}_"):
                del sys.modules[name]


# --- one run ------------------------------------------------------------------------

SHARED_VAR: contextvars.ContextVar[Any] = contextvars.ContextVar("VAR")


class Instance:
    """A program and what it does.  Plain unless a runner says how to switch."""

    def __init__(self, file: str, code: types.CodeType, variant: Variant) -> None:
        self.file, self.code, self.variant = file, code, variant
        self.log: list[Any] = []
        self.calls = self.switches = 0
        self.done = self.recursed = False
        self.switch: Callable[[int], None] = self.switch_not
        self.var: contextvars.ContextVar[Any] = contextvars.ContextVar("VAR")
        self.take: Callable[[], int] = collections.deque(range(1000, 2000)).popleft

    def namespace(self) -> dict[str, Any]:
        return {"__name__": "program", "FILE": self.file, "ev": self.ev, "where": self.where, "handled": self.handled,
                "S": self.S, "schedule": stackless.schedule, "take": self.take, "VAR": self.var, "Injected": Injected}

    # What the program calls.

    def ev(self, *args: Any) -> int:
        self.spend()
        self.log.append(("ev", *map(show, args)))
        return self.calls

    def spend(self) -> None:
        self.calls += 1
        if self.calls > BUDGET:
            raise Budget

    def S(self) -> int:
        self.spend()
        self.switches += 1
        n = self.switches
        self.switch(n)
        return n

    def switch_not(self, n: int) -> None:
        if n in self.variant.inject:
            raise Injected(n)

    def where(self, *tag: Any) -> int:
        stack, frame = [], sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_filename == self.file:
                stack.append((frame.f_code.co_name, frame.f_lineno, frame.f_lasti, sorted(frame.f_locals)))
            frame = frame.f_back
        self.log.append(("where", *tag, *stack))
        return len(stack)

    def handled(self, *tag: Any) -> int:
        self.log.append(("handled", *tag, self.describe(sys.exception())))
        return len(self.log)

    # What it is compared by.

    def describe(self, exc: BaseException | None, depth: int = 6) -> Any:
        """With contexts, causes, notes, and the positions in the program."""
        if exc is None or not depth:
            return exc is None
        self.recursed = self.recursed or isinstance(exc, RecursionError)
        tb, lines = exc.__traceback__, []
        while tb is not None:
            if tb.tb_frame.f_code.co_filename == self.file:
                lines.append((tb.tb_frame.f_code.co_name, tb.tb_lineno, tb.tb_lasti))
            tb = tb.tb_next
        inner = [self.describe(e, depth - 1) for e in exc.exceptions] if isinstance(exc, BaseExceptionGroup) else []
        return (type(exc).__name__, show(exc.args), lines, getattr(exc, "__notes__", []), exc.__suppress_context__,
                inner, self.describe(exc.__cause__, depth - 1), self.describe(exc.__context__, depth - 1))

    def run(self) -> None:
        """All of it, in whatever tasklet this is."""
        Finder.forget_modules(self)
        try:
            namespace = self.namespace()
            exec(self.code, namespace)
            self.log.append(("returned", show(self.call(namespace["main"]))))
        except BaseException as e:
            self.log.append(("raised", self.describe(e)))
        finally:
            self.done = True

    def call(self, main: Callable[[], Any]) -> Any:
        via = self.variant.via
        with instrumented(self):
            if via == "map":
                return list(map(lambda x: main(), [1]))[0]
            if via == "sort":
                results: list[Any] = []
                sorted([1], key=lambda x: results.append(main()))
                return results[0]
            if via == "exec":
                space: dict[str, Any] = {"main": main}
                exec("result = main()", space)
                return space["result"]
            return main()


# --- trace functions and their like ----------------------------------------------

class instrumented:
    """A context manager: the program's events go to its log."""

    def __init__(self, instance: Instance) -> None:
        self.instance, self.how = instance, instance.variant.instrument

    def __enter__(self) -> None:
        if self.how.startswith("monitor"):
            start_monitoring(self.instance, "instructions" in self.how)
        if "profile" in self.how:
            sys.setprofile(self.profile)
        if "trace" in self.how or "opcodes" in self.how:
            sys.settrace(self.trace)

    def __exit__(self, *exc: object) -> None:
        if "trace" in self.how or "opcodes" in self.how:
            sys.settrace(None)
        if "profile" in self.how:
            sys.setprofile(None)

    def trace(self, frame: types.FrameType, event: str, arg: Any) -> Any:
        if frame.f_code.co_filename != self.instance.file:
            return None
        frame.f_trace_opcodes = self.how == "opcodes"
        arg = self.instance.describe(arg[1]) if event == "exception" else show(arg)
        self.instance.log.append(("trace", event, frame.f_code.co_name, frame.f_lineno, frame.f_lasti, arg))
        return self.trace

    def profile(self, frame: types.FrameType, event: str, arg: Any) -> None:
        if frame.f_code.co_filename != self.instance.file:
            return
        if event.startswith("c_"):
            arg = "take" if arg == self.instance.take else arg.__name__
        self.instance.log.append(("profile", event, frame.f_code.co_name, frame.f_lineno, show(arg)))


EVENTS = ("PY_START", "PY_RESUME", "PY_RETURN", "PY_YIELD", "PY_THROW", "PY_UNWIND", "RAISE", "RERAISE",
          "STOP_ITERATION",
          "EXCEPTION_HANDLED", "LINE", "BRANCH", "JUMP", "CALL", "C_RETURN", "C_RAISE")
# Of all programs that run, by file.
MONITORED: dict[str, Instance] = {}


def monitor(name: str) -> Callable[..., None]:
    def callback(code: types.CodeType, *args: Any) -> None:
        instance = MONITORED.get(code.co_filename)
        if instance is not None:
            if name in ("RAISE", "PY_UNWIND"):
                # Upstream's offset depends on whether the call that raised was inlined.
                args = args[1:]
            shown = ["take" if a is instance.take else getattr(a, "__name__",
                                                               None) if callable(a) else show(a) for a in args]
            instance.log.append(("monitor", name, code.co_name, *shown))
    return callback


def start_monitoring(instance: Instance, instructions: bool) -> None:
    events = sys.monitoring.events
    if sys.monitoring.get_tool(TOOL) is None:
        sys.monitoring.use_tool_id(TOOL, "fuzz")
    mask = 0
    for name in EVENTS + ("INSTRUCTION",) * instructions:
        if name not in ("C_RETURN", "C_RAISE"):
            mask |= getattr(events, name)
        sys.monitoring.register_callback(TOOL, getattr(events, name), monitor(name))
    MONITORED[instance.file] = instance
    sys.monitoring.set_events(TOOL, mask)


def stop_monitoring() -> None:
    if sys.monitoring.get_tool(TOOL) is not None:
        sys.monitoring.set_events(TOOL, 0)
    MONITORED.clear()


# --- in tasklets and greenlets --------------------------------------------------------

class Runner:
    """Runs some instances at the same time, and disturbs them."""

    def __init__(self, instances: list[Instance], variant: Variant) -> None:
        self.variant, self.instances = variant, instances
        self.rng = random.Random(variant.seed)
        self.channel = stackless.channel()
        self.channel.preference = self.rng.choice((-1, 0, 1))
        self.feeders: list[stackless.tasklet] = []
        self.home = greenlet.getcurrent()
        self.sleepers: list[stackless.tasklet] = []         # wait to be inserted
        self.left: list[greenlet.greenlet] = []             # wait to be switched to
        self.to_be_thrown: list[tuple[Any, int]] = []
        self.nested = 0                                     # calls of stackless.run() in programs
        self.contexts = self.rng.random() < 0.5             # each instance has one, instead of a variable

    def run(self) -> None:
        before = stackless.enable_softswitch(not self.variant.hard)
        try:
            for instance in self.instances:
                self.start(instance)
            for _ in range(ROUNDS):
                if all(instance.done for instance in self.instances):
                    break
                self.step()
            else:
                raise Error("the program does not go on")
        finally:
            stackless.enable_softswitch(before)
            for t in self.feeders:
                t.kill()
            stackless.run()
        if stackless.getruncount() != 1 or stackless.getuncollectables():
            raise Error(f"left behind: {stackless.getruncount()} runnable tasklets, {stackless.getuncollectables()}")

    def start(self, instance: Instance) -> None:
        channel = stackless.channel()
        channel.preference = self.rng.choice((-1, 0, 1))
        instance.take = channel.receive
        instance.switch = Switcher(self, instance).switch
        self.feeders.append(stackless.tasklet(feed)(channel))
        if self.variant.kind == "greenlet":
            g = greenlet.greenlet(instance.run)
            self.left.append(g)
            if self.contexts:
                g.gr_context = contextvars.Context()
        else:
            t = stackless.tasklet(instance.run)()
            if self.contexts:
                t.set_context(contextvars.Context())
        if self.contexts:
            instance.var = SHARED_VAR

    def step(self) -> None:
        """One round of the driver, which is the main tasklet and greenlet."""
        while self.to_be_thrown:
            target, n = self.to_be_thrown.pop()
            # Not an instance: the caller's reference would keep its traceback alive.
            if isinstance(target, greenlet.greenlet):
                target.throw(Injected, (n,))
            else:
                target.throw(Injected, (n,), pending=self.rng.random() < 0.5)
        if self.left:
            self.left.pop(self.rng.randrange(len(self.left))).switch()
        for name in self.variant.bystanders:
            if self.rng.random() < 0.3:
                stackless.tasklet(BYSTANDERS[name])()
        if self.nested and stackless.getruncount() == 1:
            stackless.schedule_remove()
        elif self.rng.random() < 0.5:
            stackless.schedule()
        else:
            self.let_run()
        while self.sleepers:
            self.sleepers.pop().insert()
        if self.channel.balance < 0:
            self.channel.send(None)
        elif self.channel.balance > 0:
            self.channel.receive()

    def let_run(self) -> None:
        if not self.variant.ticks:
            stackless.run()
            return
        options = {option: True for option in self.variant.options}
        forever = None
        if "soft" not in options and self.rng.random() < 0.2:
            forever = stackless.tasklet(endless)()
        interrupted = stackless.run(self.rng.randint(1, self.variant.ticks), **options)
        if forever is not None:
            forever.kill()
        if interrupted is not None and interrupted is not forever:
            interrupted.insert()


def feed(channel: stackless.channel) -> None:
    for n in itertools.count(1000):
        channel.send(n)


class Switcher:
    """S() of one instance in a tasklet."""

    def __init__(self, runner: Runner, instance: Instance) -> None:
        self.runner = runner
        self.rng = random.Random(f"{runner.variant.seed} {instance.file}")

    def switch(self, n: int) -> None:
        if n in self.runner.variant.inject:
            self.wait_for_exception(n)
        ALL_WAYS[self.rng.choice(self.runner.variant.ways)](self.runner)

    def wait_for_exception(self, n: int) -> None:
        runner, thrown = self.runner, False
        if runner.variant.kind == "greenlet" and self.rng.random() < 0.7:
            entry: tuple[Any, int] = greenlet.getcurrent(), n
            runner.to_be_thrown.append(entry)
            try:
                runner.home.switch()
            except greenlet.error:          # it is in stackless.run()
                runner.to_be_thrown.remove(entry)
            except Injected:                # which has no context, as with PyPI's
                thrown = True
            else:
                raise Error("nothing was thrown")
            if thrown:
                raise Injected(n)
        runner.to_be_thrown.append((stackless.getcurrent(), n))
        stackless.schedule_remove()
        raise Error("nothing was thrown")


# What S() does, by name.

def nothing(runner: Runner) -> None:
    pass


def schedule(runner: Runner) -> None:
    stackless.schedule()


def remove(runner: Runner) -> None:
    runner.sleepers.append(stackless.getcurrent())
    stackless.schedule_remove()


def use_channel(runner: Runner) -> None:
    if runner.channel.balance > 0:
        runner.channel.receive()
    else:
        runner.channel.send(None)


def run(runner: Runner) -> None:
    """Main may be runnable then, and has to leave the queue some time (Runner.step())."""
    runner.nested += 1
    stackless.run()
    runner.nested -= 1
    stackless.getmain().insert()


def spawn(runner: Runner) -> None:
    stackless.tasklet(lambda: None)().run()


def spawn_and_kill(runner: Runner) -> None:
    t = stackless.tasklet(stackless.schedule_remove)(None)
    t.run()
    t.kill()


def leave(runner: Runner) -> None:
    me = greenlet.getcurrent()
    runner.left.append(me)
    try:
        runner.home.switch()
    except greenlet.error:                  # it is in stackless.run()
        runner.left.remove(me)
        stackless.schedule()


def use_greenlet(runner: Runner) -> None:
    g = greenlet.greenlet(lambda *args: greenlet.getcurrent().parent.switch())
    g.switch(1)
    g.switch()


def through_map(runner: Runner) -> None:
    list(map(lambda x: stackless.schedule(), [1]))


def through_handler(runner: Runner) -> None:
    try:
        raise KeyError("of the harness")
    except KeyError:
        stackless.schedule()


def through_generator(runner: Runner) -> None:
    for _ in (stackless.schedule() for _ in (1, 2)):
        pass


WAYS: dict[str, Callable[[Runner], None]] = {
    f.__name__: f for f in (nothing, schedule, remove, use_channel, run, spawn, spawn_and_kill, use_greenlet,
                            through_map,
                            through_handler, through_generator)}
ALL_WAYS = {**WAYS, "leave": leave}


# --- tasklets that come and go ---------------------------------------------------------

def spinning() -> None:
    for _ in range(4):
        stackless.schedule()


def handling() -> None:
    try:
        raise LookupError("of a bystander")
    except LookupError:
        spinning()


def calling_c() -> None:
    list(map(lambda x: spinning(), [1]))


def generating() -> None:
    for _ in (stackless.schedule() for _ in range(4)):
        pass


def recursing(n: int = 30) -> None:
    recursing(n - 1) if n else spinning()


def endless() -> None:
    while True:
        pass


def tracing() -> None:
    sys.settrace(lambda *args: None)
    spinning()
    sys.settrace(None)


BYSTANDERS: dict[str, Callable[[], None]] = {
    f.__name__: f for f in (spinning, handling, calling_c, generating, recursing, tracing)}


# --- comparing ---------------------------------------------------------------------------

class Incomparable(Exception):
    """This program does something else each time, or too much."""


def run_plainly(file: str, code: types.CodeType, variant: Variant) -> list[Any]:
    instance = Instance(file, code, variant)
    contextvars.Context().run(instance.run)
    stop_monitoring()
    if instance.recursed or len(instance.log) > LONGEST:
        raise Incomparable
    return instance.log


def run_in_tasklets(instances: list[Instance], variant: Variant) -> None:
    runner_errors: list[BaseException] = []

    def in_thread() -> None:
        try:
            Runner(instances, variant).run()
        except BaseException as e:
            runner_errors.append(e)
    if not variant.thread:
        Runner(instances, variant).run()
        return
    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    if runner_errors:
        raise runner_errors[0]


def first_difference(log: list[Any], expected: list[Any]) -> str:
    for i, (a, b) in enumerate(itertools.zip_longest(log, expected, fillvalue=("nothing", ""))):
        if a != b:
            before = "".join(f"    {entry}\n" for entry in log[max(0, i - 4):i])
            return (f"difference: {' '.join(map(str, b[:2]))}, in tasklets {' '.join(map(str, a[:2]))}\n"
                    f"entry {i}, after\n{before}  plainly:     {b}\n  in tasklets: {a}")
    return ""


def compile_for(source: str, file: str) -> types.CodeType:
    return compile(source.replace("fuzzed_", file.strip("<>") + "_"), file, "exec", dont_inherit=True)


def make_case(seed: int) -> Case:
    size = random.Random(seed).choice((1, 2, 3, 6))
    return Case("plain", make_program(seed, size), dataclasses.asdict(Variant.random(seed)))


SIMPLEST = dataclasses.asdict(Variant())


def check(source: str, variant: dict[str, Any]) -> str:
    """What differs, or an empty string."""
    collecting = gc.isenabled()
    gc.disable()
    unraisable = sys.unraisablehook
    sys.unraisablehook = lambda args: None
    sys.meta_path.insert(0, Finder)
    try:
        return compare(source, Variant(**variant))
    except Incomparable:
        return ""
    finally:
        sys.unraisablehook = unraisable
        sys.meta_path.remove(Finder)
        Finder.instances.clear()
        if collecting:
            gc.enable()
        gc.collect()


def compare(source: str, variant: Variant) -> str:
    files = [f"<fuzzed{n}>" for n in range(variant.instances)]
    codes = [compile_for(source, file) for file in files]
    logs = [run_plainly(file, code, variant) for file, code in zip(files, codes)]
    for _ in range(max(variant.warm, 1)):
        for file, code, log in zip(files, codes, logs):
            if run_plainly(file, code, variant) != log:
                raise Incomparable
    if not variant.shared:
        codes = [compile_for(source, file) for file in files]
    instances = [Instance(file, code, variant) for file, code in zip(files, codes)]
    run_in_tasklets(instances, variant)
    stop_monitoring()
    return next(filter(None, (first_difference(i.log, log) for i, log in zip(instances, logs))), "")
