"""coverage.py: the lines executed in tasklets (on stock, in plain calls) and in greenlets."""
import importlib
import os
import sys
import tempfile
from pathlib import Path

os.environ["COVERAGE_CORE"] = "sysmon"  # sees all of a process; a trace function is one tasklet's
import coverage

SOURCE = """\
def work(turns, switch):
    total = 0
    for i in range(turns):
        switch()
        total += i
    if total > 1000:
        total = 1000
    return total
"""
EXECUTED = [1, 2, 3, 4, 5, 6, 8]


def in_tasklets(work):
    try:
        import stackless
    except ImportError:
        work(3, lambda: None)
        return
    for turns in range(3):
        stackless.tasklet(work)(turns, stackless.schedule)
    stackless.run()


def in_greenlets(work):
    from greenlet import getcurrent, greenlet
    main = getcurrent()
    some = [greenlet(work) for _ in range(3)]
    for turns, g in enumerate(some):
        g.switch(turns, main.switch)
    while any(some):
        for g in some:
            g.switch()


def measure(name, run):
    path = Path(name + ".py").resolve()
    path.write_text(SOURCE)
    measured = coverage.Coverage(data_file=None, config_file=False, include=[str(path)])
    measured.start()
    try:
        run(importlib.import_module(name).work)
    finally:
        measured.stop()
    lines = sorted(measured.get_data().lines(str(path)))
    assert lines == EXECUTED, (name, lines)


with tempfile.TemporaryDirectory() as directory:
    os.chdir(directory)
    sys.path.insert(0, directory)
    measure("in_tasklets", in_tasklets)
    measure("in_greenlets", in_greenlets)
    os.chdir("/")
