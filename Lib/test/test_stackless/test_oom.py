"""Every operation with every one of its allocations failing."""

import unittest

try:
    import _testcapi            # noqa: F401
except ImportError:
    raise unittest.SkipTest("_testcapi, which makes allocations fail, is not built")

from .oom_cases import CASES, NEEDS_SOFT, ONLY_MAIN
from .support import SHUFFLED, ChildTestCase, needs_soft, run_python

PLACES = ("main", "tasklet", "map", "thread")      # see oom.py
if SHUFFLED:
    # A tasklet that attempts to remove itself, say, relies on who is next.
    PLACES = ("main", "thread")


class OutOfMemory(ChildTestCase):

    # Frozen, what is imported does not take part in each collection.
    SCRIPT = """
        import faulthandler, gc
        faulthandler.enable()
        from test_stackless import oom
        gc.freeze()
        for place in {!r}:
            print("in", place, flush=True)
            oom.main({!r}, place)
        print("the end")
        """

    def check_case(self, name):
        places = ("main",) if name in ONLY_MAIN else PLACES
        r = run_python(self.SCRIPT.format(places, name))
        if r.returncode != 0 or "the end" not in r.stdout:
            self.fail(f"{name}: status {r.returncode}\n"
                      + r.stdout[-500:] + r.stderr[-3000:])


def _make(name):
    def test(self):
        self.check_case(name)
    test.__name__ = f"test_{name}"
    return needs_soft(test) if name in NEEDS_SOFT else test


for _name in CASES:
    _test = _make(_name)
    setattr(OutOfMemory, _test.__name__, _test)
del _test


if __name__ == "__main__":
    unittest.main()
