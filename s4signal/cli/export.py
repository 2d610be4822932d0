"""`s4signal export`: write a trained model to a file that runs without s4signal."""

from pathlib import Path
from typing import Annotated

import typer

from s4signal.cli.fit import check_out
from s4signal.cli.options import AsJson, ModelFile
from s4signal.cli.running import Screen

_ENDINGS = (".onnx", ".pt2")


def export(
    model: ModelFile,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File to write: .onnx, .pt2 (torch).", show_default=False)],
    view: Annotated[str, typer.Option(help="offline (whole cases) or step (streams, causal models).")] = "offline",
    longest: Annotated[int, typer.Option(help="Offline: samples of the longest case.")] = 2**20,
    as_json: AsJson = False,
) -> None:
    """Write a trained model (--estimator s4) for onnxruntime or torch, with standardisation and classes."""
    from s4signal.estimators.provenance import load_estimator

    if out.suffix.lower() not in _ENDINGS:
        raise ValueError(f"{out} must end in .onnx, or .pt2 for torch.")
    check_out(out)
    fitted = load_estimator(model)
    if not hasattr(fitted, "export"):
        raise ValueError(
            f"{model} holds a {type(fitted).__name__}, which cannot be exported; models of `fit --estimator s4` can."
        )
    screen = Screen(as_json=as_json)
    with screen.progress("exporting", total=None):
        exported = fitted.export(
            out, format="onnx" if out.suffix.lower() == ".onnx" else "torch", view=view, longest=longest
        )
    screen.say(f"written to {out}, with the metadata:")
    screen.facts({name: str(value) for name, value in exported.items() if name != "state" and value is not None})
    screen.result({"file": str(out), **exported})
