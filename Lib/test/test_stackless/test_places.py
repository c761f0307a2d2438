"""Where on the C stack tasklets begin.  A library that keeps pointers to its stack finds what
is its own there, though others like it have run meanwhile: they were at the same address.
(test_greenlet.test_places does this with greenlets, cstack_test.c without Python.)"""

import sys
import unittest

from test.support import import_helper

from .support import ChildTestCase, needs_usual_frames

import_helper.import_module("_teststackless")

HEAD = """
import functools, itertools, random, re, sys, types
import _teststackless, stackless
from stackless import channel, schedule, tasklet

def cold(function):
    return types.FunctionType(function.__code__.replace(), globals())

def address():
    return _teststackless.test_caddress()

def in_map(f):
    return list(map(lambda _: f(), [0]))[0]
"""
# As if it were an extension module that is not the standard library's.
FROM_ELSEWHERE = "sys.modules['elsewhere'] = _teststackless\n"


class Places(ChildTestCase):

    def run_lines(self, *sources: str) -> list[str]:
        return self.run_ok(HEAD + "".join(sources)).splitlines()

    WITHIN_C = """
def body():
    addresses.append(address())
    in_map(schedule)
    addresses.append(address())
addresses = []
for _ in range(5):
    tasklet(body)()
stackless.run()
print(len(set(addresses)))
"""

    def test_after_others_within_c_functions(self):
        self.assertEqual(self.run_lines(FROM_ELSEWHERE, self.WITHIN_C), ["1"])

    def test_in_a_thread(self):
        self.assertEqual(self.run_lines(FROM_ELSEWHERE, "def run():\n",
                                        *("    " + line for line in self.WITHIN_C
                                          .replace("addresses = []", "global addresses; addresses = []")
                                          .splitlines(True)),
                                        "import threading\nt = threading.Thread(target=run)\n"
                                        "t.start(); t.join()\n"), ["1"])

    def test_nothing_but_the_standard_library(self):
        # Then who is left stays in place, and the next one begins below it.
        self.assertGreater(int(*self.run_lines(self.WITHIN_C)), 1)

    def test_library_that_is_imported_later(self):
        self.assertEqual(self.run_lines(self.WITHIN_C, FROM_ELSEWHERE, self.WITHIN_C)[1], "1")

    def test_ctypes(self):
        import_helper.import_module("_ctypes")
        self.assertEqual(self.run_lines("import ctypes\n", self.WITHIN_C), ["1"])

    @needs_usual_frames
    def test_how_main_calls(self):
        # A call that has run before takes less of the stack.
        self.assertEqual(self.run_lines("""
def body():
    addresses.append(address())
    in_map(schedule) if len(addresses) % 3 == 0 else schedule()
def run():
    stackless.run()
def run_one():
    stackless.current.next.run()
def switch_to_one():
    stackless.current.next.switch()
def pass_on():
    schedule()
addresses = []
for call in run, run_one, pass_on, switch_to_one:
    for function in call, cold(call), cold(call):
        for _ in range(5):
            tasklet(body)()
            function()
            in_map(function)
            stackless.run()
print(len(addresses), len(set(addresses)))
""", FROM_ELSEWHERE)[-1], "60 1")

    POINTERS = """
def by_pointer(n, wait):
    def callback(i):
        wait()
        return n, i
    return _teststackless.test_cpointer(callback, 5)
"""

    def test_pointers(self):
        self.run_lines(FROM_ELSEWHERE, self.POINTERS, """
def body(n):
    for _ in range(3):
        results[n].append(by_pointer(n, schedule))
        schedule()
results = [[] for n in range(6)]
for n in range(6):
    tasklet(body)(n)
stackless.run()
for n in range(6):
    assert results[n] == [[(n, i) for i in range(5)]] * 3, results[n]
""")

    def test_pointers_and_channels(self):
        self.run_lines(FROM_ELSEWHERE, self.POINTERS, """
def body(n):
    results[n] = by_pointer(n, links[n].receive)
count = 4
links = [channel() for _ in range(count)]
results = {}
for n in range(count):
    tasklet(body)(n)
stackless.run()
for _ in range(5):
    for n in range(count):
        # Called by main itself and from within C functions.
        (links[n].send if n % 2 else cold(lambda value: links[n].send(value)))(None)
stackless.run()
for n in range(count):
    assert results[n] == [(n, i) for i in range(5)], results[n]
""")

    def test_soft_ones_in_between(self):
        self.run_lines(FROM_ELSEWHERE, self.POINTERS, """
def soft():
    for _ in range(100):
        schedule()
def body(n):
    for _ in range(n % 3):
        schedule()
    results[n] = by_pointer(n, schedule)
results = {}
for n in range(0, 9, 3):
    tasklet(body)(n)
    tasklet(soft)()
    tasklet(soft)()
stackless.run()
for n in range(0, 9, 3):
    assert results[n] == [(n, i) for i in range(5)], results[n]
""")


if __name__ == "__main__":
    unittest.main()
