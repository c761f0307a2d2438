"""Tests of the Python level of Stackless: tasklets, channels, the scheduler.

The package runs under upstream's runner (python -m test test_stackless),
under unittest and under pytest.  Every file tests against the behavioural
description of the module only; none looks into the implementation, but for
test_cstack.py, whose C programs need no interpreter at all.
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
