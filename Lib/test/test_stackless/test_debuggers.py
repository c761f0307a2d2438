"""Debuggers and counters of lines, as people use them on programs with tasklets."""

import re
import socket
import subprocess
import sys
import tempfile
import textwrap
import trace
import unittest
from pathlib import Path

import stackless
from stackless import schedule, tasklet

from .support import CHILD_TIMEOUT, ChildTestCase, StacklessTestCase, in_turn, run_python

PROGRAM = """
    import pdb, stackless

    def work(name, turns):
        total = 0
        for i in range(turns):
            total += i
            stackless.schedule()
            total += 100
        return total

    def first():
        {attach}
        print("first", work("first", 3))

    def second():
        print("second", work("second", 3))

    stackless.tasklet(first)()
    stackless.tasklet(second)()
    stackless.run()
    print("end")
"""


def stops(output):
    """Where a session of pdb stopped, the frames that `where` prints included: (function,
    source line), in order."""
    return re.findall(r"^(?:> |  )\S+\(\d+\)(\w+)\(\)(?:->.*)?\n-> (.*)$", output, re.MULTILINE)


class Pdb(ChildTestCase):

    def session(self, program, *commands):
        result = run_python(program, stdin="".join(line + "\n" for line in commands))
        self.check(result, 0)
        self.assertTrue(result.stdout.endswith("end\n"), result.stdout)
        return result.stdout.replace("(Pdb) ", "")

    def test_steps_stay_in_the_tasklet(self):
        output = self.session(
            PROGRAM.format(attach="pdb.set_trace()"),
            "next", "step", *["next"] * 6, "p name, i, total", "continue")
        lines = [line for function, line in stops(output) if function == "work"]
        self.assertEqual(lines, [
            "def work(name, turns):", "total = 0", "for i in range(turns):", "total += i",
            "stackless.schedule()", "total += 100", "for i in range(turns):"])
        self.assertIn("('first', 0, 100)", output)
        self.assertIn("second 303\n", output)
        self.assertIn("first 303\n", output)

    def test_frames(self):
        output = self.session(
            PROGRAM.format(attach="pdb.set_trace()"),
            "next", "step", *["next"] * 5, "where", "up", "args", "p work", "continue")
        # The tasklet's frames, and nothing of main's.
        self.assertEqual(stops(output)[-3:], [
            ("first", 'print("first", work("first", 3))'),
            ("work", "total += 100"),
            ("first", 'print("first", work("first", 3))')])
        self.assertNotIn("<module>", output)

    def test_breakpoint_and_return(self):
        output = self.session(
            PROGRAM.format(attach="pdb.set_trace()"),
            "break work, turns == 3", "continue", "return", "p __return__", "continue")
        self.assertIn("work()->303\n", output)
        self.assertIn("\n303\n", output)
        self.assertEqual([line for function, line in stops(output) if function == "work"],
                         ["total = 0", "return total"])

    def test_run_by_pdb(self):
        with tempfile.TemporaryDirectory() as directory:
            script = Path(directory, "program.py")
            script.write_text(textwrap.dedent(PROGRAM.format(attach="breakpoint()")))
            result = run_python(None, "-m", "pdb", str(script),
                                stdin="continue\nnext\np stackless.current.is_main\n"
                                      "continue\nquit\n")
        self.check(result, 0)
        self.assertIn("False", result.stdout)
        self.assertIn("second 303\n", result.stdout)
        self.assertIn("first 303\n", result.stdout)
        self.assertIn("The program finished", result.stdout)

    def test_post_mortem(self):
        output = self.session("""
            import pdb, sys, stackless
            def inner(value):
                stackless.schedule()
                raise KeyError(value)
            def task():
                try:
                    inner(42)
                except KeyError as e:
                    stackless.schedule()
                    pdb.post_mortem(e.__traceback__)
            stackless.tasklet(task)()
            stackless.tasklet(task)
            stackless.run()
            print("end")
            """, "p value", "up", "continue")
        self.assertIn("42\n", output)
        self.assertEqual(stops(output), [("inner", "raise KeyError(value)"),
                                         ("task", "inner(42)")])


class Remote(ChildTestCase):
    """A debugger that is attached from another process, and to every tasklet."""

    ATTACH = """
        import socket, sys
        connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
        file = connection.makefile("rw")
        debugger = pdb.Pdb(stdin=file, stdout=file, nosigint=True)
        debugger.use_rawinput = False
        debugger.reset()
        debugger.set_break(__file__, 8)
        debugger.botframe = sys._getframe()
        debugger.set_continue()

        def attach(previous, following):
            if not following.is_main and following.alive:
                following.trace_function = debugger.trace_dispatch
        stackless.set_schedule_callback(attach)
        """

    def test_all(self):
        program = textwrap.dedent(PROGRAM).format(attach="pass").replace(
            "\nstackless.tasklet(first)()",
            textwrap.dedent(self.ATTACH) + "\nstackless.tasklet(first)()")
        self.assertEqual(program.split("\n")[7].strip(), "stackless.schedule()")
        with tempfile.TemporaryDirectory() as directory, socket.socket() as server:
            script = Path(directory, "program.py")
            script.write_text(program)
            server.bind(("127.0.0.1", 0))
            server.listen()
            server.settimeout(CHILD_TIMEOUT)
            child = subprocess.Popen(
                [sys.executable, str(script), str(server.getsockname()[1])],
                stdout=subprocess.PIPE, text=True)
            with child:
                connection, _ = server.accept()
                connection.settimeout(CHILD_TIMEOUT)
                with connection, connection.makefile("rw") as file:
                    seen = []
                    for turn in range(6):
                        self.command(file, None)
                        seen.append(self.command(file, "p name, i"))
                        frames = stops(self.command(file, "where") + "\n")
                        self.assertEqual([function for function, line in frames],
                                         [seen[-1].split("'")[1], "work"])
                        file.write("continue\n")
                        file.flush()
                    output, _ = child.communicate(timeout=CHILD_TIMEOUT)
        self.assertEqual(child.returncode, 0)
        self.assertEqual(sorted(seen), [f"('{name}', {i})" for name in ("first", "second")
                                        for i in range(3)])
        self.assertEqual(in_turn(output.splitlines()),
                         in_turn(["first 303", "second 303", "end"]))

    def command(self, file, command):
        """What the debugger answers, up to its next prompt."""
        if command is not None:
            file.write(command + "\n")
            file.flush()
        text = ""
        while not text.endswith("(Pdb) "):
            char = file.read(1)
            self.assertTrue(char, text)
            text += char
        return text.removesuffix("(Pdb) ").rstrip()


class Counters(StacklessTestCase):

    def test_trace_counts_lines(self):
        def work():
            for i in range(4):
                schedule()
        counter = trace.Trace(count=True, trace=False)
        for i in range(2):
            tasklet(counter.runfunc)(work)
        tasklet(work)()                # nobody counts this one
        stackless.run()
        line = work.__code__.co_firstlineno + 2
        counts = {n: count for (name, n), count in counter.results().counts.items()
                  if name == work.__code__.co_filename}
        self.assertEqual(counts[line], 8)


if __name__ == "__main__":
    unittest.main()
