"""pytest: run the tests in random order when STACKLESS_DEBUG=random:SEED says so; cheap garbage collections."""

import gc
import os
import random


def _seed() -> str | None:
    for word in os.environ.get("STACKLESS_DEBUG", "").split(","):
        name, _, value = word.partition(":")
        if name == "random":
            return value
    return None


def pytest_report_header() -> str | None:
    seed = _seed()
    return None if seed is None else f"random order, seed {seed}"


def pytest_collection_modifyitems(items: list) -> None:
    seed = _seed()
    if seed is not None:
        random.Random(seed).shuffle(items)


def pytest_collection_finish() -> None:
    # pytest and the test files are some hundred thousand objects, and the tests collect garbage
    # again and again: what exists now is exempt.
    gc.collect()
    gc.freeze()
