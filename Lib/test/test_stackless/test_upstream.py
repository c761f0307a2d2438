"""Upstream's own tests of the language, run within a tasklet.

While a tasklet is current the instructions that call Python code do so without C functions in
between (see soft.rst of the package stackless).  Nothing else may be different.
"""

import unittest

from .support import SHUFFLED, SOFT, ChildTestCase, needs_many

# Those of its files that are about what is called by whom, and take no more than seconds.
FILES = """
    asyncgen augassign baseexception binop bool builtin call class collections compare contains
    context contextlib contextlib_async coroutines decorators defaultdict descr dict dictcomps
    dictviews dynamicclassattribute enum except_star exceptions format functools generator_stop
    generators genericclass genexps heapq index iter iterlen itertools keywordonlyarg list
    listcomps metaclass monitoring named_expressions opcache opcodes operator patma plistlib
    positional_only_arg pow property raise richcmp scope set setcomps slice sort str
    subclassinit super sys_setprofile sys_settrace trace tuple type_params typechecks types
    unary unpack unpack_ex userdict userlist weakref with yield_from
""".split()

# Their test_copy and test_pickle say that this is refused: not once stackless is imported.
PICKLED = ("coroutines", "dictviews", "generators")

SCRIPT = """
import sys
import unittest

import stackless

def tests_of(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from tests_of(test)
        elif test.id().rpartition(".")[2] not in sys.argv[2:]:
            yield test

def run():
    suite = unittest.defaultTestLoader.loadTestsFromName(sys.argv[1])
    suite = unittest.TestSuite(tests_of(suite))
    result = unittest.TextTestRunner(verbosity=0).run(suite)
    outcomes.append(result.testsRun > 0 and result.wasSuccessful())

outcomes = []
stackless.tasklet(run)()
stackless.run()
sys.exit(outcomes != [True])
"""


@needs_many
@unittest.skipIf(SHUFFLED or not SOFT,
                 "these modes change switches, of which there are none here")
class InATasklet(ChildTestCase):
    pass


def _add(file: str) -> None:
    def test(self: InATasklet) -> None:
        left_out = ("test_copy", "test_pickle") if file in PICKLED else ()
        self.run_status(SCRIPT, 0, f"test.test_{file}", *left_out)
    setattr(InATasklet, f"test_{file}", test)


for _file in FILES:
    _add(_file)


if __name__ == "__main__":
    unittest.main()
