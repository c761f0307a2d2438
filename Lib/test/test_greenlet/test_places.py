"""Where on the C stack greenlets begin: as with PyPI's, those that are begun by the same one
in the same way begin at the same address.  Libraries rely on it without knowing: see
test_stackless.test_places."""

import unittest

from test.support import check_sanitizer, import_helper

from .support import OURS, ChildTestCase

if not OURS:
    raise unittest.SkipTest("needs _teststackless, which this interpreter does not have")

import_helper.import_module("_teststackless")

HEAD = """
import re, sys, types
import _teststackless
from greenlet import getcurrent, greenlet

# As if it were an extension module that is not the standard library's.
sys.modules["elsewhere"] = _teststackless
main = getcurrent()
COUNT, CALLS = 5, 4

def cold(function):
    return types.FunctionType(function.__code__.replace(), globals())

def body(n, wait=main.switch):
    def callback(i):
        wait()
        return n, i
    return _teststackless.test_cpointer(callback, CALLS)

def right(n):
    return [(n, i) for i in range(CALLS)]

def in_map(f, *args):
    return list(map(lambda _: f(*args), [0]))[0]

def in_sub(f, *args):
    got = []
    re.sub("x", lambda match: got.append(f(*args)) or "", "x")
    return got[0]

results = {}
def begin():
    for n, g in enumerate(greenlets):
        g.switch(n)
def go_on():
    for _ in range(CALLS):
        for n, g in enumerate(greenlets):
            results[n] = g.switch()
def check():
    for n in range(COUNT):
        assert results[n] == right(n), (n, results[n])
"""


needs_usual_frames = unittest.skipIf(
    check_sanitizer(address=True), "the frames of C functions are larger with AddressSanitizer")


class Places(ChildTestCase):

    def check_source(self, source: str) -> None:
        self.run_ok(HEAD + source)

    @needs_usual_frames
    def test_by_main_in_turn(self):
        # The third one crashed: main's call was a shorter way by then.
        self.check_source("""
greenlets = [greenlet(body) for _ in range(COUNT)]
begin()
go_on()
check()
""")

    @needs_usual_frames
    def test_by_main_in_several_ways(self):
        self.check_source("""
def switch(g, *args):
    return g.switch(*args)
ways = [switch, cold(switch), greenlet.switch, switch, cold(switch), cold(switch)]
for turn in range(5):
    greenlets = [greenlet(body) for _ in range(COUNT)]
    for k in range(CALLS + 1):
        for n, g in enumerate(greenlets):
            way = ways[(n + k + turn) % len(ways)]
            results[n] = way(g, n) if k == 0 else way(g)
    check()
""")

    def test_each_by_the_one_before(self):
        # They have been begun by main, and waited there.
        self.check_source("""
def wait():
    greenlets[(greenlets.index(getcurrent()) + 1) % COUNT].switch()
def run(n):
    main.switch()
    results[n] = body(n, wait)
    if n < COUNT - 1:
        greenlets[n + 1].switch()
greenlets = [greenlet(run) for _ in range(COUNT)]
begin()
greenlets[0].switch()
check()
""")

    def test_by_one_within_c_functions(self):
        # As an event loop in C, which calls them in several places.
        self.check_source("""
def hub():
    for n, g in enumerate(greenlets):
        in_map(g.switch, n)
    for k in range(CALLS + 1):
        for n, g in enumerate(greenlets):
            results[n] = (in_map if (n + k) % 2 else in_sub)(g.switch)
loop = greenlet(hub)
def run(n):
    loop.switch()
    return body(n, loop.switch)
greenlets = [greenlet(run, loop) for _ in range(COUNT)]
loop.switch()
assert all(g.dead for g in greenlets)
check()
""")

    def test_addresses_below_one_within_c_functions(self):
        self.check_source("""
def hub():
    for way in in_map, in_sub, in_map, in_sub:
        for g in greenlets:
            way(g.switch)
loop = greenlet(hub)
addresses = []
def run():
    for k in range(3):
        addresses.append(_teststackless.test_caddress())
        loop.switch()
greenlets = [greenlet(run, loop) for _ in range(COUNT)]
loop.switch()
assert len(addresses) == 3 * COUNT and len(set(addresses)) == 1, addresses
""")


if __name__ == "__main__":
    unittest.main()
