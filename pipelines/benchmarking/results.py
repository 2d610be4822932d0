"""The file of scores, extended after every fit, and its table and figure."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

__all__ = ["Key", "Results", "Scores", "Summary", "draw", "summaries", "table", "wilson"]

OURS = "S4"  # prefix of the models of this package


class Key(NamedTuple):
    """Identity of a score. ``settings`` is empty for defaults; ``version`` is that of the model's package."""

    set: str
    data: str
    fold: str
    condition: str
    model: str
    seed: int
    settings: str
    version: str


class Scores(NamedTuple):
    """Accuracy and balanced accuracy, or root mean square and mean absolute error; 0 parameters: unknown."""

    score: float
    score_2: float
    n_test: int
    fit_seconds: float
    predict_seconds: float
    n_parameters: int


class Results:
    """Scores by key in a CSV file. Each is written immediately, so an interrupted run loses at most one fit."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[Key, Scores] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            self._append(Key._fields + Scores._fields)
        with path.open(newline="", encoding="utf-8") as file:
            for row in list(csv.reader(file))[1:]:
                *names, seed, settings, version = row[: len(Key._fields)]
                score, score_2, n_test, fit, predict, size = row[len(Key._fields) :]
                key = Key(*names, int(seed), settings, version)
                self.rows[key] = Scores(
                    float(score), float(score_2), int(n_test), float(fit), float(predict), int(size)
                )

    def add(self, key: Key, scores: Scores) -> None:
        """Store the scores of one fit."""
        self.rows[key] = scores
        self._append(key + scores)

    def _append(self, row: Sequence[Any]) -> None:
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(row)


class Summary(NamedTuple):
    """One line of a table; scores and seconds are means over folds, spreads are over seeds."""

    set: str
    condition: str
    model: str
    score: float
    spread: float
    score_2: float
    spread_2: float
    low: float
    high: float
    fit_seconds: float
    predict_seconds: float
    n_parameters: int
    n_seeds: int


def wilson(accuracy: float, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of an accuracy over n cases."""
    z = 1.96
    centre = (accuracy + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(accuracy * (1 - accuracy) / n + z**2 / (4 * n**2))
    return float(centre - half), float(centre + half)


def summaries(results: Results, keys: Iterable[Key]) -> list[Summary]:
    """Average the scores of the keys over folds and seeds; regression errors have no interval."""
    lines: dict[tuple[str, str, str], dict[int, list[Scores]]] = {}
    for key in keys:
        if key in results.rows:
            seeds = lines.setdefault((key.set, key.condition, key.model), {})
            seeds.setdefault(key.seed, []).append(results.rows[key])
    return [summary(*names, list(seeds.values())) for names, seeds in lines.items()]


def summary(name: str, condition: str, model: str, seeds: list[list[Scores]]) -> Summary:
    """Return one line of the table, given the folds of each seed."""
    scores = np.array([np.average(np.array(of)[:, :2], axis=0, weights=[row.n_test for row in of]) for of in seeds])
    (score, score_2), (spread, spread_2) = scores.mean(0), scores.std(0, ddof=min(1, len(scores) - 1))
    n_test = sum(row.n_test for row in seeds[0])
    low, high = wilson(score, n_test) if not is_error(name) else (np.nan, np.nan)
    rows = [row for of in seeds for row in of]
    fit, predict, size = np.mean([row[3:] for row in rows], axis=0)
    return Summary(
        name, condition, model, score, spread, score_2, spread_2, low, high, fit, predict, round(size), len(seeds)
    )


def is_error(name: str) -> bool:
    """Return whether the scores of a set are errors in beats per minute."""
    return name.startswith("ppg")


def table(lines: Sequence[Summary]) -> str:
    """Format the lines: one set after the other, models in the given order."""
    heading = ("accuracy (RMSE)", "95 % interval", "balanced (MAE)", "fit [s]", "predict [s]", "parameters", "seeds")
    widths = (18, 18, 18, 10, 13, 12, 7)
    texts = [
        f"{'set':26}{'model':22}" + "".join(f"{text:>{width}}" for text, width in zip(heading, widths, strict=True))
    ]
    for line in lines:
        cells = (
            spread(line.score, line.spread, line.n_seeds),
            "" if np.isnan(line.low) else f"{line.low:.3f} to {line.high:.3f}",
            spread(line.score_2, line.spread_2, line.n_seeds),
            f"{line.fit_seconds:.1f}",
            f"{line.predict_seconds:.1f}",
            f"{line.n_parameters:,}" if line.n_parameters else "–",
            f"{line.n_seeds}",
        )
        row = "".join(f"{text:>{width}}" for text, width in zip(cells, widths, strict=True))
        texts.append(f"{line.set:26}{line.model:22}{row}")
    return "\n".join(texts)


def spread(mean: float, deviation: float, n: int) -> str:
    """Format a mean, with the standard deviation if there are several values."""
    return f"{mean:.3f} ± {deviation:.3f}" if n > 1 else f"{mean:.3f}"


def draw(lines: Sequence[Summary], path: Path) -> None:
    """Draw one panel per set with the score, interval and seconds of each model; filled: models of this package."""
    names = list(dict.fromkeys(line.set for line in lines))
    models = list(dict.fromkeys(line.model for line in lines))
    columns = min(3, len(names))
    height = -(-len(names) // columns)
    figure = Figure(figsize=(1.5 + 3.6 * columns, height * (1 + 0.24 * len(models))), layout="constrained")
    panels = figure.subplots(height, columns, squeeze=False, sharey=True).ravel()
    for axes, name in zip(panels, names, strict=False):
        for line in (line for line in lines if line.set == name):
            y = models.index(line.model)
            if not np.isnan(line.low):
                axes.plot([line.low, line.high], [y, y], color="0.6", linewidth=3, solid_capstyle="butt")
            fill = "black" if line.model.startswith(OURS) else "white"
            axes.plot(line.score, y, "o", color="black", markerfacecolor=fill)
            axes.annotate(
                f" {line.fit_seconds:.3g} s", (1, y), xycoords=("axes fraction", "data"), va="center", fontsize=7
            )
        axes.set(title=name.replace("_", " "), xlabel="error [bpm]" if is_error(name) else "accuracy")
        axes.set_yticks(range(len(models)), models)
        axes.grid(axis="x", color="0.9")
    panels[0].invert_yaxis()
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    figure.savefig(path, dpi=150)
