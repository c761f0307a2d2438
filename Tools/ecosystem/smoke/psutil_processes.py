"""psutil: a C extension for the stable ABI."""
import os

import psutil

me = psutil.Process()
assert me.pid == os.getpid()
assert me.memory_info().rss > 1_000_000
assert any(child.pid for child in psutil.process_iter())
assert psutil.cpu_count()
