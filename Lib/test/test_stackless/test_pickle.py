"""Tasklets are pickled, and go on in another process."""

import copy
import pickle
import random
import sys
import threading
import time
import types
import unittest
import warnings

import stackless
from stackless import _wrap, channel, schedule_remove, tasklet

from . import damaged, everywhere, pickling
from .constructs import SOFT, WARM
from .constructs_inline import INLINED
from .support import ChildTestCase, StacklessTestCase, dump, needs_order, needs_soft

tearDownModule = pickling.forget

PICKLERS = [(which, protocol) for which in (pickle.dumps, pickle._dumps)
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]

def add_up(ch, log, n=3):
    total = 0
    try:
        for _ in range(n):
            total += ch.receive()
            log.append(total)
    finally:
        log.append("finally")
    log.append("end")


def count(log):
    log.append("begin")
    n = 0
    for i in range(200):
        n += len(str(i)) if i % 2 else -1
    log.append(n)


def keywords(log, *args, **kwargs):
    log.append((args, kwargs))


def handler(log):
    try:
        {}["key"]
    except KeyError as e:
        log.append(schedule_remove("in handler"))
        try:
            raise
        except KeyError as again:
            log.append(again is e)
            log.append(again.__traceback__ is not None)
    log.append(sys.exception())


def pause(log):
    log.append(schedule_remove("result"))


def receiver(n, ch, log):
    log.append((n, ch.receive()))


def sender(n, ch):
    ch.send(n)


def feed(data, values):
    """In another process: sends the values to who waits on the channel."""
    t, ch, log = pickle.loads(data)
    assert t.blocked and ch.balance == -1
    for value in values:
        ch.send(value)
    assert not t.alive
    return log


def drain(data):
    ch, log = pickle.loads(data)
    assert ch.balance == (4 if log is None else -4)
    if log is None:
        return [ch.receive() for _ in range(4)]
    for i in range(4):
        ch.send(i)
    stackless.run()
    return log


class Elsewhere(StacklessTestCase):
    """Where there is another process."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other = pickling.OtherProcess()

    @classmethod
    def tearDownClass(cls):
        cls.other.close()
        super().tearDownClass()

    def elsewhere(self, function, *args):
        out, how, result = self.other.call(function, *args)
        self.assertEqual(how, "ok", result)
        return result


@needs_soft
class States(Elsewhere):
    """A tasklet in each state that it can have."""

    def goes_on(self, t, log):
        """t goes on elsewhere, and here, with the same results."""
        data = [dumps((t, log), protocol) for dumps, protocol in PICKLERS]
        results = [self.elsewhere(pickling.go_on, d) for d in data]
        while t.alive:
            t.run()
        for result in results:
            self.assertEqual(result, log)
        return log

    def test_blocked(self):
        ch, log = channel(), []
        t = tasklet(add_up)(ch, log)
        t.run()
        ch.send(10)
        before = dump(t, ch)
        for dumps, protocol in PICKLERS:
            with self.subTest(dumps=dumps.__module__, protocol=protocol):
                data = dumps((t, ch, log), protocol)
                self.assertEqual(dump(t, ch), before)
                self.assertEqual(self.elsewhere(feed, data, (1, 2)),
                                 [10, 11, 13, "finally", "end"])
        ch.send(100)
        ch.send(100)
        self.assertEqual(log, [10, 110, 210, "finally", "end"])

    def test_alone_it_is_paused(self):
        ch, log = channel(), []
        t = tasklet(receiver)(1, ch, log)
        t.run()
        t2 = pickle.loads(pickle.dumps(t))
        self.assertTrue(t.blocked and t2.alive)
        self.assertTrue(t2.blocked)    # its frame refers to the channel
        self.assertIsNot(t2._channel, ch)
        ch.send(2)
        t2._channel.send(3)
        self.assertEqual(log, [(1, 2)])

    def test_paused(self):
        log = []
        t = tasklet(pause)(log)
        t.run()
        self.assertEqual(self.goes_on(t, log), ["result"])

    def test_not_started(self):
        for args, kwargs in [((), {}), ((1, 2), {}), ((1,), {"a": 2})]:
            log = []
            t = tasklet(keywords)(log, *args, **kwargs)
            self.assertEqual(self.goes_on(t, log), [(args, kwargs)])

    def test_not_a_function(self):
        log = []
        t = tasklet(log.append)(5)
        self.assertEqual(self.goes_on(t, log), [5])

    def test_bound_only(self):
        t = pickle.loads(pickle.dumps(tasklet(keywords)))
        self.assertFalse(t.alive)
        log = []
        t(log, 1).run()
        self.assertEqual(log, [((1,), {})])

    def test_finished(self):
        log = []
        t = tasklet(keywords)(log)
        t.run()
        t2 = pickle.loads(pickle.dumps(t))
        self.assertFalse(t2.alive)
        self.assertFalse(pickle.loads(pickle.dumps(tasklet())).alive)

    def test_flags(self):
        t = tasklet(pause)([])
        t.run()
        t.set_atomic(True)
        t.set_ignore_nesting(True)
        t.block_trap = True
        t2 = pickle.loads(pickle.dumps(t))
        self.assertEqual([t2.atomic, t2.ignore_nesting, t2.block_trap], [True] * 3)
        t.set_atomic(False)

    def test_handled_exception(self):
        log = []
        t = tasklet(handler)(log)
        t.run()
        self.assertEqual(self.goes_on(t, log), ["in handler", True, True, None])

    def test_interrupted(self):
        log = []
        t = tasklet(count)(log)
        for _ in range(8):
            t.insert()
            self.assertIs(stackless.run(301), t)
        data = pickle.dumps((t, log))
        t.run()
        self.assertEqual(self.elsewhere(pickling.go_on, data), log)
        self.assertEqual(log, ["begin", 145])

    @needs_order
    def test_queues(self):
        ch, log = channel(), []
        for n in range(4):
            tasklet(receiver)(n, ch, log).run()
        data = pickle.dumps((ch, log))
        self.assertEqual(self.elsewhere(drain, data), [(i, i) for i in range(4)])
        # One of the tasklets first, which leads to the channel.
        data = pickle.dumps((ch.queue.next, ch, log))
        _, ch2, log2 = pickle.loads(data)
        for i in range(4):
            ch.send(i)
            ch2.send(i)
        stackless.run()
        self.assertEqual(log, log2)
        for n in range(4):
            tasklet(sender)(n, ch).run()
        self.assertEqual(self.elsewhere(drain, pickle.dumps((ch, None))), [0, 1, 2, 3])
        self.assertEqual([ch.receive() for _ in range(4)], [0, 1, 2, 3])
        stackless.run()

    def test_a_pickle_is_loaded_many_times(self):
        log = []
        t = tasklet(pause)(log)
        t.run()
        data = pickle.dumps((t, log))
        for _ in range(3):
            t2, log2 = pickle.loads(data)
            t2.run()
            self.assertEqual(log2, ["result"])
        t.run()
        self.assertEqual(log, ["result"])

    def test_copies(self):
        log = []
        t = tasklet(pause)(log)
        t.run()
        shallow = copy.copy(t)
        deep = copy.deepcopy(t)
        for each in (t, shallow, deep):
            self.assertTrue(each.paused)
            each.run()
        self.assertEqual(log, ["result"] * 2)


@needs_soft
class Constructs(Elsewhere):
    """Every construct that can be left softly, left elsewhere."""

    def check_all(self, table):
        for name, construct in table.items():
            with self.subTest(construct=name):
                log = []
                t = tasklet(pickling.task)(construct, log)
                t.run()
                self.assertTrue(t.restorable)
                if name in pickling.REFUSED:
                    self.is_refused(t, log)
                    t.run()
                    continue
                data = pickling.dumps((t, log))
                result = self.elsewhere(pickling.go_on, data)
                t.run()
                self.assertEqual(log, ["result", "end"])
                self.assertEqual(result, log)

    def is_refused(self, t, log):
        before = dump(t)
        try:
            data = pickling.dumps((t, log))
        except Exception:
            how = "raised"
        else:
            _, how, _ = self.other.call(pickling.go_on, data)
        self.assertEqual(how, "raised")
        self.assertEqual(dump(t), before)

    def test_soft(self):
        self.check_all(SOFT)

    def test_inlined(self):
        self.check_all(INLINED)

    def test_monitored(self):
        # Loops and calls that have events to tell here, and nobody to tell there.
        monitoring, events = sys.monitoring, sys.monitoring.events
        monitoring.use_tool_id(monitoring.PROFILER_ID, "test")
        self.addCleanup(monitoring.free_tool_id, monitoring.PROFILER_ID)
        monitoring.set_events(monitoring.PROFILER_ID, events.BRANCH | events.CALL
                              | events.C_RETURN | events.C_RAISE)
        self.addCleanup(monitoring.set_events, monitoring.PROFILER_ID, 0)
        self.check_all(INLINED)

    def test_specialised(self):
        for construct in WARM.values():
            for _ in range(50):
                construct(lambda: None)
        self.check_all(WARM)


@needs_soft
class Refusals(StacklessTestCase):

    def test_current(self):
        message = "You cannot __reduce__ the tasklet which is current."
        with self.assertRaisesRegex(RuntimeError, message):
            pickle.dumps(stackless.getcurrent())
        with self.assertRaisesRegex(RuntimeError, message):
            copy.copy(stackless.getcurrent())

    def test_alive(self):
        t = tasklet(pause)([])
        t.run()
        state = t.__reduce__()[2]
        with self.assertRaisesRegex(RuntimeError, "tasklet is alive"):
            t.__setstate__(state)
        t.run()

    def test_newer_format(self):
        t = tasklet(pause)([])
        t.run()
        state = t.__reduce__()[2]
        with self.assertRaisesRegex(RuntimeError, "its format is 9"):
            tasklet().__setstate__((9 << 16, *state[1:]))
        function, (number, data) = _wrap._reduce_code(pause.__code__)
        with self.assertRaisesRegex(RuntimeError, "by a newer Stackless: its format is 9"):
            function(9 << 16 | _wrap.MAGIC, data)
        with self.assertRaisesRegex(pickle.UnpicklingError, "checksum"):
            function(number, data[:-1] + b"\0\0")
        t.run()

    def test_other_bytecode(self):
        function, (number, data) = _wrap._reduce_code(pause.__code__)
        with self.assertWarnsRegex(RuntimeWarning, "invalid magic number 1000"):
            code = function(_wrap.FORMAT << 16 | 1000, data)
        with self.assertWarnsRegex(RuntimeWarning, "invalid code object"):
            func = _wrap.function(code)
        with self.assertRaises(SystemError):
            types.FunctionType(code, globals())()
        del func

    def test_hard(self):
        log = []

        def key(x):
            log.append(schedule_remove(x))
            return x
        t = tasklet(lambda: max([1], key=key))()
        t.run()
        self.assertFalse(t.restorable)
        before = dump(t)
        data = pickling.dumps(t)
        self.assertEqual(dump(t), before)
        t2 = pickle.loads(data)
        self.assertTrue(t2.alive)
        with self.assertRaisesRegex(RuntimeError, "cannot execute invalid frame with 'key'"):
            t2.run()
        t.run()
        self.assertEqual(log, [1])


def holds(op):
    schedule_remove(op)


def holds_in(op):
    container = {"key": [None, op]}
    schedule_remove(container)


def unpicklable():
    """Objects of more than 30 kinds."""
    import _thread
    import contextvars
    import mmap
    import os
    import select
    import socket
    import sqlite3
    import tempfile
    import weakref
    import zlib

    class Local:
        pass

    def gen():
        yield
    yield open(os.devnull)
    yield open(os.devnull, "rb")
    yield open(os.devnull, "rb", buffering=0)
    yield tempfile.TemporaryFile()
    yield os.scandir(".")
    a, b = socket.socketpair()
    yield a
    yield b
    yield select.poll()
    yield select.epoll()
    yield mmap.mmap(-1, 10)
    connection = sqlite3.connect(":memory:")
    yield connection.cursor()
    yield connection
    yield zlib.compressobj()
    yield zlib.decompressobj()
    yield _thread.allocate_lock()
    yield threading.RLock()
    yield threading.Condition()
    yield threading.Event()
    yield threading.Semaphore()
    yield threading.Thread()
    yield threading.local()
    yield contextvars.copy_context()
    yield contextvars.ContextVar("var")
    yield stackless.atomic()
    yield weakref.ref(Local)
    yield weakref.WeakKeyDictionary()
    yield Local()
    yield Local
    yield property(gen)
    yield staticmethod(gen)
    yield classmethod(gen)
    yield memoryview(b"bytes")
    yield sys._getframe()
    yield types.MappingProxyType({})
    yield types.SimpleNamespace(lock=_thread.allocate_lock())


@needs_soft
class Unpicklable(StacklessTestCase):
    """What cannot be pickled is refused with the way to it; nothing has changed."""

    def is_refused(self, function, op, way, dumps):
        t = tasklet(function)(op)
        t.run()
        before = dump(t)
        with self.assertRaises((TypeError, pickle.PicklingError, AttributeError)) as cm:
            dumps(t)
        self.assertEqual(dump(t), before)
        self.assertRegex(str(cm.exception), way)
        t.run()
        self.assertFalse(t.alive)

    def test_30_kinds(self):
        kinds = 0
        for op in unpicklable():
            kinds += 1
            for dumps in (pickle.dumps, pickle._dumps):
                for function, way in ((holds, r"local 'op'"),
                                      (holds_in, r"local '(op|container)'")):
                    with self.subTest(kind=type(op).__name__, dumps=dumps.__module__):
                        self.is_refused(function, op,
                                        rf"{way}.* of {function.__name__}\(\) at test_pickle\.py:"
                                        r"\d+, in <_stackless\.tasklet object at", dumps)
            if hasattr(op, "close") and not isinstance(op, type):
                op.close()
        self.assertGreaterEqual(kinds, 30)


class Objects(StacklessTestCase):
    """What is pickled beside tasklets."""

    def both(self, op):
        for dumps, protocol in PICKLERS:
            yield pickle.loads(dumps(op, protocol))

    def test_functions(self):
        def closure(a, *, b=2):
            "doc"
            return a, b, x, closure
        closure.attribute = 5
        x = "x"
        for f in self.both(closure):
            a, b, y, me = f(1)
            self.assertEqual((a, b, y), (1, 2, "x"))
            self.assertIs(me, f)
            self.assertEqual((f.__doc__, f.attribute, f.__qualname__),
                             ("doc", 5, closure.__qualname__))
            self.assertIs(f.__globals__, globals())
        for f in self.both(pause):
            self.assertIs(f, pause)
        for f in self.both(lambda y: y + 1):
            self.assertEqual(f(1), 2)

    def test_code_once(self):
        code = compile("lambda: 'a constant that is found'", "a file", "eval")
        other = compile("lambda: 'a constant that is found'", "a file", "eval")
        self.assertIsNot(code, other)
        data = pickle.dumps([eval(code), eval(other), code])
        self.assertEqual(data.count(b"a constant that is found"), 2)    # and in the lambda
        data = pickle.dumps([eval(code), eval(other)])
        self.assertEqual(data.count(b"a constant that is found"), 1)
        self.assertEqual(pickle.loads(data)[0](), "a constant that is found")

    def test_generators(self):
        def gen(n):
            for i in range(n):
                x = yield i
                if x:
                    yield "x", x
        g = gen(3)
        for g2 in self.both(g):
            self.assertEqual(list(g2), [0, 1, 2])
        next(g)
        for g2 in self.both(g):
            self.assertEqual(g2.send(5), ("x", 5))
            self.assertEqual(list(g2), [1, 2])
        self.assertEqual(list(copy.deepcopy(g)), [1, 2])
        self.assertEqual(list(copy.copy(g)), [1, 2])
        self.assertEqual(list(g), [])              # the range's iterator was the same
        for g2 in self.both(g):
            self.assertEqual(list(g2), [])
        delegating = (x for x in gen(2))
        next(delegating)
        for g2 in self.both(delegating):
            self.assertEqual(list(g2), [1])

    def test_coroutines(self):
        async def coro():
            await Awaitable()
            return 5

        async def agen():
            yield 1
            await Awaitable()
            yield 2
        c = coro()
        self.assertEqual(c.send(None), "awaited")
        for c2 in self.both(c):
            with self.assertRaises(StopIteration) as cm:
                c2.send(None)
            self.assertEqual(cm.exception.value, 5)
        c.close()
        c = coro()
        for awaiter in self.both(c.__await__()):
            self.assertEqual(next(awaiter), "awaited")
            awaiter.close()
        c.close()
        a = agen()
        with self.assertRaises(StopIteration):
            a.asend(None).send(None)
        step = a.asend(None)
        step.send(None)
        for step2 in self.both(step):
            with self.assertRaises(StopIteration) as cm:
                step2.send(None)
            self.assertEqual(cm.exception.value, 2)
        with self.assertRaises(StopIteration):
            step.send(None)

    def test_tracebacks(self):
        def fail(value):
            raise KeyError(value)
        try:
            fail(5)
        except KeyError as e:
            tb = e.__traceback__
        for tb2 in self.both(tb.tb_next):
            self.assertEqual(tb2.tb_lineno, tb.tb_next.tb_lineno)
            self.assertEqual(tb2.tb_frame.f_locals, {"value": 5})
            self.assertEqual(tb2.tb_frame.f_code.co_name, "fail")
        with self.assertRaisesRegex(TypeError, "cannot pickle 'frame' object"):
            pickle.dumps(tb.tb_frame)
        del tb, tb2

    def test_others(self):
        for cell in self.both(types.CellType(5)):
            self.assertEqual(cell.cell_contents, 5)
        for cell in self.both(types.CellType()):
            self.assertRaises(ValueError, lambda: cell.cell_contents)
        for module in self.both(pickling):
            self.assertIs(module, pickling)
        for made in self.both(types.ModuleType("unknown")):
            self.assertEqual(made.__name__, "unknown")
        d = {1: 2}
        for view in self.both(d.items()):
            self.assertEqual(list(view), [(1, 2)])
        for view in self.both(d.keys()):
            self.assertEqual(list(view), [1])
        for ch in self.both(channel()):
            self.assertEqual(ch.balance, 0)


class Flags(StacklessTestCase):

    def test_flags(self):
        for function in (stackless.pickle_flags, stackless.pickle_flags_default):
            self.assertEqual(function(), 0)
            self.assertEqual(function(5), 0)
            self.assertEqual(function(-1), 5)
            self.assertEqual(function(2, mask=3), 5)
            self.assertEqual(function(), 6)
            for bad in (16, -2):
                with self.assertRaisesRegex(ValueError, "undefined pickle-flag"):
                    function(bad)
            self.assertEqual(function(16, 15), 6)
            self.assertEqual(function(), 0)

    def test_threads(self):
        got = []
        stackless.pickle_flags_default(8)
        try:
            thread = threading.Thread(target=lambda: got.append(stackless.pickle_flags()))
            thread.start()
            thread.join()
        finally:
            stackless.pickle_flags_default(0)
        self.assertEqual((got, stackless.pickle_flags()), ([8], 0))

    def test_tracing_state(self):
        self.assertIs(stackless.pickle_with_tracing_state, False)
        stackless.pickle_with_tracing_state = True
        self.assertEqual((stackless.pickle_flags(), stackless.pickle_flags_default()), (1, 1))
        stackless.pickle_with_tracing_state = False
        self.assertEqual((stackless.pickle_flags(), stackless.pickle_flags_default()), (0, 0))

    @needs_soft
    def test_context(self):
        t = tasklet(pause)([])
        t.run()
        self.assertEqual(len(t.__reduce__()[2]), 12)
        stackless.pickle_flags(stackless.PICKLEFLAGS_PICKLE_CONTEXT)
        try:
            state = t.__reduce__()[2]
            self.assertEqual(len(state), 13)
            t2 = tasklet()
            t2.__setstate__(state)
            self.assertEqual(t2.context_id, t.context_id)
            with self.assertRaisesRegex(TypeError, "Context"):
                tasklet().__setstate__((*state[:12], 5))
            with self.assertRaisesRegex(TypeError, "Context"):
                pickle.dumps(t)
        finally:
            stackless.pickle_flags(0)
        t.run()
        t2.run()

    def test_moduledict(self):
        import _stackless
        self.assertIsNone(_stackless._pickle_moduledict(None, {}))
        function, args = _stackless._pickle_moduledict(None, globals())
        self.assertIs(function(*args), globals())


class Processes(ChildTestCase):
    """What depends on what a process has imported and done before."""

    def test_without_a_tasklet(self):
        self.run_ok("""
            import stackless, sys
            assert "pickle" not in sys.modules and "copy" not in sys.modules
            import copy
            def gen():
                yield 1
                yield 2
            g = gen()
            next(g)
            assert list(copy.copy(g)) == [2]
            import pickle
            assert pickle.loads(pickle.dumps(lambda: 5))() == 5
        """)

    def test_picklers_with_ways_of_their_own(self):
        # The reducer_override() that they inherit came before their own tables.
        self.run_ok("""
            import stackless
            import copyreg, io, pickle, socket, threading, types
            from multiprocessing.reduction import ForkingPickler
            with socket.socket() as s:
                ForkingPickler.dumps(s)
            Lock = type(threading.Lock())
            reduce = lambda lock: (threading.Lock, ())
            for base in (pickle.Pickler, pickle._Pickler):
                class OfTheClass(base):
                    dispatch_table = {Lock: reduce}
                OfTheClass(io.BytesIO()).dump([threading.Lock()])
                pickler = base(io.BytesIO())
                pickler.dispatch_table = {Lock: reduce}
                pickler.dump([threading.Lock()])
                try:
                    base(io.BytesIO()).dump(threading.Lock())
                except TypeError:
                    pass
                else:
                    raise AssertionError("a lock is pickled")
            class Dispatches(pickle._Pickler):
                dispatch = pickle._Pickler.dispatch.copy()
                dispatch[Lock] = lambda self, op: self.save_reduce(*reduce(op), obj=op)
                dispatch[types.FunctionType] = lambda self, op: self.save_reduce(str, ("mine",), obj=op)
            file = io.BytesIO()
            Dispatches(file).dump((lambda: 1, 2))
            assert pickle.loads(file.getvalue()) == ("mine", 2)
            Dispatches(io.BytesIO()).dump(threading.Lock())
            class Meta(type):
                __hash__ = None
                def __eq__(a, b):
                    return a is b
            class Hidden(type):
                pass
            def make():
                class C(metaclass=Hidden):
                    pass
                return C
            class Unhashable(metaclass=Meta):
                pass
            copyreg.pickle(Hidden, lambda cls: (make, ()))
            for dumps in pickle.dumps, pickle._dumps:
                assert type(pickle.loads(dumps(make()))) is Hidden
                assert pickle.loads(dumps(Unhashable)) is Unhashable
                for op in None, ..., NotImplemented:
                    assert b"stackless" not in dumps(type(op))
            def function():
                pass
            function.__module__ = None
            assert pickle.loads(pickle.dumps(function)) is function
        """)

    def test_looked_for_before_it_is_imported(self):
        self.run_ok("""
            import stackless
            import importlib.util
            spec = importlib.util.find_spec("pickle")
            assert spec.loader.get_code("pickle")
            import pickle
            assert pickle.loads(pickle.dumps(lambda: 5))() == 5
        """)

    def test_without_stackless(self):
        self.run_ok("""
            import pickle
            try:
                pickle.dumps(lambda: 5)
            except Exception as e:
                print(type(e).__name__)
            import stackless
            assert pickle.loads(pickle.dumps(lambda: 5))() == 5
            assert pickle.loads(pickle._dumps(lambda: 5))() == 5
        """)


class Subclass(tasklet):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.attribute = "set by __init__"


class SubChannel(channel):
    pass


def turns(log):
    for i in range(3):
        log.append(i)
        stackless.schedule_remove()


@needs_soft
class Others(StacklessTestCase):

    def test_subclasses(self):
        ch, log = SubChannel(), []
        t = Subclass(receiver)(1, ch, log)
        t.run()
        t2, ch2, log2 = pickle.loads(pickle.dumps((t, ch, log)))
        self.assertEqual((type(t2), type(ch2), t2.attribute), (Subclass, SubChannel,
                                                              "set by __init__"))
        ch2.send(5)
        ch.send(6)
        self.assertEqual((log, log2), ([(1, 6)], [(1, 5)]))

    def test_bombs(self):
        b = pickle.loads(pickle.dumps(stackless.bomb(ValueError, ValueError(5))))
        self.assertEqual((b.type, b.value.args, b.traceback), (ValueError, (5,), None))

    def check_watched(self):
        log = []
        t = tasklet(turns)(log)
        t.run()
        t2, log2 = pickle.loads(pickle.dumps((t, log)))
        while t.alive:
            t.run()
        while t2.alive:
            t2.run()
        self.assertEqual((log, log2), ([0, 1, 2], [0, 1, 2]))

    def test_traced(self):
        def trace(frame, event, arg):
            frame.f_trace_opcodes = True
            return trace
        old = sys.gettrace()
        sys.settrace(trace)
        try:
            self.check_watched()
        finally:
            sys.settrace(old)

    def test_monitored(self):
        monitoring = sys.monitoring
        tool = monitoring.DEBUGGER_ID
        monitoring.use_tool_id(tool, "test_pickle")
        events = monitoring.events
        try:
            monitoring.set_events(tool, events.LINE | events.INSTRUCTION | events.CALL
                                  | events.BRANCH | events.JUMP | events.PY_RESUME)
            self.check_watched()
        finally:
            monitoring.set_events(tool, 0)
            monitoring.free_tool_id(tool)
        self.check_watched()

    def test_what_changes_meanwhile(self):
        # Who is pickled is a snapshot, whatever is done to it by what it refers to.
        for how in ("kill", "run", "insert", "remove"):
            with self.subTest(how=how):
                t = tasklet(schedule_remove)(Meddler(how))
                Meddler.target = t
                t.run()
                data = pickle.dumps(t)
                Meddler.target = tasklet()
                t2 = pickle.loads(data)
                self.assertTrue(t2.paused)
                t2.run()
                t.kill()
                stackless.run()
        Meddler.target = None

    def test_of_another_thread(self):
        stop, started, ran = [], threading.Event(), []

        def busy():
            while not stop:
                started.set()

        def in_thread():
            ran.append(tasklet(busy)())
            ran[0].run()
        thread = threading.Thread(target=in_thread)
        thread.start()
        started.wait()
        try:
            with self.assertRaisesRegex(RuntimeError, "which is current"):
                pickle.dumps(ran[0])
        finally:
            stop.append(True)
            thread.join()


class Meddler:
    target = None

    def __init__(self, how):
        self.how = how

    def __reduce__(self):
        if self.target.alive:
            getattr(self.target, self.how)()
        return Meddler, (self.how,)


class Awaitable:
    def __await__(self):
        yield "awaited"


@needs_soft
class Everywhere(Elsewhere):
    """Programs that are interrupted anywhere: see everywhere.py, which does all of it."""

    def test_sample(self):
        seed = int(time.time())
        rnd = random.Random(seed)
        print("seed", seed, end=" ", flush=True)
        for name, f in everywhere.PROGRAMS.items():
            with self.subTest(seed=seed, program=name):
                numbers = sorted([rnd.randrange(1, 8), *rnd.sample(range(8, 100), 3)])
                result = everywhere.check(name, f, self.other, numbers)
                self.assertEqual(result["wrong"], [])
                self.assertGreater(result["places"] + sum(result["refused"].values()), 0)


@needs_soft
class Damaged(Elsewhere):
    """Pickles in which something is changed."""

    def test_mutations(self):
        seed = int(time.time())
        rnd = random.Random(seed)
        print("seed", seed, end=" ", flush=True)
        for i, data in enumerate(damaged.damaged(rnd, 600)):
            with self.subTest(seed=seed, i=i):
                self.other.call(damaged.load_or_not, data)

    def test_a_program_that_knows_the_mark(self):
        # Of a tasklet that is to wait once it has a state: that its channel is one was not asked.
        def f():
            schedule_remove(None)
        first = tasklet()
        channel().__setstate__((-1, 0, [first]))
        mark = first.tempval[0]
        t = tasklet(f)()
        t.run()
        state = t.__reduce__()[2]
        for waiting in ((mark, bytes(400), [], 0, False), (mark, channel(), (), 0, False),
                        (mark, channel(), [first], 1, False), (mark, channel(), [1], -1, True),
                        (mark, channel(), [1], "x", True), (mark, channel(), [1, 2, "x"], 0, True)):
            other = tasklet()
            other.tempval = waiting
            try:
                other.__setstate__(state)
            except ValueError:
                pass
            other.kill()
        t.kill()

    def test_states(self):
        # What is unpickled is changed, not its bytes.
        seed = int(time.time())
        print("seed", seed, end=" ", flush=True)
        names = random.Random(seed).sample(sorted(damaged.EVERY), 25)
        for name in names:
            with self.subTest(seed=seed, construct=name):
                self.elsewhere(damaged.build_changed, name, seed, 40)


if __name__ == "__main__":
    unittest.main()
