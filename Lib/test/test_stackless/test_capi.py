"""The functions of stackless.h: capi_test.c, compiled here as C and as C++, calls them."""

import functools
import importlib.util
import os
import re
import sys
import sysconfig
import threading
import unittest

import _stackless

import stackless
from stackless import channel, schedule, tasklet
from test.support import import_helper

from .capi_support import build_module, load_module
from .support import (
    COLLECTS, SHUFFLED, ChildTestCase, StacklessTestCase, needs_soft, run_python)

NULL = ...                      # what capi_test.c takes for it

# Functions of one tasklet (of one channel), whatever else they take.
OF_TASKLETS = """Setup BindEx BindThread Run Switch Remove Insert RaiseException Throw Kill KillEx
    SetAtomic SetIgnoreNesting SetBlockTrap GetAtomic GetIgnoreNesting GetBlockTrap IsMain
    IsCurrent Alive Paused Scheduled Restorable GetPendingIrq GetBlocked GetRecursionDepth
    GetNestingLevel GetFrame""".split()
OF_CHANNELS = """Send Receive SendException SendThrow GetQueue Close Open GetClosing GetClosed
    GetPreference GetScheduleAll GetBalance SetPreference SetScheduleAll""".split()


def header(name):
    with open(os.path.join(sysconfig.get_path("include"), name)) as file:
        return file.read()


def nothing(*args, **kwargs):
    pass


class Error(Exception):
    pass


class CapiTestCase(StacklessTestCase):
    language = "c"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.capi = load_module("capi_test.c", cls.language)

    def task(self, name, *args):
        return getattr(self.capi, "PyTasklet_" + name)(*args)

    def chan(self, name, *args):
        return getattr(self.capi, "PyChannel_" + name)(*args)

    def sched(self, name, *args):
        return getattr(self.capi, "PyStackless_" + name)(*args)


class Table(CapiTestCase):

    def test_every_function_is_tested(self):
        declared = set(re.findall(r"STACKLESS_FUNCTION\w*\([^,]+, (\w+),",
                                  header("stackless/functions.h")))
        self.assertGreater(len(declared), 60)
        inner = {"PyStackless_VaCallMethod_Main", "PyStackless_VaCallCMethod_Main",
                 "PyStackless_TaskletType", "PyStackless_ChannelType", "PyStackless_IsTasklet",
                 "PyStackless_IsChannel", "PyStackless_SetScheduleFastcallback",
                 "PyStackless_SoftCall"}
        self.assertEqual([name for name in sorted(declared - inner)
                          if not hasattr(self.capi, name)], [])
        of = {"PyTasklet_" + name for name in OF_TASKLETS} \
            | {"PyChannel_" + name for name in OF_CHANNELS}
        self.assertLessEqual(of, declared)
        self.assertEqual({name for name in declared - of if "PyStackless" not in name},
                         {"PyTasklet_New", "PyChannel_New"})

    def test_objects(self):
        self.assertEqual(self.capi.objects(), (tasklet, channel, TaskletExit))

    def test_capsule(self):
        self.assertIn('"_stackless._C_API"', repr(_stackless._C_API))

    def test_import(self):
        self.assertEqual(self.capi.PyStackless_Import(), 0)

    def test_checks(self):
        class Sub(tasklet):
            pass

        class SubChannel(channel):
            pass
        for op, expected in ((tasklet(), (1, 1, 0, 0)), (Sub(), (1, 0, 0, 0)),
                             (channel(), (0, 0, 1, 1)), (SubChannel(), (0, 0, 1, 0)),
                             (tasklet, (0, 0, 0, 0)), (5, (0, 0, 0, 0)), (NULL, (0, 0, 0, 0))):
            self.assertEqual(self.capi.checks(op), expected)


class Wrong(CapiTestCase):

    def test_null_and_wrong_types(self):
        t, ch = tasklet(nothing), channel()
        with self.unchanged(t, ch):
            for prefix, names, wrong in (("PyTasklet_", OF_TASKLETS, (NULL, 5, ch, tasklet)),
                                         ("PyChannel_", OF_CHANNELS, (NULL, 5, t, channel))):
                for name in names:
                    for op in wrong:
                        with self.subTest(name=name, op=op):
                            with self.assertRaisesRegex(TypeError, "^" + prefix + name.replace(
                                    "KillEx", "Kill(Ex)?").replace("Kill", "Kill(Ex)?", 1)):
                                getattr(self.capi, prefix + name)(op)

    def test_null_values(self):
        t, ch = tasklet(nothing), channel()
        for call, args in ((self.task, ("Setup", t, NULL)), (self.task, ("Setup", t, [])),
                           (self.task, ("Setup", t, (), [])), (self.task, ("BindEx", t, 5)),
                           (self.task, ("BindEx", t, nothing, [])),
                           (self.task, ("BindEx", t, nothing, (), ())),
                           (self.task, ("RaiseException", t, NULL)),
                           (self.task, ("RaiseException", t, 5)),
                           (self.task, ("Throw", t, 0, NULL)), (self.task, ("Throw", t, 0, 5)),
                           (self.chan, ("Send", ch, NULL)),
                           (self.chan, ("SendException", ch, NULL)),
                           (self.chan, ("SendException", ch, ValueError(1))),
                           (self.chan, ("SendThrow", ch, NULL)),
                           (self.chan, ("SendThrow", ch, 5)),
                           (self.task, ("New", int)), (self.task, ("New", 5)),
                           (self.task, ("New", tasklet, 5)),
                           (self.chan, ("New", int)), (self.chan, ("New", 5)),
                           (self.sched, ("SetChannelCallback", 5)),
                           (self.sched, ("SetScheduleCallback", 5)),
                           (self.sched, ("Call_Main", NULL)), (self.sched, ("Call_Main", 5)),
                           (self.sched, ("Call_Main", nothing, [])),
                           (self.sched, ("Call_Main", nothing, (), ()))):
            with self.subTest(args=args):
                with self.unchanged(t, ch), self.assertRaises(TypeError):
                    call(*args)

    def test_exception_is_set(self):
        t, ch = tasklet(nothing), channel()
        functions = [(getattr(self.capi, "PyTasklet_" + name), t) for name in OF_TASKLETS]
        functions += [(getattr(self.capi, "PyChannel_" + name), ch) for name in OF_CHANNELS]
        functions += [(getattr(self.capi, "PyStackless_" + name), NULL) for name in (
            "Schedule GetRunCount GetCurrent RunWatchdog RunWatchdogEx AdjustSwitchTrap "
            "SetChannelCallback SetScheduleCallback Call_Main").split()]
        functions += [(self.capi.PyTasklet_New, NULL), (self.capi.PyChannel_New, NULL)]
        for function, op in functions:
            with self.subTest(function=function), self.unchanged(t, ch):
                with self.assertRaisesRegex(KeyError, "was set before"):
                    self.capi.with_exception(function, (op, ))

    def test_another_interpreter(self):
        # Its types are others.
        interpreters = import_helper.import_module("_interpreters")
        library = build_module("capi_test.c", "c")
        i = interpreters.create("legacy")
        try:
            interpreters.run_string(i, f"""if 1:
                import importlib.util, stackless
                spec = importlib.util.spec_from_file_location("capi_test", {library!r})
                capi = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(capi)
                t = capi.PyTasklet_New(..., print)
                assert type(t) is stackless.tasklet and capi.checks(t) == (1, 1, 0, 0)
                assert capi.objects()[0] is stackless.tasklet
                assert capi.PyTasklet_Setup(t, ()) == 0 and capi.PyTasklet_Scheduled(t) == 1
                t.kill()
                """)
        finally:
            interpreters.destroy(i)
        self.assertIs(self.capi.objects()[0], tasklet)


class Tasklets(CapiTestCase):

    def test_new(self):
        class Sub(tasklet):
            def __new__(cls, func=None):
                self = super().__new__(cls)
                self.made = func
                return self
        self.assertIs(type(self.task("New", NULL, nothing)), tasklet)
        self.assertIs(self.task("New", NULL, nothing).tempval, nothing)
        self.assertIsNone(self.task("New").tempval)
        self.assertIsNone(self.task("New", tasklet, None).tempval)
        self.assertIs(self.task("New", Sub, nothing).made, nothing)

        class Odd(tasklet):
            def __new__(cls, func=None):
                return 5
        with self.assertRaisesRegex(TypeError, "no tasklet"):
            self.task("New", Odd)

    def test_setup(self):
        seen = []
        t = self.task("New", NULL, lambda *args, **kwargs: seen.append((args, kwargs)))
        self.assertEqual(self.task("Setup", t, (1, 2), {"a": 3}), 0)
        self.assertEqual(self.task("Scheduled", t), 1)
        with self.unchanged(t), self.assertRaisesRegex(RuntimeError, "alive"):
            self.task("Setup", t, ())
        stackless.run()
        self.assertEqual(seen, [((1, 2), {"a": 3})])
        with self.assertRaisesRegex(RuntimeError, "not bound"):
            self.task("Setup", t, ())

    def test_setup_calls_the_class(self):
        class Sub(tasklet):
            def __call__(self, *args):
                self.called = args
        t = Sub(nothing)
        self.assertEqual(self.task("Setup", t, (1,)), 0)
        self.assertEqual(t.called, (1,))
        self.assertEqual(self.task("Scheduled", t), 0)

    def test_bind(self):
        seen = []
        t = tasklet()
        self.assertEqual(self.task("BindEx", t, seen.append, (5,), None), 0)
        self.assertEqual(self.task("Paused", t), 1)
        self.assertEqual(self.task("Insert", t), 0)
        with self.assertRaisesRegex(RuntimeError, "scheduled"):
            self.task("BindEx", t, nothing)
        self.assertEqual(self.task("Remove", t), 0)
        self.assertEqual(self.task("Run", t), 0)
        self.assertEqual(seen, [5])
        self.assertEqual(self.task("Bind", t, nothing), 0)
        self.assertIs(t.tempval, nothing)
        self.assertEqual(self.task("BindEx", t), 0)
        self.assertIsNone(t.tempval)

    def test_methods_that_are_overridden(self):
        class Sub(tasklet):
            def insert(self):
                raise Error
            remove = run = kill = bind = insert
        t = Sub(nothing)
        self.assertEqual(self.task("BindEx", t, nothing, ()), 0)
        for name in ("Insert", "Remove", "Run"):
            self.assertEqual(self.task(name, t), 0)
        self.assertEqual(self.task("Kill", t), 0)

    def test_run_and_switch(self):
        seen = []

        def task():
            seen.append(self.sched("GetCurrent"))
            schedule()
            seen.append("again")
        t = tasklet(task)()
        self.assertEqual(self.task("Run", t), 0)
        self.assertEqual(seen, [t])
        stackless.run()
        u = tasklet(lambda: self.task("Switch", main))()
        main = stackless.main
        self.task("Run", u)
        self.assertEqual(u.paused, True)
        self.task("Kill", u)
        self.assertEqual(seen, [t, "again"])

    def test_run_wrong(self):
        ch = channel()
        blocked, dead = self.receiver(ch), tasklet()
        for name in ("Run", "Switch", "Insert"):
            with self.unchanged(blocked, dead):
                with self.assertRaisesRegex(RuntimeError, "blocked"):
                    self.task(name, blocked)
                with self.assertRaisesRegex(RuntimeError, "dead"):
                    self.task(name, dead)
        with self.assertRaisesRegex(RuntimeError, "blocked"):
            self.task("Remove", blocked)
        with self.assertRaisesRegex(RuntimeError, "current"):
            self.task("Remove", stackless.current)
        self.assertEqual(self.task("Remove", dead), 0)
        blocked.kill()

    def test_exceptions(self):
        seen = []

        def task():
            while True:
                try:
                    stackless.schedule_remove()
                except (Error, ValueError, KeyError) as e:
                    seen.append((type(e), e.args))
        t = self.paused(task)
        self.assertEqual(self.task("RaiseException", t, Error, (1, 2)), 0)
        self.assertEqual(self.task("RaiseException", t, ValueError, 3), 0)
        self.assertEqual(self.task("RaiseException", t, KeyError), 0)
        self.assertEqual(self.task("Throw", t, 0, Error, 4), 0)
        self.assertEqual(self.task("Throw", t, 0, Error(5)), 0)
        self.assertEqual(self.task("Throw", t, 1, Error, (6,), None), 0)
        self.assertEqual(len(seen), 5)
        stackless.run()
        self.assertEqual(seen, [(Error, (1, 2)), (ValueError, (3,)), (KeyError, ()),
                                (Error, (4,)), (Error, (5,)), (Error, (6,))])
        self.assertEqual(self.task("KillEx", t, 1), 0)
        self.assertEqual(self.task("Alive", t), 1)
        stackless.run()
        self.assertEqual(self.task("Alive", t), 0)
        self.assertEqual(self.task("Kill", t), 0)
        with self.assertRaisesRegex(RuntimeError, "dead"):
            self.task("Throw", t, 0, Error)
        with self.assertRaisesRegex(Error, "own"):
            self.task("RaiseException", stackless.current, Error, "own")

    def test_uncaught(self):
        def task():
            raise Error("uncaught")
        t = tasklet(task)()
        with self.assertRaisesRegex(Error, "uncaught"):
            self.task("Run", t)

    def test_flags(self):
        t = tasklet(nothing)
        for name in ("Atomic", "IgnoreNesting"):
            self.assertEqual([self.task("Set" + name, t, 1), self.task("Get" + name, t),
                              self.task("Set" + name, t, 0), self.task("Get" + name, t)],
                             [0, 1, 1, 0])
        self.assertEqual(self.task("SetBlockTrap", t, 7), 0)
        self.assertEqual(self.task("GetBlockTrap", t), 1)
        self.assertIs(t.block_trap, True)

    def test_attributes(self):
        ch = channel()
        depths = []

        depth, level = self.capi.PyTasklet_GetRecursionDepth, self.capi.PyTasklet_GetNestingLevel

        def task():
            depths.append(depth(stackless.current))
            depths.append(level(stackless.current))
            list(map(lambda x: depths.append(level(stackless.current)), [0]))
            schedule()
        t = tasklet(task)()
        t.run()
        main = stackless.main
        self.assertEqual(depths, [1, 0, 1])
        self.assertEqual([self.task(name, t) for name in (
            "IsMain", "IsCurrent", "Alive", "Paused", "Scheduled", "Restorable")],
            [0, 0, 1, 0, 1, t.restorable])
        self.assertEqual([self.task(name, main) for name in (
            "IsMain", "IsCurrent", "Alive", "Paused", "Scheduled", "Restorable")],
            [1, 1, 1, 0, 1, 1])
        self.assertIs(self.task("GetFrame", t).f_code, task.__code__)
        self.assertIs(self.task("GetFrame", tasklet()), NULL)
        self.assertEqual(self.task("GetBlocked", t), 0)
        self.assertEqual(self.task("GetPendingIrq", t), 0)
        r = self.receiver(ch)
        self.assertEqual(self.task("GetBlocked", r), -1)
        ch.send(1)
        s = self.sender(ch, 1)
        self.assertEqual(self.task("GetBlocked", s), 1)
        ch.receive()
        stackless.run()

    def test_pending_irq(self):
        seen = []

        def task():
            while not self.task("GetPendingIrq", stackless.current):
                pass
            seen.append("due")
            schedule()
            seen.append("went on")
        tasklet(task)()
        stackless.run(1000, soft=True)
        self.assertEqual(seen, ["due"])
        stackless.run()

    def test_bind_thread(self):
        t = tasklet(nothing)
        self.assertEqual(self.task("BindThread", t), 0)
        with self.assertRaisesRegex(ValueError, "bad thread"):
            self.task("BindThread", t, 1)
        done = []

        def thread():
            self.task("BindThread", t)
            done.append(t.thread_id == threading.get_ident())
            self.task("Setup", t, ())
            self.sched("RunWatchdog", 0)
        th = threading.Thread(target=thread)
        th.start()
        th.join()
        self.assertEqual(done, [True])
        # It is an orphan now.
        self.assertEqual(self.task("Alive", t), 0)
        with self.assertRaises(RuntimeError):
            self.task("Run", t)
        self.assertEqual(self.task("Kill", t), 0)


class Channels(CapiTestCase):

    def test_new(self):
        class Sub(channel):
            def __init__(self):
                raise Error
        self.assertIs(type(self.chan("New")), channel)
        self.assertIs(type(self.chan("New", channel)), channel)
        self.assertIs(type(self.chan("New", Sub)), Sub)
        self.assertEqual(self.chan("GetPreference", self.chan("New")), -1)

    def test_send_and_receive(self):
        ch, log = channel(), []
        self.receiver(ch, log)
        self.assertEqual(self.chan("Send", ch, 1), 0)
        self.sender(ch, 2, log)
        self.assertEqual(self.chan("Receive", ch), 2)
        stackless.run()
        self.assertEqual(log, [1, "sent"])

    def test_in_tasklets(self):
        a, b = channel(), channel()
        t = tasklet(self.capi.forward)(a, b, 100)
        got = []

        def task():
            for i in range(100):
                a.send(i)
                got.append(b.receive())
        tasklet(task)()
        stackless.run()
        self.assertEqual(got, list(range(100)))
        self.assertFalse(t.alive)

    def test_killed_in_c(self):
        a, b = channel(), channel()
        t = tasklet(self.capi.forward)(a, b, 100)
        t.run()
        self.assertEqual(self.task("GetBlocked", t), -1)
        t.kill()
        self.assertDead(t)

    def test_exceptions(self):
        ch, seen = channel(), []

        def task():
            for i in range(5):
                try:
                    ch.receive()
                except Error as e:
                    seen.append(e.args)
        tasklet(task)().run()
        self.assertEqual(self.chan("SendException", ch, Error, (1, 2)), 0)
        self.assertEqual(self.chan("SendException", ch, Error, 3), 0)
        self.assertEqual(self.chan("SendException", ch, Error), 0)
        self.assertEqual(self.chan("SendThrow", ch, Error, (4,), None), 0)
        self.assertEqual(self.chan("SendThrow", ch, Error(5)), 0)
        self.assertEqual(seen, [(1, 2), (3,), (), (4,), (5,)])

    def test_deadlock_and_traps(self):
        ch = channel()
        with self.unchanged(ch):
            with self.assertRaisesRegex(RuntimeError, "Deadlock"):
                self.chan("Receive", ch)
            self.task("SetBlockTrap", stackless.main, 1)
            with self.assertRaisesRegex(RuntimeError, "blocked"):
                self.chan("Send", ch, 1)
            self.task("SetBlockTrap", stackless.main, 0)
        self.chan("Close", ch)
        with self.unchanged(ch), self.assertRaises(ValueError):
            self.chan("Send", ch, 1)
        self.chan("Open", ch)

    def test_attributes(self):
        ch = channel()
        self.assertIs(self.chan("GetQueue", ch), None)
        t = self.receiver(ch)
        self.assertIs(self.chan("GetQueue", ch), t)
        self.assertEqual(self.chan("GetBalance", ch), -1)
        self.assertEqual(self.chan("Close", ch), 0)
        self.assertEqual((self.chan("GetClosing", ch), self.chan("GetClosed", ch)), (1, 0))
        self.chan("Send", ch, None)
        self.assertEqual((self.chan("GetClosing", ch), self.chan("GetClosed", ch)), (1, 1))
        self.assertEqual(self.chan("Open", ch), 0)
        self.assertEqual((self.chan("GetClosing", ch), self.chan("GetClosed", ch)), (0, 0))
        for preference in (5, 0, -7):
            self.assertEqual(self.chan("SetPreference", ch, preference), 0)
            sign = (preference > 0) - (preference < 0)
            self.assertEqual(self.chan("GetPreference", ch), sign)
            self.assertEqual(ch.preference, sign)
        self.assertEqual(self.chan("SetScheduleAll", ch, 9), 0)
        self.assertEqual(self.chan("GetScheduleAll", ch), 1)
        stackless.run()


class Scheduling(CapiTestCase):

    def test_schedule(self):
        turns = []
        tasklet(turns.append)(1)
        self.assertIs(self.sched("Schedule", None, 0), None)
        self.assertEqual(turns, [1])
        self.assertIs(self.sched("Schedule"), stackless.current)

    def test_schedule_remove(self):
        main = stackless.main
        tasklet(main.insert)()
        self.assertEqual(self.sched("Schedule", 5, 1), 5)

    def test_counts(self):
        self.assertEqual(self.sched("GetRunCount"), 1)
        t = tasklet(nothing)()
        self.assertEqual(self.sched("GetRunCount"), 2)
        t.kill()
        self.assertIs(self.sched("GetCurrent"), stackless.current)
        self.assertEqual(self.sched("GetCurrentId"), stackless.getcurrentid())
        self.assertEqual(self.capi.id_without_gil(), stackless.getcurrentid())
        ids = []
        t = tasklet(lambda: ids.extend([self.sched("GetCurrentId"), stackless.getcurrentid(),
                                        self.capi.id_without_gil()]))()
        stackless.run()
        self.assertEqual(ids, [ids[0]] * 3)

    def test_a_new_thread(self):
        seen = []

        def thread():
            seen.append(self.sched("GetRunCount"))
            seen.append(self.sched("CanYield"))
            seen.append(self.task("IsMain", self.sched("GetCurrent")))
        th = threading.Thread(target=thread)
        th.start()
        th.join()
        self.assertEqual(seen, [1, 1, 1])

    def test_watchdog(self):
        def hog():
            while True:
                pass
        t = tasklet(hog)()
        self.assertIs(self.sched("RunWatchdog", 1000), t)
        self.assertEqual(self.task("Paused", t), 1)
        self.assertEqual(self.task("Insert", t), 0)
        self.assertIs(self.sched("RunWatchdogEx", 1000, 8), t)
        t.kill()
        self.assertIs(self.sched("RunWatchdog", 0), None)
        for flags in (-1, 256):
            with self.assertRaisesRegex(ValueError, "flags"):
                self.sched("RunWatchdogEx", 0, flags)

    def test_watchdog_flags(self):
        def nested():
            list(map(lambda x: hog(), [0]))

        def hog():
            while not stop:
                pass

        def polite():
            while not stop:
                schedule()
        stop = []
        t = tasklet(nested)()
        self.assertIs(self.sched("RunWatchdogEx", 1000, 4), t)          # ignores nesting
        stop.append(1)
        t.insert()
        stackless.run()
        stop.clear()
        tasklet(polite)()
        self.assertIs(self.sched("RunWatchdogEx", 1000, 2 | 8), None)   # soft
        stop.append(1)
        stackless.run()

    def test_switch_trap(self):
        self.assertEqual(self.sched("AdjustSwitchTrap", 1), 0)
        self.assertEqual(self.sched("CanYield"), 0)
        t = tasklet(nothing)()
        with self.assertRaisesRegex(RuntimeError, "switch_trap"):
            self.task("Run", t)
        self.assertEqual(self.sched("AdjustSwitchTrap", -1), 1)
        self.assertEqual(self.sched("CanYield"), 1)
        self.sched("AdjustSwitchTrap", sys.maxsize >> 32)
        with self.assertRaises(OverflowError):
            self.sched("AdjustSwitchTrap", sys.maxsize >> 32)
        self.sched("AdjustSwitchTrap", -(sys.maxsize >> 32))
        t.kill()

    def test_can_yield(self):
        self.task("SetBlockTrap", stackless.main, 1)
        self.assertEqual(self.sched("CanYield"), 0)
        self.task("SetBlockTrap", stackless.main, 0)
        self.assertEqual(self.sched("CanYield"), 1)

    def test_call_main_from_inside(self):
        called = []
        for call in (lambda: self.sched("Call_Main", called.append, (1,)),
                     lambda: self.sched("CallMethod_Main", divmod),
                     lambda: self.sched("CallMethod_Main", 5, "__add__")):
            with self.assertRaisesRegex(RuntimeError, "within a main tasklet"):
                call()
        tasklet(lambda: self.sched("Call_Main", called.append, (1,)))()
        with self.assertRaisesRegex(RuntimeError, "within a main tasklet"):
            stackless.run()
        self.assertEqual(called, [])
        with self.assertRaisesRegex(AttributeError, "missing"):
            self.sched("CallMethod_Main", 5, "missing")
        with self.assertRaisesRegex(TypeError, "call of non-callable attribute"):
            self.sched("CallMethod_Main", 5, "real")
        for call in (self.capi.PyStackless_CallCMethod_Main,
                     lambda: self.sched("CallMethod_Main", NULL, "real")):
            with self.assertRaises(SystemError):
                call()

    def test_old_macros(self):
        turns = []
        tasklet(turns.append)(1)
        t = tasklet(self.capi.old_macros)()
        self.assertIs(self.capi.old_macros(), None)
        stackless.run()
        self.assertEqual(turns, [1])
        self.assertFalse(t.alive)
        u = tasklet(nothing)()
        self.assertEqual(self.task("Run_nr", u), 0)
        ch = channel()
        self.receiver(ch)
        self.assertEqual(self.chan("Send_nr", ch, 1), 0)
        self.sender(ch, 2)
        self.assertEqual(self.chan("Receive_nr", ch), 2)
        stackless.run()


class Callbacks(CapiTestCase):

    def test_channel_callback(self):
        seen = []
        ch = channel()
        self.assertEqual(self.sched("SetChannelCallback", lambda *args: seen.append(args)), 0)
        t = self.receiver(ch)
        ch.send(1)
        self.assertEqual(self.sched("SetChannelCallback", None), 0)
        self.assertEqual([(s, w) for c, x, s, w in seen], [(0, 1), (1, 0)])
        self.assertIs(stackless.get_channel_callback(), None)
        stackless.run()
        self.assertFalse(t.alive)

    def test_schedule_callback(self):
        seen = []

        def callback(prev, next):
            seen.append((prev, next))
        self.assertEqual(self.sched("SetScheduleCallback", callback), 0)
        self.assertIs(stackless.get_schedule_callback(), callback)
        t = tasklet(nothing)()
        t.run()
        self.assertEqual(self.sched("SetScheduleCallback"), 0)
        self.assertEqual(seen, [(stackless.main, t), (t, stackless.main)])

    def test_hook(self):
        seen = []
        self.capi.set_hook(seen)
        t = tasklet(nothing)()
        t.run()
        self.assertEqual(seen, [(stackless.main, t), (t, stackless.main)])
        # One takes the place of the other; it can be put back from Python.
        as_callable = stackless.get_schedule_callback()
        self.assertIs(stackless.set_schedule_callback(print), as_callable)
        stackless.set_schedule_callback(as_callable)
        u = tasklet(nothing)()
        u.run()
        self.assertEqual(len(seen), 4)
        for args in ((), (1, 2), (None, None), (t,), (t, u, t)):
            with self.assertRaises(TypeError):
                as_callable(*args)
        self.capi.set_hook()
        self.assertIs(stackless.get_schedule_callback(), None)
        tasklet(nothing)().run()
        self.assertEqual(len(seen), 4)

    def check_unraisable(self, mode, exc_type):
        from test.support import catch_unraisable_exception
        seen = []
        self.capi.set_hook(seen, mode)
        with catch_unraisable_exception() as cm:
            t = tasklet(nothing)()
            t.run()
            self.assertIs(cm.unraisable.exc_type, exc_type)
        self.capi.set_hook()
        self.assertEqual(len(seen), 2)
        self.assertFalse(t.alive)

    def test_hook_raises(self):
        self.check_unraisable(1, ValueError)

    def test_hook_switches(self):
        self.check_unraisable(2, RuntimeError)

    def test_hook_fails_without_exception(self):
        self.check_unraisable(4, SystemError)

    def test_hook_removes_itself(self):
        seen = []
        self.capi.set_hook(seen, 3)
        t = tasklet(nothing)()
        t.run()
        self.assertEqual(seen, [(stackless.main, t)])
        self.assertIs(stackless.get_schedule_callback(), None)
        self.capi.set_hook()           # lets go of the list


class RunFor(CapiTestCase):

    def test_nothing_to_do(self):
        self.assertEqual(self.sched("RunFor", 10 ** 9), (0, 0, 0, None))

    def test_all_end_early(self):
        turns = []

        def task(n):
            for i in range(3):
                turns.append((n, i))
                schedule()
        for n in range(3):
            tasklet(task)(n)
        elapsed, overshoot, runnable, who = self.sched("RunFor", 60 * 10 ** 9)
        self.assertEqual((overshoot, runnable, who), (0, 0, None))
        self.assertLess(elapsed, 60 * 10 ** 9)
        self.assertEqual(len(turns), 9)

    def test_hog_is_interrupted(self):
        def hog():
            while not stop:
                counts[0] += 1
        counts, stop = [0], []
        t = tasklet(hog)()
        for ns in (5 * 10 ** 6, 1, 0, -5):
            before = counts[0]
            elapsed, overshoot, runnable, who = self.sched("RunFor", ns)
            self.assertIs(who, t)
            self.assertGreaterEqual(elapsed, max(ns, 0))
            self.assertEqual(overshoot, elapsed - max(ns, 0))
            self.assertEqual(runnable, 1)
            self.assertTrue(t.scheduled)
            self.assertGreater(counts[0], before)
        stop.append(1)
        self.assertEqual(self.sched("RunFor", 60 * 10 ** 9)[2:], (0, None))
        self.assertFalse(t.alive)

    def test_total(self):
        # Those that switch all the time do not get more than one that does not.
        def polite():
            while not stop:
                schedule()
        stop = []
        for n in range(2):
            tasklet(polite)()
        elapsed, overshoot, runnable, who = self.sched("RunFor", 5 * 10 ** 6)
        self.assertEqual(runnable, 2)
        self.assertGreaterEqual(elapsed, 5 * 10 ** 6)
        self.assertIsNotNone(who)
        stop.append(1)
        stackless.run()

    def test_sleepers(self):
        # They are not waited for, but woken.
        woken = []

        def sleeper(seconds):
            stackless.sleep(seconds)
            woken.append(seconds)
        t = tasklet(sleeper)(1000)
        tasklet(sleeper)(0.001)
        while not woken:
            self.assertLess(self.sched("RunFor", 60 * 10 ** 9)[0], 60 * 10 ** 9)
        self.assertEqual(woken, [0.001])
        self.assertTrue(t.blocked)
        t.kill()

    def test_uncaught(self):
        def task():
            raise Error("uncaught")
        tasklet(task)()
        with self.assertRaisesRegex(Error, "uncaught"):
            self.sched("RunFor", 10 ** 9)

    def test_nested(self):
        errors = []

        def task():
            try:
                self.sched("RunFor", 10 ** 6)
            except RuntimeError as e:
                errors.append(str(e))
        for run in (lambda: self.sched("RunFor", 60 * 10 ** 9), lambda: stackless.run(10 ** 9)):
            tasklet(task)()
            tasklet(schedule)()
            run()
        self.assertEqual(len(errors), 2)
        self.assertIn("time limit", errors[0])
        stackless.run()

    def test_in_a_tasklet(self):
        def hog():
            while not stop:
                pass
        stop, got = [], []
        u = tasklet(lambda: (got.append(self.sched("RunFor", 2 * 10 ** 6)[3]), stop.append(1)))
        t = tasklet(hog)()
        u()
        u.run()
        stackless.run()                # which ends with the other one
        stackless.run()
        self.assertEqual(got, [t])


def through_map(f):
    return list(map(lambda x: f(), [0]))[0]


class SoftCalls(CapiTestCase):
    """C functions that go on after a call without holding C stack."""

    def everywhere(self, f):
        """What f() returns, or the type of what it raises: in main, in a tasklet, and in one
        that has C functions between its frames; the same in each."""
        def attempt():
            try:
                got.append(f())
            except Exception as e:
                got.append((type(e), str(e)))
        got = []
        attempt()
        for call in (lambda: attempt(), lambda: through_map(attempt)):
            tasklet(call)()
            stackless.run()
        self.assertEqual(got, [got[0]] * 3)
        return got[0]

    def test_result(self):
        def f(*args, **kwargs):
            schedule()
            return args, kwargs
        soft = self.capi.soft_call
        self.assertEqual(self.everywhere(lambda: soft(f)), (((), {}), "state"))
        self.assertEqual(self.everywhere(lambda: soft(f, 1, 2, a=3)),
                         (((1, 2), {"a": 3}), "state"))
        self.assertEqual(self.everywhere(lambda: soft(len, "abc")), (3, "state"))
        self.assertEqual(self.everywhere(lambda: soft(int, "x"))[0], ValueError)
        self.assertEqual(self.everywhere(lambda: soft(soft, soft, f, 1)),
                         (((((1,), {}), "state"), "state"), "state"))

    def test_method(self):
        def f(x):
            schedule()
            return x
        o = self.capi.Soft()
        self.assertEqual(self.everywhere(lambda: o.soft_call(f, 5)), (5, "state"))
        bound = o.soft_call
        self.assertEqual(self.everywhere(lambda: bound(f, 5)), (5, "state"))
        self.assertEqual(self.everywhere(lambda: bound(*[f, 5])), (5, "state"))

    def test_loop(self):
        def f(x):
            if x % 100 == 0:
                schedule()
            return x * 2
        items = list(range(20_000))    # no recursion, in no place
        self.assertEqual(self.everywhere(lambda: self.capi.soft_map(f, items)),
                         [x * 2 for x in items])
        self.assertEqual(self.everywhere(lambda: self.capi.soft_map(str, items)),
                         [str(x) for x in items])
        self.assertEqual(self.everywhere(lambda: self.capi.soft_map(f, [])), [])

    def test_no_c_stack(self):
        def f(x):
            stackless.schedule_remove()
            return x
        got = []
        t = self.paused(lambda: got.append(self.capi.soft_map(f, [1, 2])))
        if not stackless.enable_softswitch(None):
            self.assertFalse(t.restorable)
        else:
            self.assertTrue(t.restorable)
            self.assertEqual(t.nesting_level, 0)
        t.run()
        self.assertTrue(t.paused)
        t.run()
        self.assertEqual(got, [[1, 2]])

    def test_switching_methods(self):
        # What is called switches by itself, softly.
        for bound in (lambda ch: (ch.receive, ch.send),
                      lambda ch: (functools.partial(channel.receive, ch),
                                  functools.partial(channel.send, ch))):
            a, b, got = channel(), channel(), []

            def task():
                for i in range(100):
                    a.send(i)
                    got.append(b.receive())
            t = tasklet(lambda: self.capi.soft_forward(bound(a)[0], bound(b)[1], 100))()
            t.run()
            self.assertTrue(t.blocked)
            if stackless.enable_softswitch(None) and bound(a)[0] == a.receive:
                self.assertTrue(t.restorable)
            tasklet(task)()
            stackless.run()
            self.assertEqual(got, list(range(100)))
            self.assertFalse(t.alive)

    def test_switching_functions(self):
        seen = []

        def task():
            seen.append(self.capi.soft_call(stackless.schedule, 5))
            seen.append(self.capi.soft_call(stackless.schedule, retval=6))
            seen.append(self.capi.soft_call(stackless.current.run))
            seen.append(self.capi.soft_map(schedule, [7, 8]))
            seen.append(self.capi.soft_call(channel.receive, ch))
            try:
                self.capi.soft_call(channel.send, ch)
            except TypeError:
                seen.append("TypeError")
        ch = channel()
        t = tasklet(task)()
        while len(seen) < 4:
            schedule()
        ch.send(9)
        stackless.run()
        self.assertEqual(seen, [(5, "state"), (6, "state"), (None, "state"), [7, 8],
                                (9, "state"), "TypeError"])
        self.assertFalse(t.alive)

    def test_killed_in_receive(self):
        ch = channel()
        t = tasklet(lambda: self.capi.soft_call(ch.receive))()
        t.run()
        t.kill()
        self.assertDead(t)
        self.assertEqual(ch.balance, 0)

    def test_exceptions(self):
        def f(x=None):
            schedule()
            raise Error("of f")
        for call in (lambda: self.capi.soft_call(f), lambda: self.capi.soft_map(f, [1])):
            self.assertEqual(self.everywhere(call), (Error, "of f"))
        self.assertEqual(self.everywhere(lambda: type(self.capi.soft_catch(f))), Error)
        self.assertEqual(self.everywhere(lambda: self.capi.soft_catch(schedule) is not None), True)
        self.assertEqual(self.everywhere(lambda: type(self.capi.soft_catch(5))), TypeError)

    def test_thrown_into(self):
        def f():
            stackless.schedule_remove()
        got = []
        t = self.paused(lambda: got.append(self.capi.soft_catch(f)))
        t.throw(Error("thrown"))
        self.assertEqual(str(got[0]), "thrown")
        t = self.paused(lambda: self.capi.soft_map(lambda x: f(), [1, 2]))
        t.kill()
        self.assertDead(t)
        t = self.paused(lambda: self.capi.soft_map(lambda x: f(), [1, 2]))
        del t                          # dropped, or killed if it was left hard

    def test_wrong(self):
        soft = self.capi.soft_wrong

        def f():
            schedule()
            return 5
        self.assertEqual(self.everywhere(lambda: soft(0, f)), 5)
        for mode, exc, text in ((1, SystemError, "second soft call"),
                                (2, SystemError, "not returned its result"),
                                (3, SystemError, "NULL without an exception"),
                                (4, SystemError, "with an exception set"),
                                (5, KeyError, "after that"),
                                (6, SystemError, "not returned its result|NULL without"),
                                (7, TypeError, "needs a caller")):
            with self.subTest(mode=mode):
                got = self.everywhere(lambda: soft(mode, f))
                self.assertIs(got[0], exc)
                self.assertRegex(got[1], text)
        self.assertIs(self.everywhere(self.capi.soft_call)[0], TypeError)

    def test_continuation(self):
        import types
        m = types.ModuleType("m")
        k = self.sched("NewContinuation", m, "made", 1)
        self.assertIs(m.made, k)
        self.assertEqual(repr(k), "<continuation m.made>")
        self.assertEqual((k.__module__, k.__name__), ("m", "made"))
        with self.assertRaises(TypeError):
            type(k)()
        for args in ((NULL, "made"), (5, "made"), (m, NULL)):
            with self.assertRaises(TypeError):
                self.sched("NewContinuation", *args)
        with self.assertRaises(ValueError):
            self.sched("NewContinuation", m, "made", 2)

    def test_destructor_of_an_argument_switches(self):
        # Between the return of the C function and the call that it has asked for.
        class X:
            def __del__(self):
                schedule()
                seen.append("deleted")
        seen = []

        def task():
            seen.append(self.capi.soft_call(lambda *args: len(args), X()))
        tasklet(task)()
        tasklet(schedule)()
        stackless.run()
        self.assertEqual(sorted(seen, key=str), [(1, "state"), "deleted"])

    def test_destructor_raises_or_calls(self):
        class X:
            def __del__(self):
                seen.append(soft(lambda: 1))
        seen, soft = [], self.capi.soft_call

        def task():
            seen.append(soft(lambda: 2))
            seen.append(self.capi.soft_map(lambda x: X() and None, [1, 2]))
        tasklet(task)()
        stackless.run()
        self.assertEqual(seen, [(2, "state"), (1, "state"), (1, "state"), [None, None]])

    def test_profile(self):
        events = []

        def profile(frame, event, arg):
            if event.startswith("c_") and arg is soft:
                events.append(event)
        soft = self.capi.soft_call

        def f(fail):
            schedule()
            if fail:
                raise Error

        def task():
            sys.setprofile(profile)
            try:
                soft(f, False)
                with self.assertRaises(Error):
                    soft(f, True)
            finally:
                sys.setprofile(None)
        tasklet(task)()
        stackless.run()
        self.assertEqual(events, ["c_call", "c_return", "c_call", "c_exception"])

    def test_traceback(self):
        def f():
            raise Error
        names = []

        def task():
            try:
                self.capi.soft_call(f)
            except Error as e:
                tb = e.__traceback__
                while tb is not None:
                    names.append(tb.tb_frame.f_code.co_name)
                    tb = tb.tb_next
        tasklet(task)()
        stackless.run()
        self.assertEqual(names, ["task", "f"])

    @needs_soft                        # within C functions nobody is interrupted
    def test_watchdog(self):
        def f(x):
            n = 0
            while n < 1000:
                n += 1
        got = []
        t = tasklet(lambda: got.append(self.capi.soft_map(f, [1, 2, 3])))()
        times = 0
        while stackless.run(500) is t:
            times += 1
            t.insert()
        self.assertGreater(times, 3)
        self.assertEqual(got, [[None] * 3])


class InChildren(ChildTestCase):

    def script(self, text):
        library = build_module("capi_test.c", "c")
        return f"import sys\nsys.path.insert(0, {os.path.dirname(library)!r})\n" + text

    def test_without_stackless(self):
        # As stock CPython: there is no capsule.
        out = self.run_ok(self.script("""
import _stackless
del _stackless._C_API
import capi_test as capi
for i in range(2):
    for name in dir(capi):
        if not name.startswith("Py") or "Call" in name or name == "PyStackless_GetCurrentId":
            continue
        try:
            print(name, getattr(capi, name)(*[1] * ("RunFor" in name)))
        except ImportError as e:
            assert "Stackless Python" in str(e) and "_stackless._C_API" in str(e), e
        else:
            assert False, name
assert capi.checks(5) == (0, 0, 0, 0)
import threading
assert capi.PyStackless_GetCurrentId() == threading.get_ident()
try:
    capi.objects()
except ImportError:
    print("the end")
"""))
        self.assertIn("the end", out)

    def test_replaced_module(self):
        out = self.run_ok(self.script("""
import capi_test as capi
capi.PyStackless_Import()
import sys, types
sys.modules["_stackless"] = types.ModuleType("_stackless")
try:
    capi.PyTasklet_New()
except ImportError as e:
    print(e)
"""))
        self.assertIn("has been replaced", out)

    @needs_soft                        # what was left hard is not pickled to be run
    def test_pickled_soft_call(self):
        # The continuation goes by its name, its state by value.
        out = self.run_ok(self.script("""
import pickle, stackless, capi_test as capi
def f(x):
    stackless.schedule_remove()
    return x * 10
def task():
    print("got", capi.soft_map(f, [1, 2]))
t = stackless.tasklet(task)()
t.run()
for each in pickle.loads(pickle.dumps(t)), t:
    each.run()
    assert each.paused
    each.run()
    assert not each.alive
"""))
        self.assertEqual(out, "got [10, 20]\n" * 2)

    def test_without_the_gil(self):
        r = run_python(self.script("import capi_test\ncapi_test.run_without_gil()\n"))
        self.assertLess(r.returncode, 0)
        self.assertIn("PyStackless_RunWatchdogEx", r.stderr)
        self.assertIn("the function must be called with the GIL held", r.stderr)

    @unittest.skipIf(COLLECTS, "what is frozen is not deleted at the end")
    def test_at_exit(self):
        out = self.run_ok(self.script("""
import atexit, stackless, capi_test as capi
class Late:
    def __del__(self):
        print(capi.PyStackless_GetRunCount(), flush=True)
        try:
            t = capi.PyTasklet_New(..., print)
            capi.PyTasklet_Setup(t, ("late", ), None)
            capi.PyStackless_RunWatchdog(0)
        except BaseException as e:
            print(type(e))
late = Late()
capi.PyStackless_Import()
"""))
        self.assertIn("1", out)


@unittest.skipUnless(importlib.util.find_spec("_testcapi"),
                     "_testcapi, which makes allocations fail, is not built")
class OutOfMemory(ChildTestCase):
    """Every allocation of an operation fails (see oom.py)."""

    SCRIPT = """
import sys
sys.path.insert(0, {!r})
from test_stackless import oom, oom_cases
import capi_test as capi, stackless

@oom_cases.case
def new():
    return (lambda: capi.PyTasklet_New(..., print)),

@oom_cases.case
def setup():
    t = stackless.tasklet(oom_cases.nothing)
    return (lambda: capi.PyTasklet_Setup(t, (1, 2), {{"a": 3}})), t

@oom_cases.case
def bind():
    t = stackless.tasklet()
    return (lambda: capi.PyTasklet_BindEx(t, oom_cases.nothing, (1, 2), {{"a": 3}})), t

@oom_cases.target_may_fail
@oom_cases.case
def run_tasklet():
    t = stackless.tasklet(oom_cases.nothing)()
    return (lambda: capi.PyTasklet_Run(t)), t

@oom_cases.exception_may_fail
@oom_cases.case
def throw():
    t = stackless.tasklet(oom_cases.nothing)()
    return (lambda: capi.PyTasklet_Throw(t, 0, TaskletExit, (1,))), t

@oom_cases.case
def kill_pending():
    t = stackless.tasklet(oom_cases.nothing)()
    return (lambda: capi.PyTasklet_KillEx(t, 1)), t

@oom_cases.target_may_fail
@oom_cases.case
def send_exception():
    ch = stackless.channel()
    t = stackless.tasklet(ch.receive)()
    ch.preference = 1
    t.run()
    return (lambda: capi.PyChannel_SendException(ch, TaskletExit, 5)), t, ch

@oom_cases.case
def channel():
    return (lambda: capi.PyChannel_New()),

@oom_cases.case
def callback():
    def operation():
        capi.set_hook([])
        capi.set_hook()
    return operation,

@oom_cases.case
def soft():
    return (lambda: capi.soft_map(oom_cases.nothing, [1, 2])),

@oom_cases.only_main
@oom_cases.target_may_fail
@oom_cases.case
def run_for():
    t = stackless.tasklet(oom_cases.nothing)()
    return (lambda: capi.PyStackless_RunFor(10 ** 10)), t

for place in {!r}:
    for name in ("new setup bind run_tasklet throw kill_pending send_exception channel "
                 "callback soft run_for").split():
        if place == "main" or name not in oom_cases.ONLY_MAIN:
            print(place, name, flush=True)
            oom.main(name, place)
print("the end")
"""

    def test_each(self):
        directory = os.path.dirname(build_module("capi_test.c", "c"))
        places = ("main",) if SHUFFLED else ("main", "tasklet", "map")
        r = run_python(self.SCRIPT.format(directory, places))
        if r.returncode != 0 or "the end" not in r.stdout:
            self.fail(f"status {r.returncode}\n" + r.stdout[-1500:] + r.stderr[-3000:])


class Cpp(Tasklets):
    """The same header in C++."""
    language = "c++"


class CppScheduling(Scheduling):
    language = "c++"


if __name__ == "__main__":
    unittest.main()
