"""Run a test module as `python -m MODULE` would, and write down what became of each test.

    python recorder.py LOG SKIP MODULE

LOG gets one line for each event as it happens, so that a crash loses nothing:

    begin<TAB>ID        pass<TAB>ID        fail<TAB>ID<TAB>LAST LINE        skip<TAB>ID<TAB>REASON

SKIP is a file with the ids of tests to leave out, one a line.  A module that has no unittest.main() of its own is
loaded by unittest (if it has test cases), or is a script and leaves no line.

Runs in whatever interpreter is under test, and imports as little as possible: what is imported before gevent patches
the standard library makes a difference.
"""
import os
import runpy
import sys
import unittest


class Log:
    """The log file, by descriptor: gevent replaces files and locks."""

    def __init__(self, path, module):
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        self.process = os.getpid()
        self.module = module

    def identify(self, test):
        name = test.id()
        # A subtest counts as its test.
        parent = getattr(test, "test_case", None)
        if parent is not None:
            name = parent.id()
        # Also in "setUpClass (__main__.Class)".
        return " ".join(name.replace("__main__.", self.module + ".", 1).split())

    def write(self, event, test, text=""):
        if os.getpid() != self.process:
            return                      # a forked child of a test
        text = " ".join(str(text).split())[:300]
        os.write(self.descriptor, f"{event}\t{self.identify(test)}\t{text}\n".encode("utf-8", "backslashreplace"))


class RecordingResult(unittest.TextTestResult):
    log = None

    def startTest(self, test):
        self.log.write("begin", test)
        super().startTest(test)

    def addSuccess(self, test):
        self.log.write("pass", test)
        super().addSuccess(test)

    def addSkip(self, test, reason):
        self.log.write("skip", test, reason)
        super().addSkip(test, reason)

    def addExpectedFailure(self, test, err):
        self.log.write("pass", test)
        super().addExpectedFailure(test, err)

    def addUnexpectedSuccess(self, test):
        self.log.write("fail", test, "unexpected success")
        super().addUnexpectedSuccess(test)

    def addFailure(self, test, err):
        self.log.write("fail", test, f"{err[0].__name__}: {err[1]}")
        super().addFailure(test, err)

    def addError(self, test, err):
        self.log.write("fail", test, f"{err[0].__name__}: {err[1]}")
        super().addError(test, err)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.log.write("fail", test, f"{err[0].__name__}: {err[1]}")
        super().addSubTest(test, subtest, err)


def leave_out(log, names):
    run = unittest.TestCase.run

    def run_or_skip(self, result=None):
        if result is None or log.identify(self) not in names:
            return run(self, result)
        result.startTest(self)
        result.addSkip(self, "left out")
        result.stopTest(self)
        return result

    unittest.TestCase.run = run_or_skip


def has_main(module):
    """Whether the module's text says what is to be done when it is run."""
    spec = __import__("importlib.util").util.find_spec(module)
    with open(spec.origin, encoding="utf-8") as file:
        text = file.read()
    return "__main__" in text or "TestCase" not in text


def main():
    path, skip, module = sys.argv[1:]
    sys.argv[:] = [module]
    sys.path[0] = os.getcwd()
    log = RecordingResult.log = Log(path, module)
    with open(skip, encoding="utf-8") as file:
        names = set(file.read().splitlines())
    if names:
        leave_out(log, names)
    unittest.TextTestRunner.resultclass = RecordingResult
    if has_main(module):
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        unittest.main(module)


if __name__ == "__main__":
    main()
