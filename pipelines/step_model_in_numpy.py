"""Export a causal model and run it on streams with only numpy and onnxruntime: no torch, no s4signal.

Data: Japanese Vowels (Kudo et al., 1999): nine men say /ae/; 12 cepstral coefficients, 7 to 29 frames of 6.4 ms per
series. Set S4SIGNAL_DATA to the folder that contains japanese_vowels/.

Protocol: the split of the archive. A small causal classifier is fitted on the training series and exported as a step
(``view="step"``). `Follower` then processes each test series frame by frame; another machine needs only this class and
the file. Its last output is compared with ``predict_proba`` of the whole series. Nothing is chosen on test series.

Command::

    python pipelines/step_model_in_numpy.py --out step.onnx

Output: accuracy of both, the largest difference between probabilities, and the time of a step.
"""

import argparse
import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from s4signal import S4Classifier
from s4signal.errors import S4SignalError
from s4signal.signals import datasets

__all__ = ["Follower", "main"]


class Follower:
    """A model that processes one frame after the other."""

    def __init__(self, path: str) -> None:
        import onnxruntime

        self.session = onnxruntime.InferenceSession(path)
        self.info = json.loads(self.session.get_modelmeta().custom_metadata_map["s4signal"])
        self.reset()

    def reset(self) -> None:
        """Reset the state."""
        self.state = {}
        for part in self.info["state"]:
            shape = [1 if n == "batch" else n for n in part["shape"]]
            self.state[part["name"]] = np.full(shape, float(part["fill"]), part["dtype"])

    def push(self, frame: Any) -> Any:
        """Process ``unit`` samples of all channels, (n_channels, unit); return the probabilities of the classes."""
        x = np.asarray(frame, np.float32)[None]
        output, *state = self.session.run(None, {"x": x, **self.state})
        self.state = dict(zip(self.state, state, strict=True))
        return output[0]


def main(argv: Sequence[str] | None = None) -> None:
    """Fit, export, and run the step model on the test series."""
    parser = argparse.ArgumentParser(description="A step model, run with only numpy and onnxruntime.")
    parser.add_argument("--seeds", "--seed", type=int, nargs=1, default=[0], help="random state")
    parser.add_argument("--max-epochs", type=int, default=20, help="number of epochs")
    parser.add_argument("--out", default="step.onnx", help="file to write")
    args = parser.parse_args(argv)
    try:
        (X, y), (X_test, y_test) = (datasets.load_japanese_vowels(part) for part in ("train", "test"))
    except S4SignalError as error:
        parser.error(str(error))
    model = S4Classifier(
        d_model=32,
        d_state=16,
        n_layers=2,
        bidirectional=False,
        frontend="linear",
        readout="pooled",
        max_epochs=args.max_epochs,
        random_state=args.seeds[0],
        verbose=1,
    ).fit(X, y)
    model.export(args.out, view="step")
    follower, expected, found = Follower(args.out), model.predict_proba(X_test), []
    started = time.perf_counter()
    for case in X_test:
        follower.reset()
        for t in range(case.length):
            output = follower.push(case.data[:, t : t + 1])
        found.append(output)
    step_s = (time.perf_counter() - started) / X_test.lengths.sum()
    classes = np.array(follower.info["classes"])
    print(f"accuracy of s4signal      {(model.predict(X_test) == y_test).mean():.3f}")
    print(f"accuracy of onnxruntime   {(classes[np.argmax(found, 1)] == y_test).mean():.3f}")
    print(f"largest difference        {np.abs(np.array(found) - expected).max():.1e}")
    print(f"a step                    {1e6 * step_s:.0f} microseconds, one signal")


if __name__ == "__main__":
    main()
