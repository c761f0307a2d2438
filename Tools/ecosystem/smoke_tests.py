"""Small programs that use popular packages: smoke/NAME.py, run in both environments."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from environments import Environment, Pair, Unavailable
from suites import clean_environment, run_group

PROGRAMS = Path(__file__).resolve().parent / "smoke"
TIMEOUT = 120.0      # seconds for one program
OK, SKIPPED, WORSE, BOTH = "passes", "skipped", "WORSE THAN STOCK", "fails with both"

# Each program, and what has to be installed for it.  Those without greenlets show that binary
# wheels work at all: they are the ones that look deepest into an interpreter.
PACKAGES = {
    "eventlet_server": ["eventlet"],
    "gevent_server": ["gevent", "requests"],
    "gevent_finalizers": ["gevent"],
    "scipy_callbacks": ["scipy"],
    "memray_stacks": ["memray"],
    "sqlalchemy_asyncio": ["sqlalchemy[asyncio]", "aiosqlite"],
    "greenback_await": ["greenback"],
    "numpy_arrays": ["numpy"],
    "lxml_trees": ["lxml"],
    "cryptography_tokens": ["cryptography"],
    "pydantic_models": ["pydantic"],
    "msgpack_orjson": ["msgpack", "orjson"],
    "uvloop_echo": ["uvloop"],
    "psutil_processes": ["psutil"],
    "cffi_callbacks": ["cffi"],
    "coverage_lines": ["coverage"],
    "debugpy_remote": ["debugpy"],
}


@dataclass
class SmokeResult:
    name: str
    verdict: str
    text: str = ""

    @property
    def worse(self) -> bool:
        return self.verdict == WORSE


def run_program(environment: Environment, name: str, out: Path) -> str:
    """How the program failed, or nothing."""
    log = out / f"{name}.{environment.name}.log"
    log.unlink(missing_ok=True)
    code = run_group([str(environment.python), "-X", "faulthandler", "-B", str(PROGRAMS / f"{name}.py")], TIMEOUT, log,
                     out, clean_environment())
    if code is None:
        return f"no end after {TIMEOUT:g} s"
    if code == 0:
        return ""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no message"]
    return f"exit status {code}: {lines[-1]}"


def run_smoke_test(pair: Pair, name: str, out: Path) -> SmokeResult:
    try:
        pair.install(PACKAGES[name])
    except Unavailable as error:
        return SmokeResult(name, SKIPPED, f"{', '.join(PACKAGES[name])} cannot be had: {error}")
    except RuntimeError as error:
        return SmokeResult(name, WORSE, str(error))
    ours, stock = run_program(pair.ours, name, out), run_program(pair.stock, name, out)
    if ours and stock:
        return SmokeResult(name, BOTH, stock)
    if ours:
        return SmokeResult(name, WORSE, ours)
    return SmokeResult(name, OK)


def run_smoke_tests(pair: Pair, out: Path, only: list[str]) -> list[SmokeResult]:
    out.mkdir(parents=True, exist_ok=True)
    results = []
    for name in PACKAGES:
        if not only or any(word in name for word in only):
            results.append(run_smoke_test(pair, name, out))
            print(f"smoke test {name}: {results[-1].verdict}", flush=True)
    return results
