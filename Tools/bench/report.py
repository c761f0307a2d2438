"""From samples to rows, and from rows to a table of text."""

from __future__ import annotations

import math
import shlex
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Iterable

import catalogue
from catalogue import Row, Workload

SERIES = ("ours", *catalogue.ALL_PEERS)


@dataclass
class Result:
    """One line of the table: medians for us and each peer.

    `values` are plain figures (ns, bytes, shares, or ratios); `ratios` are those relative to the
    yardstick and exist for times only.  `target` applies to `shown("ours")`.
    """

    group: str                    # "tasklets", "memory" or "plain"
    label: str
    unit: str                     # "ns", "bytes", "share" or "ratio"
    values: dict[str, float] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    target: float | None = None
    at_least: bool = False
    sizes: dict[str, int] = field(default_factory=dict)  # where a peer's size is another

    def shown(self, who: str) -> float | None:
        """The figure that is compared: the ratio for times, the value for the rest."""
        return (self.ratios if self.unit == "ns" else self.values).get(who)

    @property
    def reached(self) -> bool | None:
        """Whether the target is met; None without a target or a figure."""
        figure = self.shown("ours")
        if self.target is None or figure is None:
            return None
        return figure >= self.target if self.at_least else figure <= self.target

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "reached": self.reached}


def summarise(samples: list[dict[str, Any]]) -> list[Result]:
    """All rows, in the catalogue's order."""
    rows = []
    for workload in catalogue.WORKLOADS:
        taken = [sample for sample in samples if sample.get("workload") == workload.name]
        if taken:
            rows += [summarise_row(workload, row, taken) for row in workload.rows]
    for label, names, target in catalogue.SUMS:
        row = sum_row(samples, label, names, target)
        if row:
            rows.append(row)
    for label, above, below, target in catalogue.DERIVED:
        row = derived_row(samples, label, above, below, target)
        if row:
            rows.append(row)
    return rows + plain_rows(samples)


def summarise_row(workload: Workload, row: Row, taken: list[dict[str, Any]]) -> Result:
    size = next(sample["size"] for sample in taken if sample["who"] == "ours")
    result = Result("memory" if row.unit == "bytes" else "tasklets",
                    row.label.format(size=size), row.unit, target=row.target,
                    at_least=row.at_least)
    for who in SERIES:
        good = [sample for sample in taken
                if sample["who"] == who and row.figure in sample.get("figures", {})]
        if not good:
            continue
        result.values[who] = median(sample["figures"][row.figure] for sample in good)
        if row.unit == "ns":
            result.ratios[who] = median(sample["figures"][row.figure] / sample["yardstick"]
                                        for sample in good)
        if good[0]["size"] != size:
            result.sizes[who] = good[0]["size"]
    return result


def sum_row(samples: list[dict[str, Any]], label: str, names: tuple[str, ...],
            target: float) -> Result | None:
    """The times of several workloads of ours added up, round by round."""
    times: dict[int, dict[str, tuple[float, float]]] = {}
    for sample in samples:
        if sample.get("workload") in names and sample["who"] == "ours" and "figures" in sample:
            figure = sample["figures"]["ns"]
            times.setdefault(sample["round"], {})[sample["workload"]] = (
                figure, figure / sample["yardstick"])
    sums = [[sum(column) for column in zip(*found.values())]
            for found in times.values() if len(found) == len(names)]
    if not sums:
        return None
    values, ratios = zip(*sums)
    return Result("tasklets", label, "ns", {"ours": median(values)}, {"ours": median(ratios)},
                  target=target)


def derived_row(samples: list[dict[str, Any]], label: str, above: str, below: str,
                target: float) -> Result | None:
    """How two workloads' times compare, round by round."""
    result = Result("plain", label, "ratio", target=target)
    for who in SERIES:
        times: dict[str, dict[int, float]] = {above: {}, below: {}}
        for sample in samples:
            if sample.get("workload") in times and sample["who"] == who and "figures" in sample:
                times[sample["workload"]][sample["round"]] = (sample["figures"]["ns"]
                                                              / sample["yardstick"])
        both = times[above].keys() & times[below].keys()
        if both:
            result.values[who] = median(times[above][turn] / times[below][turn] for turn in both)
    return result if result.values else None


def plain_rows(samples: list[dict[str, Any]]) -> list[Result]:
    """Plain Python, ours relative to stock: a row for each program, and the geometric mean."""
    ratios: dict[str, list[float]] = {}
    for sample in samples:
        if "ours" in sample and "stock" in sample:
            ratios.setdefault(sample["program"], []).append(sample["ours"] / sample["stock"])
    rows = [Result("plain", f"plain Python: {name.replace('_', ' ')}", "ratio",
                   {"ours": median(found)}) for name, found in ratios.items()]
    if rows:
        mean = geometric_mean(row.values["ours"] for row in rows)
        rows.append(Result("plain", f"plain Python: geometric mean of {len(rows)}", "ratio",
                           {"ours": mean}, target=catalogue.PLAIN_TARGET))
    return rows


def geometric_mean(numbers: Iterable[float]) -> float:
    logarithms = [math.log(number) for number in numbers]
    return math.exp(sum(logarithms) / len(logarithms))


def quantity(value: float | None, unit: str) -> str:
    """A figure with its unit, three digits or so."""
    if value is None:
        return "-"
    if unit == "ns":
        return f"{value:,.1f} ns" if value < 100 else f"{value:,.0f} ns"
    if unit == "bytes":
        return f"{value:,.0f} B" if value < 100_000 else f"{value / 1e6:,.0f} MB"
    if unit == "share":
        return f"{value * 100:.1f} %"
    return f"{value:.3f}"


def times(ratio: float | None) -> str:
    if ratio is None:
        return "-"
    if ratio < 100:
        return f"{ratio:.2f}x" if ratio < 10 else f"{ratio:.1f}x"
    return f"{ratio:,.0f}x"


def cells(row: Result) -> list[str]:
    if row.unit == "ns":
        compared = [times(row.shown(who)) for who in SERIES]
        target = "" if row.target is None else times(row.target)
    else:
        compared = ["", *(quantity(row.shown(who), row.unit) for who in SERIES[1:])]
        target = "" if row.target is None else quantity(row.target, row.unit)
    if row.group == "plain" and len(row.values) == 1:
        compared = [""] * len(SERIES)
    verdict = {None: "", True: "yes", False: "no"}[row.reached]
    sized = [f"{text} *" if who in row.sizes and text != "-" else text
             for who, text in zip(SERIES, compared)]
    return [row.label, quantity(row.values.get("ours"), row.unit), sized[0], target, verdict,
            *sized[1:]]


def table(rows: list[Result], data: dict[str, Any]) -> str:
    """The whole report as text."""
    heads = ["workload", "ours", "x", "target", "reached", *catalogue.ALL_PEERS]
    lines = [heads, *(cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]

    def join(line: list[str]) -> str:
        first, *others = line
        padded = [text.rjust(width) for text, width in zip(others, widths[1:])]
        return "  ".join([first.ljust(widths[0]), *padded]).rstrip()

    ruler = "  ".join("-" * width for width in widths)
    text = [f"ours:  {data['builds']['ours']['version']}",
            f"stock: {data['builds']['stock']['version']}",
            f"both:  {kind_of_build(data['builds']['ours'])}",
            "x: relative to one generator resume on the stock build in the same round "
            f"({yardstick_text(data['samples'])}); whole loop iterations, nothing subtracted",
            ""]
    text += [join(lines[0]), ruler, *(join(line) for line in lines[1:]), ""]
    with_target = [row for row in rows if row.target is not None]
    if with_target:
        reached = sum(row.reached is True for row in with_target)
        text.append(f"{reached} of {len(with_target)} targets reached; "
                    f"{data['rounds']} rounds in {data['seconds']:.0f} s")
    if data["quick"]:
        text.append("quick: small sizes and one short run each, so these figures are rough")
    smaller = {f"* {row.label.split(':')[0]}: {who} with only {size:,}": None
               for row in rows for who, size in row.sizes.items() if row.shown(who) is not None}
    text += smaller
    text += [f"note: {note}" for note in data["notes"]]
    text += [f"FAILED: {failure}" for failure in data["failures"]]
    return "\n".join(text)


def kind_of_build(build: dict[str, Any]) -> str:
    """Which optimisations it was configured with, in words."""
    options = shlex.split(build.get("config") or "")
    chosen = [option for option in options
              if option.startswith(("--enable-optimizations", "--with-lto", "--with-pydebug"))]
    return f"built with {' '.join(chosen)}" if chosen else "built without --enable-optimizations"


def yardstick_text(samples: list[dict[str, Any]]) -> str:
    sticks = [sample["yardstick"] for sample in samples if "yardstick" in sample]
    if not sticks:
        return "not measured"
    return f"{median(sticks):.1f} ns, {min(sticks):.1f} to {max(sticks):.1f}"
