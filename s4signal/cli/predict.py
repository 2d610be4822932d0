"""`s4signal predict`: predict new recordings with a model."""

import csv
import io
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from s4signal.cli.fit import check_out
from s4signal.cli.options import AsJson, Data, ModelFile, Reading, with_options
from s4signal.cli.running import Screen

FORMATS = (".csv", ".json", ".parquet")


@with_options
def predict(
    model: ModelFile,
    data: Data,
    reading: Reading,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A .csv, .json or .parquet file; by default CSV on screen.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Predict recordings, read like the training data: a row per case, with class probabilities."""
    from s4signal.cli.data import read_cases
    from s4signal.estimators.provenance import load_estimator, read_provenance

    if out is not None:
        check_format(out)
    fitted, provenance = load_estimator(model), read_provenance(model)
    how = reading.after(provenance.reading, left_out=("regression", "pattern"))
    cases = read_cases(data, how)
    screen = Screen(as_json=as_json)
    if out is not None:
        screen.facts(cases.facts())
    with screen.progress("predicting", total=None):
        rows = predicted_rows(fitted, cases.X)
    if out is not None:
        out.write_bytes(encoded(rows, out.suffix.lower(), how.tags or ";"))
        screen.say(f"{len(rows)} predictions written to {out}")
        screen.result({"predictions": str(out), "n_cases": len(rows)})
    else:
        typer.echo(encoded(rows, ".json" if as_json else ".csv", how.tags or ";").decode().rstrip("\n"))


def check_format(out: Path) -> None:
    """Check that a file can be written, before any computation."""
    if out.suffix.lower() not in FORMATS:
        raise ValueError(f"--out {out} must end in one of {', '.join(FORMATS)}.")
    check_out(out)
    if out.suffix.lower() == ".parquet":
        from s4signal.signals.checks import optional

        for package in ("pandas", "pyarrow"):
            optional(package, "A .parquet file (.csv and .json need no package)")


def predicted_rows(fitted: Any, X: Any) -> list[dict[str, Any]]:
    """Return one row per case: its number, file, prediction and probabilities."""
    rows: list[dict[str, Any]] = [{"case": i, "source": source} for i, source in enumerate(X.sources)]
    if hasattr(fitted, "classes_"):
        proba = fitted.predict_proba(X)
        for row, probabilities in zip(rows, proba, strict=True):
            row["prediction"] = label_of(fitted, probabilities)
            row |= {f"p({name})": round(float(p), 6) for name, p in zip(fitted.classes_, probabilities, strict=True)}
        return rows
    values = fitted.predict(X).reshape(len(rows), -1)
    names = ["prediction"] if values.shape[1] == 1 else [f"prediction {i}" for i in range(values.shape[1])]
    return [{**row, **dict(zip(names, value.tolist(), strict=True))} for row, value in zip(rows, values, strict=True)]


def label_of(fitted: Any, probabilities: Any) -> Any:
    """Return the most probable label; with several labels per case, those with a probability above 0.5."""
    if getattr(fitted[-1] if hasattr(fitted, "steps") else fitted, "multilabel_", False):
        return fitted.classes_[probabilities > 0.5].tolist()
    return fitted.classes_[probabilities.argmax()].item()


def encoded(rows: list[dict[str, Any]], ending: str, between: str) -> bytes:
    """Encode a table as the content of a file; in CSV, the tags of a case are joined, as `--tags` reads them."""
    if ending == ".json":
        return (json.dumps(rows, indent=1) + "\n").encode()
    if ending == ".parquet":
        import pandas as pd

        buffer = io.BytesIO()
        pd.DataFrame(rows).to_parquet(buffer)
        return buffer.getvalue()
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: between.join(map(str, v)) if isinstance(v, list) else v for k, v in r.items()} for r in rows)
    return text.getvalue().encode()
