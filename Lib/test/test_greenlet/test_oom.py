"""Every operation with every one of its allocations failing."""

import unittest

try:
    import _testcapi            # noqa: F401
except ImportError:
    raise unittest.SkipTest("_testcapi, which makes allocations fail, is not built")

from .support import COLLECTS, OURS, ChildTestCase, run_python

if not OURS:
    raise unittest.SkipTest("about the built-in greenlet, this is another one")

from .oom import CASES

PLACES = ("main", "greenlet", "map")      # see oom.py


class OutOfMemory(ChildTestCase):

    # Frozen, what is imported does not take part in each collection.
    SCRIPT = """
        import faulthandler, gc
        faulthandler.enable()
        from {package} import oom
        gc.freeze()
        for place in {places!r}:
            print("in", place, flush=True)
            oom.main({name!r}, place)
        print("the end")
        """


def _make(name):
    def test(self):
        result = run_python(self.SCRIPT.format(package=__package__, places=PLACES, name=name))
        self.check(result, 0)
        self.assertIn("the end", result.stdout)
        if not COLLECTS:               # collections fail to allocate, too, and say so
            self.assertEqual(result.stderr, "")
    test.__name__ = f"test_{name}"
    return test


for _name in CASES:
    _test = _make(_name)
    setattr(OutOfMemory, _test.__name__, _test)
del _test


if __name__ == "__main__":
    unittest.main()
