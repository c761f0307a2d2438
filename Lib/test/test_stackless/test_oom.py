"""Every operation with every one of its allocations failing."""

import unittest

try:
    import _testcapi            # noqa: F401
except ImportError:
    raise unittest.SkipTest("_testcapi, which makes allocations fail, is not built")

from .oom_cases import CASES, ONLY_MAIN
from .support import ChildTestCase, run_python


class OutOfMemory(ChildTestCase):

    SCRIPT = """
        import faulthandler
        faulthandler.enable()
        from test_stackless import oom
        oom.main({!r}, {!r})
        """

    def check_case(self, name, place):
        r = run_python(self.SCRIPT.format(name, place))
        if r.returncode != 0 or "survived" not in r.stdout:
            self.fail(f"{name} in {place}: status {r.returncode}\n"
                      + r.stdout[-500:] + r.stderr[-3000:])


def _make(name, place):
    def test(self):
        self.check_case(name, place)
    test.__name__ = f"test_{name}_in_{place}"
    return test


for _name in CASES:
    for _place in ("main",) if _name in ONLY_MAIN else ("main", "tasklet"):
        _test = _make(_name, _place)
        setattr(OutOfMemory, _test.__name__, _test)
del _test


if __name__ == "__main__":
    unittest.main()
