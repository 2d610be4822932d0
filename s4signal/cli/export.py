"""`s4signal export`: a trained model as a file that runs without s4signal."""

from pathlib import Path
from typing import Annotated

import typer

from s4signal.cli.fit import check_out
from s4signal.cli.options import AsJson, ModelFile
from s4signal.cli.running import Screen

_ENDINGS = (".onnx", ".pt2")


def export(
    model: ModelFile,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A file .onnx, or .pt2 for torch.", show_default=False)],
    view: Annotated[str, typer.Option(help="offline (whole cases) or step (a stream, causal models).")] = "offline",
    longest: Annotated[int, typer.Option(help="Samples of the longest case, offline.")] = 2**20,
    as_json: AsJson = False,
) -> None:
    """Write a trained model (--estimator s4) for onnxruntime or torch, standardisation and classes included."""
    from s4signal.estimators.provenance import load_estimator

    if out.suffix.lower() not in _ENDINGS:
        raise ValueError(f"{out} ends neither in .onnx nor in .pt2 (torch).")
    check_out(out)
    fitted = load_estimator(model)
    if not hasattr(fitted, "export"):
        raise ValueError(
            f"{model} holds a {type(fitted).__name__}, which is not exported; models of `fit --estimator s4` are."
        )
    screen = Screen(as_json=as_json)
    with screen.progress("exporting", total=None):
        said = fitted.export(
            out, format="onnx" if out.suffix.lower() == ".onnx" else "torch", view=view, longest=longest
        )
    screen.say(f"written to {out}; it says of itself, in its metadata:")
    screen.facts({name: str(value) for name, value in said.items() if name != "state" and value is not None})
    screen.result({"file": str(out), **said})
