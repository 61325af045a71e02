"""Tables and plots of what several rounds have found.

A cell is the median of the rounds. A ratio is taken within each round, ours by theirs, and given with its median and,
in parentheses, the least and the most: whatever slowed one round down slowed both sides down.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.measure import Spread
from bench.run import Figures
from bench.servers import OURS
from bench.works import WORKS, Measured

FIGURES: Final[Mapping[Measured, Mapping[str, str]]] = {
    Measured.THROUGHPUT: {
        "cpu_us": "CPU of the server per delivery, µs",
        "per_second": "Deliveries per second",
    },
    Measured.LATENCY: {
        "idle_p50_us": "Latency when idle, p50, µs",
        "idle_p99_us": "Latency when idle, p99, µs",
        "half_p50_us": "Latency at half load, p50, µs",
        "half_p99_us": "Latency at half load, p99, µs",
        "half_rate": "Deliveries per second at half load",
    },
    Measured.CONNECTIONS: {
        "bytes_per_connection": "Memory per connection that is greeted and no more, bytes",
        "bytes_per_member": "Memory per connected member, bytes",
        "handshake_cpu_us": "CPU of the server per handshake, µs",
        "handshakes_per_second": "Handshakes per second",
    },
}
"""What is shown of each kind of work."""
RATIOS: Final = ("cpu_us", "idle_p50_us", "half_p50_us", "bytes_per_member", "handshake_cpu_us")
"""Of which figures the ratio is shown: those of which less is better and that a busy machine changes least."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one server did in one round."""

    round: int
    server: str
    work: str
    burst: int
    figures: Figures


class Report:
    """All results of one run so far: ``results`` may grow."""

    def __init__(self, circumstances: Mapping[str, str], results: Sequence[Result]) -> None:
        self.circumstances = circumstances
        self.results = results

    @property
    def _rows(self) -> list[tuple[str, int]]:
        return list(dict.fromkeys((result.work, result.burst) for result in self.results))

    @property
    def _servers(self) -> list[str]:
        return list(dict.fromkeys(result.server for result in self.results))

    def values(self, server: str, row: tuple[str, int], figure: str) -> dict[int, float]:
        """Return a figure by round."""
        return {
            result.round: result.figures[figure]
            for result in self.results
            if (result.server, result.work, result.burst) == (server, *row) and figure in result.figures
        }

    def ratio(self, server: str, row: tuple[str, int], figure: str) -> Spread | None:
        """Return ours by theirs, round by round."""
        ours, theirs = self.values(OURS, row, figure), self.values(server, row, figure)
        ratios = [ours[number] / theirs[number] for number in ours if number in theirs]
        return Spread.of(ratios) if ratios else None

    def json(self) -> str:
        """Return everything, for other programs."""
        results = [
            {"round": r.round, "server": r.server, "work": r.work, "burst": r.burst, **r.figures} for r in self.results
        ]
        return json.dumps({"circumstances": self.circumstances, "results": results}, indent=1)

    def markdown(self) -> str:
        """Return the tables."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield "; ".join(f"{key}: {value}" for key, value in self.circumstances.items())
        others = [server for server in self._servers if server != OURS]
        for measured, figures in FIGURES.items():
            rows = [row for row in self._rows if WORKS[row[0]].measured is measured]
            for figure, title in figures.items() if rows else ():
                cells = {row: [self._cell(server, row, figure) for server in self._servers] for row in rows}
                yield from _table(title, self._servers, cells)
                if figure in RATIOS and OURS in self._servers and others:
                    cells = {row: [self._ratio_cell(server, row, figure) for server in others] for row in rows}
                    yield from _table(f"{title}: ours by theirs", others, cells)
        yield from self._notes()

    def _cell(self, server: str, row: tuple[str, int], figure: str) -> str:
        values = self.values(server, row, figure)
        return _short(Spread.of(list(values.values())).median) if values else "-"

    def _ratio_cell(self, server: str, row: tuple[str, int], figure: str) -> str:
        spread = self.ratio(server, row, figure)
        return f"{spread.median:.2f} ({spread.least:.2f} to {spread.most:.2f})" if spread else "-"

    def _notes(self) -> Iterator[str]:
        """Say why there is nothing where there is nothing."""
        reasons = {
            (result.server, result.work, reason)
            for result in self.results
            if (reason := result.figures.get("cannot") or result.figures.get("failed"))
        }
        for server, work, reason in sorted(reasons):
            yield f"\n{server}, {work}: {reason}"

    def plot(self, path: Path) -> None:
        """Draw CPU per delivery of every server, a panel a work."""
        from matplotlib.figure import Figure  # noqa: PLC0415 - slow, and of no use to a run that draws nothing

        works = [w for w in dict.fromkeys(row[0] for row in self._rows) if WORKS[w].measured is Measured.THROUGHPUT]
        if not works:
            return
        drawing = Figure(figsize=(3.2 * len(works), 4), layout="constrained")
        for place, work in enumerate(works, 1):
            panel = drawing.add_subplot(1, len(works), place, title=work, yscale="log", xlabel="written at once")
            for server in self._servers:
                values = {row[1]: self.values(server, row, "cpu_us").values() for row in self._rows if row[0] == work}
                medians = {str(burst): Spread.of(list(found)).median for burst, found in values.items() if found}
                width = 2.5 if server == OURS else 1
                panel.plot(list(medians), list(medians.values()), marker="o", linewidth=width, label=server)
            if place == 1:
                panel.set_ylabel("CPU of the server per delivery, µs")
                panel.legend(fontsize="small")
        drawing.savefig(path)


def _table(title: str, columns: Sequence[str], cells: Mapping[tuple[str, int], Sequence[str]]) -> Iterator[str]:
    yield from ("", f"**{title}**", "", "| work | by | " + " | ".join(columns) + " |")
    yield "|---|--:|" + "--:|" * len(columns)
    for (work, burst), row in cells.items():
        yield f"| {work} | {burst} | " + " | ".join(row) + " |"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
