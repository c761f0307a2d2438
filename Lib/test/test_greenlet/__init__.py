"""Tests of the module greenlet as users see it.

The package runs under upstream's runner (python -m test test_greenlet), under
unittest and under pytest.  The tests are about behaviour, and all but those
listed here pass with PyPI's greenlet 3.5 on a stock CPython 3.13 too:

test_better.py      where ours does more than PyPI's
test_tasklets.py    greenlets together with tasklets and channels
test_packaging.py   what comes with the interpreter
"""

import gc
import os

from test.support import load_package_tests


def load_tests(*args):
    tests = load_package_tests(os.path.dirname(__file__), *args)
    # The tests collect garbage again and again: what exists now is exempt.  (Once: who looks
    # for leaks loads the tests several times.)
    if not gc.get_freeze_count():
        gc.collect()
        gc.freeze()
    return tests
