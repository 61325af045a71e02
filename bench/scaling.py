"""``python -m bench.scaling``: what a delivery costs our relay, by how much else there is.

CPU should be linear in deliveries, and a delivery should cost the same however many other rooms, members and retained
messages there are. Each is a panel of one plot. Limits on memory are raised so far that everything is retained.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.measure import Spread
from bench.run import OUT, circumstances, run, summary
from bench.servers import OURS, SERVERS
from bench.works import Measured, Work

ROOMY: Final = dataclasses.replace(
    SERVERS[OURS], command=lambda *_: ["--bytes-per-pair", str(10**9), "--bytes-per-sender", str(10**9)]
)
BURST: Final = 8


@dataclass(frozen=True, slots=True)
class Panel:
    """One question: how a figure depends on something, for some works, each with a value of that something."""

    title: str
    axis: str
    lines: Mapping[str, Mapping[int, Work]]


def _panels(*, quick: bool) -> Sequence[Panel]:
    few, many = (50, 200) if quick else (200, 800)
    counts, kept = (0, few // 4, few, many), (0, 5 * many, 25 * many, 100 * many)
    aside, room = Work(name="aside"), Work(name="room of 20", members=20)
    replace = dataclasses.replace
    return (
        Panel(
            "other rooms",
            "rooms of two members",
            {work.name: {n: replace(work, others=n) for n in counts} for work in (aside, room)},
        ),
        Panel(
            "members",
            "members of the room",
            {
                "aside": {n + 2: replace(aside, bystanders=n) for n in counts},
                "to all": {n: Work(name="to all", members=n) for n in (10, *counts[1:])},
            },
        ),
        Panel(
            "retained messages",
            "messages retained",
            {work.name: {n: replace(work, retained=n) for n in kept} for work in (aside, room)},
        ),
    )


def main() -> None:
    """Measure and plot."""
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.7)
    parser.add_argument("--quick", action="store_true", help="less of everything, once")
    options = parser.parse_args()
    if options.quick:
        options.rounds = 1
    panels = _panels(quick=options.quick)
    found: dict[str, dict[str, dict[int, list[float]]]] = {}
    steps: list[tuple[int, float]] = []
    for _ in range(options.rounds):
        growth = run(ROOMY, Work(name="deliveries", measured=Measured.GROWTH), BURST, options.seconds)
        steps = growth.get("steps", steps)
        for panel in panels:
            for line, works in panel.lines.items():
                for count, work in works.items():
                    figures = run(ROOMY, work, BURST, options.seconds)
                    print(f"{panel.title}: {line}, {count}: {summary(figures)}", file=sys.stderr, flush=True)
                    if "cpu_us" in figures:
                        of_line = found.setdefault(panel.title, {}).setdefault(line, {})
                        of_line.setdefault(count, []).append(figures["cpu_us"])
    OUT.mkdir(parents=True, exist_ok=True)
    record = {"circumstances": circumstances([SERVERS[OURS]]), "deliveries": steps, "cpu_us": found}
    (OUT / "scaling.json").write_text(json.dumps(record, indent=1))
    for title, lines in found.items():
        for line, values in lines.items():
            medians = ", ".join(f"{count}: {Spread.of(costs).median:.2f}" for count, costs in values.items())
            print(f"| {title} | {line} | {medians} |")
    _plot(panels, found, steps)


def _plot(
    panels: Sequence[Panel],
    found: Mapping[str, Mapping[str, Mapping[int, Sequence[float]]]],
    steps: Sequence[tuple[int, float]],
) -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow

    drawing = Figure(figsize=(4 * (len(panels) + 1), 4), layout="constrained")
    axes = drawing.subplots(1, len(panels) + 1)
    axes[0].set(title="deliveries", xlabel="asides delivered", ylabel="CPU of the relay, s")
    axes[0].plot([deliveries for deliveries, _ in steps], [cpu for _, cpu in steps], marker="o")
    for panel, place in zip(panels, axes[1:], strict=True):
        place.set(title=panel.title, xlabel=panel.axis, ylabel="CPU of the relay per delivery, µs")
        for line, values in found.get(panel.title, {}).items():
            spreads = [Spread.of(costs) for costs in values.values()]
            errors = (
                [spread.median - spread.least for spread in spreads],
                [spread.most - spread.median for spread in spreads],
            )
            medians = [spread.median for spread in spreads]
            place.errorbar(list(values), medians, yerr=errors, marker="o", capsize=3, label=line)
        place.set_ylim(bottom=0)
        place.legend()
    for kind in ("png", "svg"):
        drawing.savefig(OUT / f"scaling.{kind}")


if __name__ == "__main__":
    main()
