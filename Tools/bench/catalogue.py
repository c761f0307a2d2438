"""The workloads, how large they are, and what must be reached.

A workload gives one or more figures ("ns" per operation is the usual one).  Each Row shows one
of them.  Targets are times given as a ratio to one generator resume of the stock build measured
in the same round ("x"), or the plain value of the figure ("value").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

ALL_PEERS = ("generators", "asyncio", "greenlet")


@dataclass(frozen=True)
class Row:
    """One line of the table: a figure of a workload, and its target."""

    label: str                  # {size} stands for the size that was run
    figure: str = "ns"          # key in the harness's output
    unit: str = "ns"            # "ns", "bytes" or "share"
    target: float | None = None
    kind: str = "x"             # "x": ratio to a generator resume; "value": the figure itself
    at_least: bool = False      # the target is a lower bound


@dataclass(frozen=True)
class Workload:
    """One function, called with `size` (grown until a call takes long enough, unless `fixed`).

    A peer's version of it is the function of the same name in workloads_PEER.py.
    """

    name: str
    module: str
    function: str
    rows: tuple[Row, ...]
    size: int = 20_000
    quick_size: int = 20_000
    options: dict[str, Any] = field(default_factory=dict)
    fixed: bool = False
    peers: tuple[str, ...] = ALL_PEERS
    peer_limits: dict[str, int] = field(default_factory=dict)  # the most a peer can hold


def scheduling(name: str, label: str, target: float | None, function: str,
               peers: tuple[str, ...] = ALL_PEERS, **options: Any) -> Workload:
    """A workload of tasklets that take turns."""
    return Workload(name, "workloads_scheduling", function, (Row(label, target=target),),
                    options=options, peers=peers)


def yielding(context: str, label: str, target: float | None = None) -> Workload:
    """A workload of tasklets that take turns from within a construct."""
    return Workload(f"context_{context}", "workloads_contexts", "turn",
                    (Row(f"two inside {label}", target=target),),
                    options={"construct": context}, peers=())


def talking(name: str, label: str, target: float, **fields: Any) -> Workload:
    """A workload of tasklets that send messages."""
    return Workload(name, "workloads_channels", name, (Row(label, target=target),), **fields)


def waiting(depth: int, bytes_target: float) -> Workload:
    """A workload of very many tasklets that all wait, below so many Python calls."""
    label = f"{{size:,}} blocked at depth {depth}"
    return Workload(
        f"blocked_{depth}", "workloads_memory", "blocked",
        (Row(f"{label}: memory each", "bytes", "bytes", bytes_target, "value"),
         Row(f"{label}: create"),
         Row(f"{label}: resume + finish", "finish_ns"),
         Row(f"{label}: given back", "given_back", "share", 0.97, "value", at_least=True)),
        size=1_000_000, quick_size=50_000, options={"depth": depth}, fixed=True,
        peer_limits={"greenlet": 50_000})


def pickling(depth: int, dumps: float, loads: float, bytes_target: float) -> tuple[Workload, ...]:
    """Pickling a tasklet that waits below so many Python calls, its code included."""
    label = f"a tasklet at depth {depth}"
    options = {"depth": depth}
    return (
        Workload(f"dumps_{depth}", "workloads_pickling", "dumps",
                 (Row(f"{label}: pickle.dumps()", target=dumps),
                  Row(f"{label}: its pickle", "pickled", "bytes", bytes_target, "value")),
                 size=200, quick_size=200, options=options, peers=()),
        Workload(f"loads_{depth}", "workloads_pickling", "loads",
                 (Row(f"{label}: pickle.loads()", target=loads),),
                 size=200, quick_size=200, options=options, peers=()),
    )


def receiving(how: str, ready: bool, label: str) -> Workload:
    """A workload of messages that are received in one way or the other."""
    return Workload(f"{how}_{'ready' if ready else 'waiting'}", "workloads_waiting", "messages",
                    (Row(label),), options={"how": how, "ready": ready}, peers=())


# (Limits of 1 us for a sleep, 0.5 us for a timer or a cancelled tasklet, at 24 ns for a
# resumption.)
WAITING = (
    Workload("sleepers", "workloads_waiting", "sleepers",
             (Row("{size:,} asleep: sleep and wake", target=41.7),
              Row("{size:,} asleep: memory each", "bytes", "bytes", 350.0, "value")),
             size=1_000_000, quick_size=50_000, fixed=True, peers=()),
    Workload("timers", "workloads_waiting", "timers",
             (Row("a timer beside 1,000,000 others: start and stop, a message", target=20.8),),
             peers=()),
    receiving("receive", True, "receive() from one who waits"),
    receiving("timeout", True, "receive(timeout=) from one who waits"),
    receiving("select", True, "select() of 2, one ready"),
    receiving("receive", False, "receive() from one who comes"),
    receiving("timeout", False, "receive(timeout=) from one who comes"),
    receiving("select", False, "select() of 2 that wait"),
    Workload("members", "workloads_waiting", "members", (Row("a group: spawn, wait, collect"),),
             options={"bare": False}, size=10_000, quick_size=10_000, fixed=True, peers=()),
    Workload("bare", "workloads_waiting", "members", (Row("the same without a group"),),
             options={"bare": True}, size=10_000, quick_size=10_000, fixed=True, peers=()),
    Workload("cancelled", "workloads_waiting", "cancelled",
             (Row("{size:,} cancelled, each", target=20.8),),
             size=100_000, quick_size=10_000, fixed=True, peers=()),
)

CAPI = (
    Workload("soft_map", "workloads_capi", "soft_map",
             (Row("C, soft calls that schedule", target=3.5),), peers=()),
    Workload("forward_soft", "workloads_capi", "forward", (Row("C, soft receive and send"),),
             options={"soft": True}, peers=()),
    Workload("forward_hard", "workloads_capi", "forward", (Row("C, hard receive and send"),),
             options={"soft": False}, peers=()),
    Workload("overshoot", "workloads_capi", "overshoot", (Row("RunFor(), overshoot (median)"),),
             size=200, quick_size=20, fixed=True, peers=()),
)

CONTEXTS = (
    yielding("function", "a function"),
    yielding("method", "a method"),
    yielding("star_arguments", "f(*args)"),
    yielding("generator_for", "a generator, for"),
    yielding("generator_next", "a generator, next()"),
    yielding("yield_from", "a generator, yield from"),
    yielding("coroutine", "a coroutine, await"),
    yielding("with_statement", "__enter__()", 3.5),
    yielding("instance", "__init__()", 3.5),
    yielding("property_value", "a property"),
    yielding("getattr_hook", "__getattr__()"),
    yielding("getitem", "__getitem__()"),
    yielding("call", "__call__()"),
    yielding("operator", "__add__()"),
    yielding("iterator", "__next__()", 3.5),
    yielding("partial_object", "functools.partial"),
    yielding("context_run", "Context.run()"),
)

# Not part of the sum.
MORE_CONTEXTS = (
    yielding("all_arguments", "a bound method, f(*args, **kwargs)", 4.0),
    yielding("except_block", "an except block", 4.0),
)

# What C code calls.  Left hard, but for the key of sorted().
C_CONTEXTS = (
    yielding("map_callback", "map()", 5.0),
    yielding("sorted_key", "sorted(key=)", 6.0),
    yielding("sorted_comparison", "sorted(), __lt__()"),
    yielding("reduce_callback", "functools.reduce()", 5.0),
    yielding("exec_code", "exec() of a code object"),
    yielding("eval_code", "eval() of a code object"),
    yielding("import_module", "an import"),
)

WORKLOADS = (
    scheduling("switch2", "two tasklets, schedule()", 1.0, "switch2"),
    scheduling("switch2_module", "two tasklets, stackless.schedule()", None, "switch2_module",
               peers=()),
    scheduling("switch_1k", "1,000 tasklets scheduling", 1.2, "switch_many", tasklets=1_000),
    scheduling("switch_100k", "100,000 tasklets scheduling", 3.0, "switch_many",
               tasklets=100_000),
    scheduling("depth_1", "two at Python depth 1", None, "switch_deep", depth=1),
    scheduling("depth_10", "two at Python depth 10", None, "switch_deep", depth=10),
    scheduling("depth_100", "two at Python depth 100", None, "switch_deep", depth=100),
    scheduling("depth_1000", "two at Python depth 1,000", None, "switch_deep", depth=1_000),
    *CONTEXTS,
    *MORE_CONTEXTS,
    *C_CONTEXTS,
    talking("pingpong", "ping-pong, per message", 2.3),
    talking("ring", "ring of 503, per message", 2.2, peers=("asyncio", "greenlet")),
    Workload("spawn", "workloads_scheduling", "spawn",
             (Row("spawn: create, run, finish", target=2.3),), size=2_000, quick_size=2_000),
    talking("sieve", "sieve of {size:,} primes, per message", 3.3, size=1_000, quick_size=100,
            fixed=True),
    Workload("skynet", "workloads_channels", "skynet",
             (Row("skynet of {size:,} leaves, per task", target=29.0),
              Row("skynet of {size:,} leaves: peak memory", "peak", "bytes", 600e6, "value")),
             size=1_000_000, quick_size=10_000, fixed=True,
             peers=("asyncio", "greenlet"), peer_limits={"greenlet": 10_000}),
    # (10, 25 and 150 us to dump, 8, 15 and 80 us to load, at 24 ns for a resumption.)
    *pickling(1, 417.0, 333.0, 600.0),
    *pickling(10, 1042.0, 625.0, 1000.0),
    *pickling(100, 6250.0, 3333.0, 5000.0),
    waiting(1, 240.0),
    waiting(4, 640.0),
    Workload("blocked_in_map", "workloads_memory", "blocked_in_map",
             (Row("{size:,} blocked within map(): memory each", "bytes", "bytes", 2000.0,
                  "value"),),
             size=100_000, quick_size=10_000, fixed=True, peers=()),
    *WAITING,
    *CAPI,
)

# Rows made of others: label, the workload divided, its divisor, target for the ratio of times.
# "As depth 1" is taken to mean within 10 %, which is what such a measurement can tell apart.
DERIVED = (
    ("depth 1,000 relative to depth 1", "depth_1000", "depth_1", 1.10),
    ("receive(timeout=) relative to receive(), ready", "timeout_ready", "receive_ready", 1.3),
    ("select() of 2 relative to receive(), ready", "select_ready", "receive_ready", 2.0),
    ("select() of 2 relative to receive(), waiting", "select_waiting", "receive_waiting", 3.0),
    ("a group relative to bare tasklets", "members", "bare", 1.5),
)

# Sums of other rows: label, the workloads, target for the sum of their ratios.
SUMS = (
    (f"{len(CONTEXTS)} constructs: sum", tuple(workload.name for workload in CONTEXTS), 45.0),
)

# Plain Python, ours relative to stock: the geometric mean over all programs must not exceed this.
PLAIN_TARGET = 1.01

# The yardstick: one resumption of a generator on the stock build.
YARDSTICK = Workload("resume", "workloads_generators", "resume", (Row("generator resume"),),
                     size=100_000, peers=())
