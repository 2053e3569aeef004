"""Numbers of several rounds as a Markdown table: medians with ranges, ratios taken within a round."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One figure; a value for each round."""

    figure: str
    values: Sequence[float]
    wanted: str = ""
    unit: str = "x"

    def cells(self) -> list[str]:
        """The figure, its median with the range, and what is wanted."""
        middle, low, high = statistics.median(self.values), min(self.values), max(self.values)
        reached = f"{self.wanted} {'yes' if self._holds(middle) else 'no'}" if self.wanted else ""
        return [self.figure, f"{_short(middle)}{self.unit} ({_short(low)} to {_short(high)})", reached]

    def _holds(self, middle: float) -> bool:
        sign, _, limit = self.wanted.partition(" ")
        bound = float(limit.rstrip("x"))
        return middle >= bound if sign == ">=" else middle <= bound


def _short(value: float) -> str:
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [list(head), ["---"] * len(head), *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """The ratio in each round."""
    return [a / b for a, b in zip(over, under, strict=True)]
