"""stackless.dump(), faulthandler, and what the message of a deadlock tells."""

import gc
import importlib.util
import io
import json
import os
import re
import sys
import textwrap
import threading
import time
import unittest

import stackless
from stackless import schedule, schedule_remove, tasklet

from .support import (COLLECTS, SANITIZED, ChildTestCase, StacklessTestCase, needs_soft,
                      run_python)


def wait(ch):
    ch.receive()                                     # wait's line


def deep(ch, n):
    if n:
        deep(ch, n - 1)                              # deep's call
    else:
        wait(ch)                                     # deep's end


def line_of(mark):
    with open(__file__, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.rstrip().endswith("# " + mark):
                return number


def get_dump(**kwargs):
    file = io.StringIO()
    stackless.dump(file, format="json", **kwargs)
    return json.loads(file.getvalue())


def get_text(**kwargs):
    file = io.StringIO()
    stackless.dump(file, **kwargs)
    return file.getvalue()


class DumpTestCase(StacklessTestCase):

    def own(self, **kwargs):
        [thread] = [t for t in get_dump(**kwargs) if t["calling"]]
        self.assertEqual(thread["thread_id"], threading.get_ident())
        return thread

    def info(self, t, **kwargs):
        [found] = [i for thread in get_dump(limit=None, **kwargs)
                   for i in thread["tasklets"] if i["id"] == id(t)]
        return found


class Dump(DumpTestCase):

    def test_main(self):
        info = self.info(stackless.main)
        self.assertEqual(info["state"], "current")
        self.assertTrue(info["main"])
        self.assertIn(__file__, [file for file, line, name in info["frames"]])

    def test_order(self):
        a, b = (tasklet(schedule)() for _ in range(2))
        tasklets = self.own()["tasklets"]
        self.assertEqual([t["id"] for t in tasklets[:3]],
                         [id(stackless.main), id(a), id(b)])
        stackless.run()

    def test_runnable(self):
        t = tasklet(wait)(None)
        info = self.info(t)
        self.assertEqual((info["state"], info["frames"], info["depth"]),
                         ("runnable", [], 0))
        self.assertEqual(info["function"], "wait")
        self.assertFalse(info["main"])
        t.remove()
        self.assertEqual(self.info(t)["state"], "paused")

    def test_names_of_what_was_not_started(self):
        class C:
            def __call__(self):
                pass

            def method(self):
                pass
        for callable, name in ((len, "len"), (C(), "C"), (C().method, "method"),
                               (C, "type"), ([].append, "append")):
            t = tasklet(callable)()
            self.assertEqual(self.info(t)["function"].rpartition(".")[2], name)
            t.remove()

    def test_blocked(self):
        ch = stackless.channel()
        t = self.receiver(ch)
        u = tasklet(deep)(ch, 3)
        stackless.run()
        info = self.info(u)
        self.assertEqual(info["state"], "receiving")
        self.assertEqual(info["channel"], {
            "id": id(ch), "type": "_stackless.channel", "balance": -2})
        self.assertEqual(info["frames"], [
            [__file__, line_of("wait's line"), "wait"],
            [__file__, line_of("deep's end"), "deep"],
            *[[__file__, line_of("deep's call"), "deep"]] * 3])
        self.assertIsNone(info["function"])
        ch.send(1)
        ch.send(2)
        s = self.sender(ch, 1)
        self.assertEqual(self.info(s)["state"], "sending")
        self.assertEqual(self.info(s)["channel"]["balance"], 1)
        ch.receive()
        stackless.run()
        self.assertDead(t)

    def test_paused(self):
        t = self.paused(schedule_remove)
        info = self.info(t)
        self.assertEqual(info["state"], "paused")
        t.kill()

    def test_inside_run(self):
        seen = []

        def inner():
            seen.append((self.info(stackless.main)["state"],
                         self.info(outer)["state"]))

        def run():
            tasklet(inner)()
            stackless.run()
        outer = tasklet(run)()
        stackless.run()
        self.assertEqual(seen, [("in run()", "in run()")])

    @needs_soft
    def test_interrupted(self):
        def forever():
            while True:
                pass
        t = tasklet(forever)()
        stackless.run(100)
        info = self.info(t)
        self.assertEqual((info["state"], info["interrupted"]), ("paused", True))
        self.assertIn("interrupted", get_text(limit=None))
        t.kill()

    def test_within_c_functions(self):
        ch = stackless.channel()
        t = tasklet(lambda: [*map(lambda x: ch.receive(), [1])])()
        stackless.run()
        self.assertTrue(self.info(t)["c_frames"])
        self.assertEqual(self.info(t)["depth"], 2)
        self.assertIn("within C functions", get_text(limit=None))
        t.kill()

    def test_atomic(self):
        t = tasklet(schedule)()
        t.set_atomic(True)
        self.assertTrue(self.info(t)["atomic"])
        self.assertIn("atomic", get_text(limit=None))
        t.kill()

    def test_counts_and_limits(self):
        ch = stackless.channel()
        before = self.own()
        waiting = [tasklet(wait)(ch) for _ in range(20)]
        stackless.run()
        paused = [self.paused(schedule_remove) for _ in range(15)]
        runnable = [tasklet(schedule)() for _ in range(10)]
        after = self.own(limit=7)
        self.assertEqual(
            [after[key] - before[key] for key in ("runnable", "blocked", "paused")],
            [10, 20, 15])
        self.assertEqual(len(after["tasklets"]), 7)
        self.assertIn("more", get_text(limit=7))
        self.assertNotRegex(get_text(limit=None), r"and \d+ more\n")
        self.assertEqual(len(self.own(limit=0)["tasklets"]), 0)
        ids = [t["id"] for t in self.own(limit=None)["tasklets"]]
        self.assertEqual(len(set(ids)), len(ids))
        self.assertLessEqual({id(t) for t in waiting + paused + runnable}, set(ids))
        for t in waiting + paused + runnable:
            t.kill()

    def test_depth(self):
        ch = stackless.channel()
        t = tasklet(deep)(ch, 100)
        stackless.run()
        info = self.info(t, depth=5)
        self.assertEqual((len(info["frames"]), info["depth"]), (5, 102))
        self.assertEqual(len(self.info(t, depth=None)["frames"]), 102)
        self.assertIn("and 82 more frames", get_text(limit=None))
        t.kill()

    @needs_soft
    def test_text(self):
        ch = stackless.channel()
        t = tasklet(wait)(ch)
        stackless.run()
        text = get_text(limit=None)
        self.assertRegex(text, r"(?m)^Thread 0x[0-9a-f]+ \(calling\): 1 runnable, ")
        self.assertIn(
            f"  <_stackless.tasklet at {id(t):#x}> receiving from "
            f"<_stackless.channel at {id(ch):#x}> (balance -1)\n"
            f"    File \"{__file__}\", line {line_of('wait\'s line')}, in wait\n", text)
        self.assertIn(f"  main <_stackless.tasklet at {id(stackless.main):#x}> current",
                      text)
        t.kill()

    @needs_soft
    def test_alike(self):
        one, other = stackless.channel(), stackless.channel()
        waiting = [tasklet(wait)(one) for _ in range(5)]
        stackless.run()
        self.assertIn(f"in wait\n    {len(waiting) - 1} more like this\n", get_text())
        waiting += [tasklet(wait)(other)]
        stackless.run()
        self.assertIn(f"in wait\n    {len(waiting) - 1} more like this, on 2 channels\n", get_text())
        # Not alike: at another depth, atomic.
        others = [tasklet(deep)(one, 0), tasklet(wait)(one)]
        others[1].set_atomic(True)
        stackless.run()
        self.assertIn(f"    {len(waiting) - 1} more like this, on 2 channels\n", get_text())
        self.assertEqual(get_text().count(f"line {line_of("wait's line")}, in wait\n"), 3)
        waiting += others
        for t in waiting:
            t.kill()

    def test_alike_beyond_the_limit(self):
        ch = stackless.channel()
        waiting = [tasklet(wait)(ch) for _ in range(150)]
        stackless.run()
        self.assertIn("    149 more like this\n", get_text(limit=100))
        self.assertEqual(len(self.own(limit=100)["tasklets"]), 100)
        for t in waiting:
            t.kill()

    def test_standard_error_is_the_default(self):
        old, sys.stderr = sys.stderr, io.StringIO()
        try:
            stackless.dump()
            text = sys.stderr.getvalue()
        finally:
            sys.stderr = old
        self.assertIn("(calling)", text)

    def test_bad_arguments(self):
        for kwargs in ({"format": "xml"}, {"limit": -1}, {"depth": -1}):
            with self.assertRaisesRegex(ValueError, "not.*'xml'|not.*-1"):
                stackless.dump(io.StringIO(), **kwargs)
        with self.assertRaises(TypeError):
            stackless.dump(io.StringIO(), limit="1")

    def test_no_frame_object_is_made(self):
        ch = stackless.channel()
        t = tasklet(deep)(ch, 10)
        stackless.run()
        file = io.StringIO()
        stackless.dump(file)
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(10):
            stackless.dump(io.StringIO())
        gc.collect()
        self.assertLess(sys.getallocatedblocks() - before, 10)
        t.kill()

    def test_from_a_tasklet_and_from_callbacks(self):
        seen = []

        def callback(*args):
            seen.append(len(get_text()))
        stackless.set_schedule_callback(callback)
        stackless.set_channel_callback(callback)
        try:
            ch = stackless.channel()
            tasklet(ch.receive)()
            tasklet(ch.send)(1)
            tasklet(callback)()
            stackless.run()
        finally:
            stackless.set_schedule_callback(None)
            stackless.set_channel_callback(None)
        self.assertGreater(len(seen), 4)

    def test_subclasses(self):
        class Special(stackless.tasklet):
            pass
        t = Special(schedule)()
        self.assertIn(type(t).__name__, self.info(t)["type"])
        t.kill()

    def test_other_threads(self):
        ready = threading.Event()
        end = threading.Event()
        ids = []

        def thread():
            ch = stackless.channel()
            waiting = tasklet(wait)(ch)
            waiting.run()
            busy = tasklet(lambda: (ready.set(), end.wait()))()
            ids[:] = [id(busy), id(stackless.main), id(waiting)]
            stackless.run()
            ch.send(1)
        worker = threading.Thread(target=thread)
        worker.start()
        ready.wait()
        threads = get_dump()
        end.set()
        worker.join()
        [found] = [t for t in threads if t["thread_id"] == worker.ident]
        self.assertFalse(found["calling"])
        self.assertEqual([t["id"] for t in found["tasklets"]], ids)
        self.assertEqual([t["state"] for t in found["tasklets"]],
                         ["current", "in run()", "receiving"])
        self.assertEqual(found["tasklets"][2]["frames"],
                         [[__file__, line_of("wait's line"), "wait"]])
        self.assertIn("thread", found["tasklets"][1]["frames"][0][2])

    def test_a_thread_that_sleeps(self):
        ch = stackless.channel()
        main = []

        def thread():
            main.append(stackless.main)
            wait(ch)
        worker = threading.Thread(target=thread)
        worker.start()
        while not ch.balance:
            time.sleep(0.001)
        [found] = [t for t in get_dump() if t["thread_id"] == worker.ident]
        text = get_text()
        ch.send(1)
        worker.join()
        [t] = found["tasklets"]
        self.assertEqual((t["id"], t["state"], t["thread_sleeps"], t["main"]),
                         (id(main[0]), "receiving", True, True))
        self.assertEqual(t["frames"][0], [__file__, line_of("wait's line"), "wait"])
        self.assertEqual((found["runnable"], found["blocked"]), (0, 1))
        self.assertIn("its thread sleeps", text)

    @needs_soft
    def test_a_thread_that_has_ended(self):
        ch = stackless.channel()
        left = []

        def thread():
            left.append(tasklet(wait)(ch))
            left.append(tasklet(schedule_remove)())
            stackless.run()
        worker = threading.Thread(target=thread)
        worker.start()
        worker.join()
        [orphans] = [t for t in get_dump(limit=None) if t["thread_id"] is None]
        ids = {t["id"]: t["state"] for t in orphans["tasklets"]}
        self.assertEqual(ids.get(id(left[0])), "receiving")
        self.assertIn("Threads that have ended", get_text())
        for t in left:
            t.kill()
        left.clear()

    def test_many(self):
        # Bounded in what it shows and, roughly, in what it allocates.
        ch = stackless.channel()
        n = 2_000 if COLLECTS else 20_000
        waiting = [tasklet(wait)(ch) for _ in range(n)]
        stackless.run()
        thread = self.own(limit=10)
        self.assertGreaterEqual(thread["blocked"], n)
        self.assertEqual(len(thread["tasklets"]), 10)
        self.assertLess(len(get_text()), 200_000)
        with self.assertRaises(RuntimeError) as caught:
            stackless.channel().receive()
        self.assertLess(len(str(caught.exception)), 10_000)
        more = re.search(r"\n  and (\d+) more$", str(caught.exception))
        self.assertGreaterEqual(int(more[1]), n - 10)
        del caught
        for t in waiting:
            ch.send(1)


class Deadlock(StacklessTestCase):

    def deadlock(self, function, *args):
        try:
            function(*args)
        except RuntimeError as e:
            return str(e).split("\n")
        self.fail("no deadlock")

    def test_main(self):
        ch = stackless.channel()
        first, *lines = self.deadlock(wait, ch)
        self.assertEqual(first, "Deadlock: the last runnable tasklet cannot be blocked.")
        self.assertEqual(lines, [
            f"  main <_stackless.tasklet at {id(stackless.main):#x}> receiving from "
            f"<_stackless.channel at {id(ch):#x}>, file \"{__file__}\", "
            f"line {line_of('wait\'s line')}, in wait"])

    def test_all_who_wait(self):
        a, b = stackless.channel(), stackless.channel()
        t = tasklet(deep)(a, 2)
        u = tasklet(lambda: b.send(1))()
        stackless.run()
        _, me, *others = self.deadlock(wait, stackless.channel())
        self.assertGreaterEqual(len(others), 2)
        for tasklet_, channel, word, name in ((t, a, "receiving from", "wait"),
                                              (u, b, "sending to", "<lambda>")):
            [line] = [line for line in others if f"{id(tasklet_):#x}" in line]
            self.assertIn(f"{word} <_stackless.channel at {id(channel):#x}>", line)
            self.assertTrue(line.endswith("in " + name) or name == "<lambda>", line)
            self.assertRegex(line, r'file ".*", line \d+, in ')
        t.kill()
        u.kill()

    def test_the_list_is_bounded(self):
        ch = stackless.channel()
        waiting = [tasklet(wait)(ch) for _ in range(50)]
        stackless.run()
        lines = self.deadlock(wait, ch)
        self.assertEqual(len(lines), 1 + 1 + 10 + 1)
        self.assertRegex(lines[-1], r"^  and \d+ more$")
        for t in waiting:
            t.kill()

    def test_in_a_tasklet(self):
        messages = []

        def task():
            try:
                wait(stackless.channel())
            except RuntimeError as e:
                messages.append(str(e))
        tasklet(task)()
        ch = stackless.channel()
        try:
            ch.receive()
        except RuntimeError as e:
            self.assertIn("the main tasklet is receiving without a sender available.\n"
                          "  main <", str(e))
        self.assertEqual(len(messages), 1)
        self.assertGreaterEqual(len(messages[0].split("\n")), 3)

    def test_schedule_remove(self):
        ch = stackless.channel()
        messages = []

        def task():
            try:
                schedule_remove()
            except RuntimeError as e:
                messages.append(str(e))
        tasklet(task)()
        with self.assertRaises(RuntimeError):
            ch.receive()
        self.assertIn("leaving the run queue", messages[0])


class LeftBehind(ChildTestCase):
    """-X dev: tasklets that were ready to run and never have."""

    def run_dev(self, source, *options):
        result = run_python(None, *options, "-c", textwrap.dedent(source))
        self.check(result, 0)
        return result.stderr

    source = """
        import stackless
        def worker():
            stackless.schedule()
        for _ in range(3):
            stackless.tasklet(worker)()
        stackless.tasklet(print)()
    """

    def test_a_warning(self):
        self.assertRegex(self.run_dev(self.source, "-X", "dev"),
                         r"ResourceWarning: the program ends, and of the tasklets that were ready to run 4 never "
                         r"have \(.*worker.*, .*print.*\): is a stackless\.run\(\) missing\?")

    def test_none_without_the_option(self):
        self.assertEqual(self.run_dev(self.source), "")

    def test_none_about_others(self):
        # One that has run, one that waits, one that is paused; and all have run at exit.
        self.assertEqual(self.run_dev("""
            import atexit, stackless
            stackless.tasklet(stackless.channel().receive)()
            stackless.tasklet(print, ("x",))
            task = stackless.tasklet(lambda: stackless.schedule() and None)()
            stackless.schedule()
            assert task.alive
            atexit.register(stackless.run)
            stackless.tasklet(abs)(1)
        """, "-X", "dev"), "")


class FaultHandler(ChildTestCase):

    SCRIPT = """
        import faulthandler, stackless, sys, time
        def wait(ch):
            ch.receive()
        def send(ch):
            ch.send(1)
        def deep(ch, n):
            if n:
                deep(ch, n - 1)
            else:
                wait(ch)
        def end():
            t.insert()
            {end}
        a, b = stackless.channel(), stackless.channel()
        for i in range({waiting}):
            stackless.tasklet(wait)(a)
        stackless.tasklet(send)(b)
        stackless.tasklet(deep)(a, 50)
        stackless.run()
        stackless.tasklet(end)()
        t = stackless.tasklet(wait).bind(None, (a,))
        stackless.run()
    """

    def stderr(self, end, waiting=3, status=0):
        source = self.SCRIPT.format(end=end, waiting=waiting)
        return self.run_status(source, status).stderr

    def check_output(self, text):
        self.assertIn("current 0x", text)
        self.assertIn("5 blocked", text)
        self.assertEqual(len(re.findall(r"Tasklet 0x\w+ receiving from channel 0x", text)),
                         4)
        self.assertEqual(len(re.findall(r"Tasklet 0x\w+ sending to channel 0x", text)), 1)
        self.assertEqual(len(re.findall(r"Tasklet 0x\w+ runnable \(not started\)", text)),
                         1)
        self.assertRegex(text, r"Main tasklet 0x\w+ paused \(most recent call first\):\n"
                               r'  File ".*script.py", line \d+ in <module>\n')
        self.assertRegex(text, r'  File ".*script.py", line 4 in wait\n')
        self.assertIn("  and 32 more frames\n", text)

    def test_dump_traceback(self):
        self.check_output(self.stderr("faulthandler.dump_traceback()"))

    @unittest.skipUnless(hasattr(os, "fork"), "needs POSIX signals")
    def test_on_a_signal(self):
        self.check_output(self.stderr(
            "import os, signal; faulthandler.register(signal.SIGUSR1);"
            "os.kill(os.getpid(), signal.SIGUSR1)"))

    def test_on_a_crash(self):
        result = self.stderr("sys.setswitchinterval(1); faulthandler._sigsegv()",
                             status=-11 if os.name == "posix" else 3)
        self.check_output(result)

    def test_later(self):
        self.check_output(self.stderr(
            "faulthandler.dump_traceback_later(0.05); time.sleep(0.5)"))

    def test_bounded(self):
        text = self.stderr("faulthandler.dump_traceback()", waiting=5000)
        self.assertEqual(len(re.findall(r"Tasklet 0x\w+ receiving from", text))
                         + len(re.findall(r"Tasklet 0x\w+ sending to", text)), 100)
        self.assertIn("5002 blocked", text)

    BUSY = {
        "tasklets": """
            import stackless
            ch = stackless.channel()
            def deep(n):
                if n:
                    return deep(n - 1)
                stackless.schedule()
                ch.receive()
            def work():
                for i in range(50):
                    stackless.tasklet(deep)(i % 20)
                stackless.run()
                while ch.balance < 0:
                    ch.send(1)
                stackless.run()
        """,
        "short-lived code": """
            import stackless
            def work():
                names = {"schedule": stackless.schedule}
                exec("def f(n):\\n if n: return f(n - 1)\\n schedule()\\n schedule()", names)
                for i in range(5):
                    stackless.tasklet(names["f"])(10)
                stackless.run()
        """,
        "within C functions": """
            import stackless
            class Key:
                def __init__(self, n):
                    self.n = n
                def __hash__(self):
                    if self.n:
                        hash(Key(self.n - 1))
                    stackless.schedule()
                    return 1
            def work():
                for i in range(20):
                    stackless.tasklet(hash)(Key(5))
                stackless.run()
        """,
        "generators": """
            import stackless
            def generate(n):
                if n:
                    yield from generate(n - 1)
                stackless.schedule()
                yield n
            def work():
                for i in range(20):
                    stackless.tasklet(lambda: [x for x in generate(5)])()
                stackless.run()
        """,
        "greenlets": """
            import greenlet
            def deep(n):
                return deep(n - 1) if n else main.switch()
            main = greenlet.getcurrent()
            def work():
                greenlets = [greenlet.greenlet(deep) for i in range(20)]
                for g in greenlets + greenlets:
                    g.switch(10) if not g else g.switch()
        """,
    }

    @unittest.skipIf(SANITIZED, "AddressSanitizer looks at the memory that write() is to copy, which "
                     "may be gone: the kernel says so")
    def test_later_while_busy(self):
        # A thread without the GIL followed lists and frames that were freed meanwhile.
        for name, source in self.BUSY.items():
            with self.subTest(name):
                self.run_ok(textwrap.dedent(source) + textwrap.dedent("""
                    import faulthandler, os, time
                    with open(os.devnull, "w") as null:
                        faulthandler.dump_traceback_later(0.0002, repeat=True, file=null)
                        end = time.monotonic() + 1
                        while time.monotonic() < end:
                            work()
                        faulthandler.cancel_dump_traceback_later()
                """))

    @unittest.skipUnless(hasattr(os, "fork"), "needs POSIX signals")
    def test_on_signals_while_busy(self):
        # Which come at any moment, also in the middle of a switch.
        for name, source in self.BUSY.items():
            with self.subTest(name):
                self.run_ok(textwrap.dedent(source) + textwrap.dedent("""
                    import faulthandler, os, random, signal, time
                    rng = random.Random(1)
                    with open(os.devnull, "w") as null:
                        faulthandler.register(signal.SIGALRM, file=null)
                        end = time.monotonic() + 1
                        while time.monotonic() < end:
                            signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-6, 5e-4))
                            work()
                        signal.setitimer(signal.ITIMER_REAL, 0)
                        faulthandler.unregister(signal.SIGALRM)
                """))

    def test_frames(self):
        # The same files, lines and names as anybody else sees, of all kinds of frames.
        self.run_ok("""
            import faulthandler, re, stackless, tempfile
            ch = stackless.channel()
            names = {"ch": ch}
            body = "".join(f"  x = [{i},\\n   {i}]\\n\\n" for i in range(2000))
            exec(f"def long(n):\\n if n:\\n{body}  return long(n - 1)\\n{body}  ch.receive()\\n"
                 f" if n:\\n{body} ch.receive()", names)
            def generator():
                yield ch.receive()
            async def coroutine():
                async def inner():
                    ch.receive()
                await inner()
            def run(c):
                try:
                    c.send(None)
                except StopIteration:
                    pass
            class C:
                def __enter__(self):
                    ch.receive()
                def __exit__(self, *args):
                    pass
                def method(self):
                    with self: pass
            def caller(f):
                return f()
            caller.__code__ = caller.__code__.replace(co_name="c\u00e4ller\u20ac\U0001f600",
                                                      co_filename="f\u00fcr.py")
            functions = [
                lambda: names["long"](0), lambda: names["long"](3),
                lambda: [x for x in generator()], lambda: list(generator()),
                lambda: run(coroutine()), C().method, lambda: caller(ch.receive),
                lambda: [x for x in ch], ch.receive,
                lambda: exec("ch.receive()", {"ch": ch}),
                lambda: list(map(lambda _: ch.receive(), [0])),
            ]
            tasklets = [stackless.tasklet(f)() for f in functions]
            stackless.run()
            with tempfile.TemporaryFile("w+") as file:
                faulthandler.dump_traceback(file)
                file.seek(0)
                text = file.read()
            def escaped(s):
                return "".join(c if " " <= c <= "~" else f"\\\\x{ord(c):02x}" if c < "\u0100"
                               else f"\\\\u{ord(c):04x}" if c < "\U00010000"
                               else f"\\\\U{ord(c):08x}" for c in s)
            for t in tasklets:
                lines = []
                frame = t.frame
                while frame is not None:
                    code = frame.f_code
                    lines.append(f'  File "{escaped(code.co_filename)}", line {frame.f_lineno}'
                                 f' in {escaped(code.co_name)}')
                    frame = frame.f_back
                found = re.search(rf"Tasklet 0x0*{id(t):x} receiving.*:\\n((  .*\\n)+)", text)
                assert found, (t, text)
                if not lines:
                    lines = ["  <no Python frame>"]
                assert found[1].splitlines() == lines, (found[1], lines)
                t.kill()
        """)

    def test_long_names(self):
        text = self.run_status("""
            import faulthandler, stackless
            ch = stackless.channel()
            def f():
                ch.receive()
            for name in ("n" * 1000, "\u00fc" * 1000, "\u20ac" * 1000):
                f.__code__ = f.__code__.replace(co_name=name)
                stackless.tasklet(f)()
            stackless.run()
            faulthandler.dump_traceback()
        """, 0).stderr
        names = re.findall(r" in (\S{100,})\n", text)
        self.assertEqual(len(names), 3)
        self.assertTrue(all(name.endswith("...") and len(name) < 3000 for name in names))

    @unittest.skipUnless(importlib.util.find_spec("resource"), "needs limits of resources")
    def test_without_a_descriptor_to_be_had(self):
        text = self.stderr("import resource;"
                           "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3));"
                           "faulthandler.dump_traceback()")
        self.assertIn("Tasklets are left out", text)
        self.assertNotIn("blocked", text)

    def test_no_descriptor_is_left_open(self):
        self.run_status("""
            import faulthandler, os, stackless
            stackless.tasklet(stackless.channel().receive)()
            stackless.run()
            def free():
                fd = os.open(os.devnull, os.O_RDONLY)
                os.close(fd)
                return fd
            before = free()
            for i in range(5):
                faulthandler.dump_traceback()
            assert free() == before
        """, 0)

    def test_without_tasklets(self):
        text = self.run_status("""
            import faulthandler, stackless
            stackless.main
            faulthandler.dump_traceback()
        """, 0).stderr
        self.assertNotIn("asklet", text)

    def test_the_script_s_own_handler(self):
        text = self.stderr(
            "import os, signal;"
            "signal.signal(signal.SIGUSR1, lambda *args: stackless.dump());"
            "os.kill(os.getpid(), signal.SIGUSR1)")
        self.assertIn("5 blocked", text)
        self.assertIn("main <_stackless.tasklet", text)


if __name__ == "__main__":
    unittest.main()
