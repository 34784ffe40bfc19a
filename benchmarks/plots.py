"""
Plots of what the races wrote: C{python -m benchmarks.plots FOLDER}, in the peers'
environment, where matplotlib is.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt

OURS, THEIRS = "#c2410c", "#94a3b8"

#: One for each line of a plot; ours are warm, the others cold, the floor is grey.
WARM = ("#c2410c", "#f59e0b")
COLD = ("#1d4ed8", "#60a5fa", "#15803d", "#86efac")
GREY = "#64748b"

PERCENTILES = (("p50", "50 %"), ("p99", "99 %"), ("p999", "99.9 %"))

TIMES = (("ack", "to ACK"), ("claimed", "to claimed"))

plt.rcParams.update(
    {
        "font.size": 9,
        "svg.fonttype": "path",
        "svg.hashsalt": "races",  # the same figures make the same file
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.facecolor": "white",
    }
)


def file_name(*words: str) -> str:
    """Words as the name of a file."""
    return re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")


def values(entry: dict[str, Any], metric: str) -> list[float]:
    """One number of every round."""
    return [numbers[metric] for numbers in entry["rounds"] if metric in numbers]


def save(figure: Any, folder: Path, name: str) -> None:
    """As SVG, which scales, and as PNG."""
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    figure.savefig(folder / f"{name}.png", dpi=110)
    plt.close(figure)


def bars(race: dict[str, Any], style: str, entries: list[dict[str, Any]], folder: Path) -> None:
    """The medians of one style, with their ranges."""
    metric = race["metric"]
    rows = [(entry, values(entry, metric)) for entry in entries]
    rows = [(entry, found) for entry, found in rows if found and min(found) > 0]
    if not rows:
        return
    rows.sort(key=lambda row: statistics.median(row[1]), reverse=not race["higher_is_better"])
    medians = [statistics.median(found) for _, found in rows]
    errors = [
        [middle - min(found) for middle, (_, found) in zip(medians, rows, strict=True)],
        [max(found) - middle for middle, (_, found) in zip(medians, rows, strict=True)],
    ]
    ours = [entry["name"].startswith("taskqueue") for entry, _ in rows]
    figure, axes = plt.subplots(figsize=(7.2, 0.9 + 0.36 * len(rows)), layout="constrained")
    axes.barh(
        [entry["name"] for entry, _ in rows],
        medians,
        xerr=errors,
        color=[OURS if own else THEIRS for own in ours],
        error_kw={"elinewidth": 1, "capsize": 2, "ecolor": "#334155"},
    )
    axes.set_xscale("log")
    axes.set_xlim(min(medians) / 3, max(medians) * 4)
    for index, (middle, (_, found)) in enumerate(zip(medians, rows, strict=True)):
        text = f"  {middle:,.0f}" if middle >= 100 else f"  {middle:.2g}"
        axes.text(max(found), index, text, va="center")
    axes.set_xlabel(f"{race['unit']} (logarithmic); median and range of the rounds")
    axes.set_title(f"{race['title']}\n{style}".strip(), loc="left", fontsize=10)
    save(figure, folder, file_name(race["key"], style))


def colours(names: list[str]) -> dict[str, str]:
    """A colour for each name."""
    warm, cold = iter(WARM), iter(COLD)
    return {
        name: GREY
        if "floor" in name
        else next(warm if name.startswith("taskqueue") else cold, GREY)
        for name in names
    }


def curves(race: dict[str, Any], folder: Path) -> None:
    """Percentiles at each rate, until acknowledged and until claimed."""
    styles = list(dict.fromkeys(entry["style"] for entry in race["entries"]))
    shades = colours(list(dict.fromkeys(entry["name"] for entry in race["entries"])))
    figure, grid = plt.subplots(
        2, len(styles), figsize=(7.6, 5.2), sharex=True, sharey=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for row, (what, words) in zip(
        grid, (("ack", "to ACK"), ("claimed", "to claimed")), strict=True
    ):
        for axes, style in zip(row, styles, strict=True):
            for entry in race["entries"]:
                metrics = [f"{what}_{label}_ms" for label, _ in PERCENTILES]
                if entry["style"] != style or not values(entry, metrics[0]):
                    continue
                heights = [statistics.median(values(entry, metric)) for metric in metrics]
                axes.plot(
                    [words for _, words in PERCENTILES], heights,
                    marker="o", markersize=3, label=entry["name"], color=shades[entry["name"]],
                    linestyle="--" if "floor" in entry["name"] else "-",
                )  # fmt: skip
            axes.set_yscale("log")
            axes.grid(axis="y", color="#e2e8f0")
            axes.set_title(style if what == "ack" else "", fontsize=9)
        row[0].set_ylabel(f"{words}, ms")
    handles, names = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    save(figure, folder, file_name(race["key"]))


def main() -> None:
    """Draw everything."""
    folder = Path(sys.argv[1])
    for race in json.loads((folder / "results.json").read_text())["races"]:
        if "ack_p50_ms" in race["columns"]:
            curves(race, folder)
            continue
        for style in dict.fromkeys(entry["style"] for entry in race["entries"]):
            entries = [entry for entry in race["entries"] if entry["style"] == style]
            bars(race, style, entries, folder)


if __name__ == "__main__":
    main()
