"""The world of programs that do anything at all (world.py): nothing may crash or hang."""
from __future__ import annotations

import asyncio
import contextlib
import contextvars
import faulthandler
import gc
import os
import pickle
import signal
import sys
import threading
import traceback
import weakref
from collections.abc import Callable
from typing import Any

import greenlet
import stackless

from ways import Thunk
from world import BUDGET, Budget, World

TOOL = 4                    # of sys.monitoring


class Acting:
    """Calls its action when it dies."""
    action: Thunk | None = None

    def __del__(self) -> None:
        action, self.action = self.action, None
        if action is not None:
            action()
        # Not in all of them: a tasklet's own finalizer may well be missing.
        if self.calls_base and hasattr(super(), "__del__"):
            super().__del__()

    calls_base = True


class FinalTasklet(Acting, stackless.tasklet):
    pass


class SilentTasklet(Acting, stackless.tasklet):
    calls_base = False


class FinalGreenlet(Acting, greenlet.greenlet):
    pass


class FinalChannel(Acting, stackless.channel):
    pass


class SlotTasklet(stackless.tasklet):
    __slots__ = ("slot",)

    def __del__(self) -> None:
        super().__del__()


class SlotGreenlet(greenlet.greenlet):
    __slots__ = ("slot",)

    def __del__(self) -> None:
        pass


class SlotChannel(stackless.channel):
    __slots__ = ("slot",)


class Finalized(Acting):
    """What an object holds, in an attribute, a slot, a local variable."""

    def __init__(self, action: Thunk) -> None:
        self.action = action


TASKLET_CLASSES = (stackless.tasklet, FinalTasklet, SilentTasklet, SlotTasklet)
GREENLET_CLASSES = (greenlet.greenlet, FinalGreenlet, SlotGreenlet)
CHANNEL_CLASSES = (stackless.channel, FinalChannel, SlotChannel)


class Wild(World):
    """What else programs can do."""

    def __init__(self, ways: list[str]) -> None:
        super().__init__(ways)
        self.threads: list[threading.Thread] = []
        self.depth = 0
        self.kept: list[Any] = []

    def log(self, *args: Any) -> None:
        """Nothing is compared; but it looks at the values, and counts."""
        super().log(*args)
        del self.entries[:-1]
        self.logged += 1
        if self.logged > BUDGET:
            raise Budget

    logged = 0

    def show(self, x: Any, depth: int = 3) -> Any:
        return type(x).__name__ if depth == 3 else None

    def acted(self, f: Thunk, raises: bool = False) -> Thunk:
        """f() if not too many of them run within each other."""
        def act(*args: Any) -> Any:
            if self.depth > 3 or self.ending:
                return None
            self.depth += 1
            try:
                self.log("acts")
                return f()
            except BaseException:
                # Elsewhere, in the standard library's code for instance, it would do harm.
                if raises:
                    raise
            finally:
                self.depth -= 1
        return act

    # -- objects --

    def bind(self, t: Any, body: Callable[..., Any], *args: Any) -> Any:
        return t.bind(body)(*args)

    def renew(self, letter: str, n: int, kind: int, f: Thunk) -> None:
        """Another object in the place of that one, which may die."""
        objects, classes = {"T": (self.T, TASKLET_CLASSES), "G": (self.G, GREENLET_CLASSES),
                            "C": (self.C, CHANNEL_CLASSES)}[letter]
        cls = classes[kind % len(classes)]
        new = cls()
        if hasattr(cls, "slot"):
            new.slot = Finalized(self.acted(f))
        elif hasattr(cls, "action"):
            new.action = self.acted(f)
            new.held = Finalized(self.acted(f))
        objects[n] = new

    def forget(self, letter: str, n: int) -> None:
        self.renew(letter, n, 0, lambda: None)

    def watch(self, x: Any, f: Thunk) -> None:
        self.kept.append(weakref.ref(x, self.acted(f)))

    def holding(self, f: Thunk, g: Thunk) -> Any:
        """g() with a local variable that acts when it dies."""
        local = Finalized(self.acted(f))
        result = g()
        del local
        return result

    def cyclic(self, x: Any, f: Thunk) -> None:
        """Something in a cycle with x, perhaps, that acts when it is collected."""
        final = Finalized(self.acted(f))
        final.me, final.other = final, x
        if hasattr(x, "__dict__"):
            x.final = final

    # -- what happens beside the program --

    def traced(self, every: int, f: Thunk, g: Thunk) -> Any:
        """g() with a trace function that acts now and then."""
        count = 0

        def trace(frame: Any, event: str, arg: Any) -> Any:
            nonlocal count
            count += 1
            if count % every == 0:
                act()
            return trace
        act = self.acted(f)
        sys.settrace(trace)
        try:
            return g()
        finally:
            sys.settrace(None)

    def profiled(self, every: int, f: Thunk, g: Thunk) -> Any:
        count = 0

        def profile(frame: Any, event: str, arg: Any) -> None:
            nonlocal count
            count += 1
            if count % every == 0:
                act()
        act = self.acted(f)
        sys.setprofile(profile)
        try:
            return g()
        finally:
            sys.setprofile(None)

    def monitored(self, event: int, every: int, f: Thunk, g: Thunk) -> Any:
        count = 0

        def callback(*args: Any) -> None:
            nonlocal count
            count += 1
            if count % every == 0:
                act()
        act, monitoring = self.acted(f), sys.monitoring
        if monitoring.get_tool(TOOL) is None:
            monitoring.use_tool_id(TOOL, "fuzz")
        events = [e for name, e in sorted(vars(monitoring.events).items()) if e and name not in ("C_RETURN", "C_RAISE")]
        mask = events[event % len(events)]
        monitoring.register_callback(TOOL, mask, callback)
        monitoring.set_events(TOOL, mask)
        try:
            return g()
        finally:
            monitoring.set_events(TOOL, 0)

    def set_callback(self, which: int, f: Thunk) -> None:
        setters = (stackless.set_schedule_callback, stackless.set_channel_callback,
                   stackless.set_error_handler, greenlet.settrace,
                   lambda act: gc.callbacks.append(act), lambda act: setattr(sys, "unraisablehook", act))
        setters[which % len(setters)](self.acted(f, raises=True))

    def signalled(self, f: Thunk, later: bool) -> None:
        """A signal handler acts, now or in a moment."""
        if threading.current_thread() is not threading.main_thread():
            return
        signal.signal(signal.SIGALRM, self.acted(f))
        if later:
            signal.setitimer(signal.ITIMER_REAL, 0.0005)
        else:
            signal.raise_signal(signal.SIGALRM)

    def in_thread(self, f: Thunk, wait: bool) -> None:
        def body() -> None:
            with contextlib.suppress(BaseException):
                f()
                stackless.run()
        if len(self.threads) > 6:
            return
        thread = threading.Thread(target=body, daemon=True)
        thread.start()
        self.threads.append(thread)
        if wait:
            thread.join(0.05)

    def collect(self, generation: int) -> int:
        return gc.collect(generation)

    def often(self, f: Thunk) -> Any:
        """f() with collections all the time, and other threads in between."""
        threshold, interval = gc.get_threshold(), sys.getswitchinterval()
        gc.set_threshold(1)
        sys.setswitchinterval(1e-6)
        try:
            return f()
        finally:
            gc.set_threshold(*threshold)
            sys.setswitchinterval(interval)

    def time_slices(self, ticks: int, flags: int, f: Thunk) -> Any:
        """stackless.run() with a limit, and what it returns goes on."""
        interrupted = stackless.run(ticks, soft=bool(flags & 1), ignore_nesting=bool(flags & 2),
                                    totaltimeout=bool(flags & 4))
        result = f()
        if interrupted is not None and interrupted.alive and not interrupted.blocked:
            interrupted.insert()
        return result

    # -- where it is called --

    def at_the_limit(self, f: Thunk) -> Any:
        """Where there is no room for much more recursion."""
        limit = sys.getrecursionlimit()

        def deeper() -> Any:
            try:
                return deeper()
            except RecursionError:
                return f()
        try:
            sys.setrecursionlimit(stackless.getcurrent().recursion_depth + 60)
            return deeper()
        finally:
            sys.setrecursionlimit(limit)

    def in_another_greenlet(self, f: Thunk) -> Any:
        return greenlet.greenlet(lambda: f()).switch()

    def in_another_tasklet(self, f: Thunk) -> Any:
        t = stackless.tasklet(lambda: f())()
        self.T.append(t)                # so that it ends with the others
        return t.run()

    def in_a_task(self, f: Thunk, g: Thunk) -> None:
        """In tasks of asyncio; some turns of the loop, since the program may break it (contexts)."""
        async def task(h: Thunk) -> None:
            await asyncio.sleep(0)
            h()
            await asyncio.sleep(0)
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda loop, context: None)
        tasks = [loop.create_task(task(h)) for h in (f, g)]
        try:
            for _ in range(8):
                loop.call_soon(loop.stop)
                loop.run_forever()
        finally:
            self.kept.append(tasks)
            if not loop.is_running():
                loop.close()

    def in_context_of(self, t: Any, f: Thunk) -> Any:
        return t.context_run(f)

    # -- looking around --

    def look_at(self, x: Any) -> None:
        for name in dir(x):
            if not name.startswith("__"):
                with contextlib.suppress(Exception):
                    getattr(x, name)
        repr(x), bool(x), sys.getsizeof(x), gc.get_referents(x)
        frame = getattr(x, "frame", None) or getattr(x, "gr_frame", None)
        if frame is not None:
            for f, line in traceback.walk_stack(frame):
                f.f_locals, f.f_lasti, f.f_trace
            with contextlib.suppress(RuntimeError):
                frame.clear()

    def look_around(self) -> None:
        with open(os.devnull, "w") as out:
            stackless.dump(file=out)
            faulthandler.dump_traceback(out)
        sys._current_frames()
        stackless.getuncollectables(), stackless.getthreads(), stackless.get_thread_info()
        for x in gc.get_objects()[-300:]:
            if isinstance(x, (stackless.tasklet, stackless.channel, greenlet.greenlet)):
                self.look_at(x)

    def set_functions(self, t: Any, f: Thunk) -> None:
        act = self.acted(f)
        t.trace_function = lambda *args: act()
        t.profile_function = lambda *args: act()

    def copied(self, x: Any) -> Any:
        return pickle.loads(pickle.dumps(x))

    def adopt(self, t: Any) -> Any:
        """Into this thread."""
        return t.bind_thread()

    def share_context(self, x: Any) -> None:
        context = contextvars.copy_context()
        if isinstance(x, stackless.tasklet):
            x.set_context(context)
        else:
            x.gr_context = context

    # -- the end --

    def wake(self) -> None:
        """Threads that sleep in vain: their main tasklets get an exception."""
        for number in stackless.getthreads():
            with contextlib.suppress(BaseException):
                main, current, _ = stackless.get_thread_info(number)
                if current is None:
                    main.throw(Budget, pending=True)
