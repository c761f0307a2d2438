"""The n-th allocation of an operation fails, for n = 0, 1, 2, ...

What the tests of tasklets and of greenlets have in common; oom.py of each has the rest.
"""

from __future__ import annotations

import gc
import sys
from typing import Callable

import _testcapi

# So many successes in a row mean that no more allocations are made: a single
# one may be due to a failure that the interpreter did not mind.
ENOUGH = 8


def outcome_of(operation: Callable, n: int) -> str:
    """How operation() ends if its n-th allocation fails: "success", "failure" (a MemoryError)
    or another exception's text."""
    outcome = "success"
    set_nomemory = _testcapi.set_nomemory
    remove_mem_hooks = _testcapi.remove_mem_hooks
    try:
        set_nomemory(n, n + 1)
        operation()
        remove_mem_hooks()
    except MemoryError:
        remove_mem_hooks()
        outcome = "failure"
    except BaseException as e:
        remove_mem_hooks()
        outcome = f"{type(e).__name__}: {e}"
    return outcome


def fail_each(attempt: Callable[[int], str], limit: int, *counted: object) -> None:
    """Call attempt(n), which returns an outcome, until it needs no more allocations.

    It must not need *limit* of them.  The references to the objects *counted* must be as
    many as before.
    """
    # Caches, specialisation and lazily made objects.
    for i in range(20):
        outcome = attempt(10 ** 6)
        assert outcome == "success", outcome
    gc.collect()
    before = [sys.getrefcount(x) for x in counted]
    successes = failures = 0
    for n in range(limit):
        outcome = attempt(n)
        if outcome == "success":
            successes += 1
            if successes == ENOUGH:
                break
        elif outcome == "failure":
            successes = 0
            failures += 1
        else:
            raise AssertionError(f"allocation {n}: {outcome}")
    else:
        raise AssertionError("no end of allocations")
    gc.collect()
    gc.collect()
    after = [sys.getrefcount(x) for x in counted]
    assert after == before, f"leaked: {before} {after}"
    print(f"survived {failures} failures")
