"""`make gpu`: check results on a GPU, and measure speed and memory. It takes a few minutes.

It needs only torch and s4signal (and matplotlib to draw), and writes out/gpu.json and out/gpu.png. Without a
GPU it runs on the CPU, with a message, and with sizes that take seconds and say nothing about speed.
"""

import argparse
import copy
import json
import os
import pickle
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast
from unittest.mock import patch

import numpy as np
import torch
from reference import FFTS4D
from torch import Tensor, nn

from s4signal import S4Classifier, Signals
from s4signal.nn import FRONTENDS, KERNELS, FilterBank, S4Layer, S4Network, StackOptions, space_bands
from s4signal.ssm.blocks import LONGEST_BLOCK, block_product
from s4signal.ssm.operators import runs_triton
from s4signal.training import Cases, TrainingOptions, fit_network

__all__ = ["main"]

SFREQ = 16_000
#: Largest difference from float64 on the CPU, over the largest value: of outputs, and of gradients of parameters.
MOST_WRONG = {"32": (1e-3, 1e-2), "TF32": (0.05, 0.2), "bf16": (0.05, 0.2)}
LONGEST_S = 8.0  # for which a form is timed


class Sizes(NamedTuple):
    """Sizes of the computations."""

    batch: int
    d_model: int
    lengths: tuple[int, ...]
    n_checked: int  # samples of the cases whose results are compared
    n_clips: int
    rounds: int


SIZES = {"cuda": Sizes(16, 64, (1024, 4096, 16_384), 3000, 2000, 10), "cpu": Sizes(2, 8, (128, 256), 400, 16, 2)}


@contextmanager
def switches(form: str) -> Iterator[None]:
    """Turn on what the name of a form requests: the fused product, and TF32."""
    before = torch.backends.cuda.matmul.allow_tf32
    with patch.dict(os.environ, S4SIGNAL_FUSED_PRODUCT=str(int("fused" in form))):
        torch.backends.cuda.matmul.allow_tf32 = "TF32" in form
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before


def available(form: str, device: torch.device) -> bool:
    """Whether a device can run a form: graphs and TF32 need a GPU, the fused product also triton."""
    if "fused" in form:
        return runs_triton(torch.empty(0, device=device))
    return device.type == "cuda" or not ("graph" in form or "TF32" in form)


class PlainScan(nn.Module):
    """A diagonal system as a selective scan in plain torch: step by step, in real pairs."""

    def __init__(self, d_model: int, d_state: int) -> None:
        super().__init__()
        phase, self.decay = torch.rand(d_model, d_state // 2), nn.Parameter(torch.full((d_model, d_state // 2), 0.99))
        self.turn = nn.Parameter(torch.stack([phase.cos(), phase.sin()]))
        self.B, self.C = (nn.Parameter(torch.randn(2, d_model, d_state // 2)) for _ in range(2))

    def forward(self, u: Tensor) -> Tensor:
        """Map (batch, d_model, n_times) to the same shape."""
        a, b = self.decay * self.turn
        re = im = u.new_zeros(*u.shape[:2], a.shape[-1])
        outputs = []
        for u_t in u.unbind(-1):
            re, im = a * re - b * im + self.B[0] * u_t[..., None], a * im + b * re + self.B[1] * u_t[..., None]
            outputs.append((self.C[0] * re - self.C[1] * im).sum(-1))
        return torch.stack(outputs, -1)


class FirstOutput(nn.Module):
    """The output of a recurrent network of torch, without its last state."""

    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.rnn = rnn

    def forward(self, u: Tensor) -> Tensor:
        """Map (n_times, batch, d_model) to the same shape."""
        y: Tensor = self.rnn(u)[0]
        return y


class Strided(nn.Module):
    """A module as front end."""

    def __init__(self, hop: int) -> None:
        super().__init__()
        self.conv, self.hop_s = nn.Conv1d(2, 6, hop, stride=hop), hop / SFREQ

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, n_times, n_channels) to (batch, n_hops, n_features)."""
        y: Tensor = self.conv(x.mT).mT
        return y


def front_end(name: str, d_model: int) -> nn.Module:
    """Build a front end for two channels, with hops of 20 samples."""
    hop_s = 20 / SFREQ
    if name == "filterbank":
        frequencies, bandwidths = space_bands("erb", 8, 500.0, 4000.0)
        bank = FilterBank(frequencies_hz=frequencies, bandwidths_hz=bandwidths, sfreq=SFREQ, hop_s=hop_s)
        return FRONTENDS[name](2, d_model, bank=bank)
    if name in ("hop_means", "band_power"):
        return FRONTENDS[name](2, d_model, sfreq=SFREQ, hop_s=hop_s)
    return FRONTENDS[name](Strided(20), 6, d_model) if name == "module" else FRONTENDS[name](2, d_model)


def errors(
    module: nn.Module, device: torch.device, precision: str, x: Tensor, **options: Tensor
) -> tuple[float, float]:
    """Compare outputs and gradients with those in float64 on the CPU: largest difference over the largest value."""
    results = []
    for dtype, where in ((torch.float64, torch.device("cpu")), (torch.float32, device)):
        own = copy.deepcopy(module).to(where, dtype)
        moved = {name: value.to(where, dtype) for name, value in options.items()}
        # On a GPU, torch's convolutions round float32 to ten bits of mantissa unless this is switched off.
        with torch.backends.cudnn.flags(allow_tf32=precision == "bf16"):
            half = precision == "bf16" and dtype == torch.float32
            with torch.autocast(where.type, torch.bfloat16, enabled=half):
                y = own(x.to(where, dtype), **moved)
            y.double().square().mean().backward()
        results.append((y, torch.cat([p.grad.flatten() for p in own.parameters() if p.grad is not None])))
    pairs = [(own.detach().double().cpu(), exact.detach()) for exact, own in zip(*results, strict=True)]
    output, gradient = (float((own - exact).abs().max() / exact.abs().max()) for own, exact in pairs)
    return output, gradient


def correctness(device: torch.device, sizes: Sizes) -> Iterator[dict[str, object]]:
    """Compare every kernel, at regular and irregular times, and every front end."""
    torch.manual_seed(0)
    d_model, n = min(16, sizes.d_model), sizes.n_checked
    u, gaps = torch.randn(d_model, 2, n), 0.5 + torch.rand(2, n)
    checked: list[tuple[str, nn.Module, Tensor, dict[str, Tensor]]] = []
    for name, kernel in KERNELS.items():
        layer = S4Layer(d_model, 16, kernel=name, bidirectional=True)
        checked.append((f"kernel {name}", layer, u, {}))
        if name in ("s4d", "s4"):  # diagonal and dense; s5 uses other products
            checked += [(f"kernel {name}, {form}", layer, u, {}) for form in PRODUCTS if "fused" in form]
        if kernel.TAKES_GAPS:
            checked.append((f"kernel {name}, irregular times", layer, u, {"gaps": gaps}))
    stack = StackOptions(d_model=d_model, n_layers=2, d_state=16, dropout=0.0)
    for name in FRONTENDS:
        network = S4Network(front_end(name, d_model), 3, options=stack)
        checked.append((f"network behind {name}", network, torch.randn(2, 2, n), {}))
    yield graphs(device)
    for name, module, x, options in checked:
        if not available(name, device):
            continue
        for precision in ("32", "bf16") if name.startswith("network") else ("TF32" if "TF32" in name else "32",):
            with switches(name):
                output, gradient = errors(module, device, precision, x, **options)
            most = MOST_WRONG[precision]
            yield {
                "what": f"{name}, precision={precision!r}",
                "output": output,
                "gradient": gradient,
                "right": output <= most[0] and gradient <= most[1],
            }


def graphs(device: torch.device) -> dict[str, object]:
    """Compare a training that replays graphs with one that doesn't, and check that each replay drops other channels."""
    rng, labels = np.random.default_rng(0), torch.arange(36) % 2
    lengths = np.repeat([300, 400, 90, 70, 64, 60], 6)
    cases = Cases.of([rng.standard_normal((2, n)) + 0.5 * int(y) for n, y in zip(lengths, labels, strict=True)], labels)
    weights, losses = [], []
    for dropout, rate in ((0.0, 4e-3), (0.5, 1e-12)):
        torch.manual_seed(0)
        stack = StackOptions(d_model=16, n_layers=2, d_state=16, dropout=dropout)
        network = S4Network(FRONTENDS["linear"](2, 16), 2, options=stack).to(device)
        for by_graphs in (False, True):
            options = TrainingOptions(
                max_epochs=8, batch_size=6, device=device, learning_rate=rate, cuda_graphs=by_graphs, weight_decay=0.0
            )
            result = fit_network(network, cases, loss=nn.CrossEntropyLoss(reduction="none"), options=options)
            weights.append(torch.cat([p.detach().flatten().double().cpu() for p in result.network.parameters()]))
            losses.append([line["loss"] for line in result.history])
    error = float((weights[0] - weights[1]).abs().max() / weights[0].abs().max())
    drawn = len({round(loss, 9) for loss in losses[3]})
    right = error < 1e-3 and drawn == len(losses[3])
    return {"what": f"training by graphs, {drawn} draws of 8", "output": error, "gradient": error, "right": right}


PRODUCTS = ("plain", "fused", "plain, TF32", "fused, TF32")


def products(device: torch.device, sizes: Sizes) -> Iterator[dict[str, object]]:
    """Compare the outputs of blocks, U W + X Q, with float64 on the CPU, and time them in each form."""
    T, rows = LONGEST_BLOCK, sizes.batch * max(sizes.lengths) // LONGEST_BLOCK
    for S in (64, 128):
        torch.manual_seed(S)
        shapes = (rows, T), (2 * T - 1,), (rows, S), (T, S)
        tables = [torch.randn(sizes.d_model, *shape) for shape in shapes]
        exact, moved = block_product(*(table.double() for table in tables)), [table.to(device) for table in tables]
        for form in (form for form in PRODUCTS if available(form, device)):
            with switches(form):
                error = float((block_product(*moved).double().cpu() - exact).abs().max() / exact.abs().max())
                taken = []
                for _ in range(sizes.rounds):
                    synchronize(device)
                    start = time.perf_counter()
                    for _ in range(10):
                        block_product(*moved)
                    synchronize(device)
                    taken.append((time.perf_counter() - start) / 10)
            seconds = statistics.median(taken)
            line = {"form": form, "n_states": S, "n_blocks": rows, "error": error, "seconds": seconds}
            line["tflop_per_s"] = 2e-12 * exact.numel() * (T + S) / seconds
            yield line | {"right": error <= MOST_WRONG["TF32" if "TF32" in form else "32"][0]}


FORMS: dict[str, tuple[Callable[[int], nn.Module], tuple[int, int, int]]] = {  # and the order of d_model, batch, time
    "s4d": (lambda d: S4Layer(d, 64), (0, 1, 2)),
    "s4": (lambda d: S4Layer(d, 64, kernel="s4"), (0, 1, 2)),
    "s5": (lambda d: S4Layer(d, 64, kernel="s5"), (0, 1, 2)),
    "s4d, fused": (lambda d: S4Layer(d, 64), (0, 1, 2)),
    "s4d, as a graph": (lambda d: S4Layer(d, 64), (0, 1, 2)),
    "s4d, fused, as a graph": (lambda d: S4Layer(d, 64), (0, 1, 2)),
    "s4d, TF32, as a graph": (lambda d: S4Layer(d, 64), (0, 1, 2)),
    "s4d, fused, TF32, as a graph": (lambda d: S4Layer(d, 64), (0, 1, 2)),
    "S4D by FFT": (lambda d: FFTS4D(d, 64), (1, 0, 2)),
    "S4D by FFT, as a graph": (lambda d: FFTS4D(d, 64), (1, 0, 2)),
    "scan in plain torch": (lambda d: PlainScan(d, 64), (1, 0, 2)),
    "GRU": (lambda d: FirstOutput(nn.GRU(d, d)), (2, 1, 0)),
}


def speed(device: torch.device, sizes: Sizes) -> Iterator[dict[str, object]]:
    """Time a training step of a layer in each form, forward and backward, and measure its peak memory."""
    for form, (make, layout) in FORMS.items():
        s_per_sample: float | None = 0.0  # None if memory was exhausted
        for n_times in sizes.lengths if available(form, device) else ():
            if s_per_sample is None or s_per_sample * n_times > LONGEST_S:
                break
            torch.manual_seed(0)
            line: dict[str, object] = {"form": form, "n_times": n_times, "seconds": None, "peak_mib": None}
            try:
                with switches(form):
                    module = make(sizes.d_model).to(device)
                    u = torch.randn(sizes.d_model, sizes.batch, n_times, device=device).permute(layout)
                    u = u.contiguous().requires_grad_()
                    if "graph" in form:
                        module = torch.cuda.make_graphed_callables(module, (u,))
                    line |= measured(module, u, device, sizes.rounds)
                    if "graph" in form:
                        line["peak_mib"] = None  # the memory of a graph is not counted
                    s_per_sample = cast(float, line["seconds"]) / n_times
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
                s_per_sample = None
            yield line


def measured(module: nn.Module, u: Tensor, device: torch.device, rounds: int) -> dict[str, object]:
    """Return the median of the seconds, and on a GPU the peak memory in MiB beyond the memory before."""

    def step() -> float:
        module.zero_grad()
        synchronize(device)
        start = time.perf_counter()
        module(u).sum().backward()
        synchronize(device)
        return time.perf_counter() - start

    step()
    peak, before = None, 0
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    taken = [step()]
    if device.type == "cuda":
        peak = (torch.cuda.max_memory_allocated(device) - before) / 2**20
    while len(taken) < rounds and sum(taken) < LONGEST_S:
        taken.append(step())
    return {"seconds": statistics.median(taken), "peak_mib": peak}


def synchronize(device: torch.device) -> None:
    """Wait for the GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def epoch(device: torch.device, sizes: Sizes) -> dict[str, float]:
    """Train the default model for sound on one-second clips; return times; unpickle the model without a GPU."""
    rng, labels = np.random.default_rng(0), np.arange(sizes.n_clips) % 2
    pitch = np.array([300.0, 450.0])[labels][:, None] * 2 * np.pi / SFREQ * np.arange(SFREQ)
    clips = np.sin(pitch, dtype=np.float32) + 0.1 * rng.standard_normal(pitch.shape, dtype=np.float32)
    start = time.perf_counter()
    model = S4Classifier(max_epochs=3, device=str(device), random_state=0).fit(Signals(clips, sfreq=SFREQ), labels)
    before_the_loop = time.perf_counter() - start - model.fit_seconds_
    seconds = statistics.median(line["seconds"] for line in model.history_[1:])
    with patch("torch.cuda.is_available", return_value=False):  # without CUDA, a pickled GPU tensor cannot be loaded
        pickle.loads(pickle.dumps(model))
    return {"n_clips": sizes.n_clips, "before_the_loop_s": before_the_loop, "epoch_s": seconds}


def draw(lines: list[dict[str, object]], path: Path, title: str) -> bool:
    """Plot seconds of a step over samples; return False without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    axes = (figure := Figure()).subplots()
    for form in FORMS:
        timed = [line for line in lines if line["form"] == form and line["seconds"] is not None]
        axes.loglog([line["n_times"] for line in timed], [line["seconds"] for line in timed], marker="o", label=form)
    axes.set(xlabel="samples", ylabel="seconds, forward and backward", title=title)
    axes.legend()
    figure.savefig(path)
    return True


def main(arguments: list[str] | None = None) -> int:
    """Check, measure, print and write; return 1 if a result is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for gpu.json and gpu.png")
    out = parser.parse_args(arguments).out
    out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    if device.type == "cpu":
        print("There is no CUDA card: this is the CPU, with small sizes; its times say nothing about a GPU.")
    started, sizes = time.perf_counter(), SIZES[device.type]
    checks = list(correctness(device, sizes))
    print(f"\n{name}, torch {torch.__version__}: largest difference from float64 on the CPU, over the largest value")
    for check in checks:
        wrong = "" if check["right"] else "   WRONG"
        print(f"  {check['what']:45} output {check['output']:.1e}   gradient {check['gradient']:.1e}{wrong}")
    timed = list(products(device, sizes))
    print(f"\noutputs of {LONGEST_BLOCK} samples, {sizes.d_model} channels, float32: U W + X Q; difference as above")
    for line in timed:
        took = f"{1e6 * line['seconds']:10.0f} us   {line['tflop_per_s']:8.2f} TFLOP/s"  # type: ignore[operator]
        wrong = "" if line["right"] else "   WRONG"
        print(f"  {line['n_states']:4} states  {line['form']:12} {took}   {line['error']:.1e}{wrong}")
    lines = list(speed(device, sizes))
    print(f"\na training step of {sizes.batch} x {sizes.d_model} features, float32")
    for line in lines:
        taken = "out of memory" if line["seconds"] is None else f"{1e3 * line['seconds']:10.2f} ms"  # type: ignore[operator]
        peak = "" if line["peak_mib"] is None else f"{line['peak_mib']:10.0f} MiB"
        print(f"  {line['n_times']:7} samples  {line['form']:28} {taken}{peak}")
    trained = epoch(device, sizes)
    before = f"{trained['before_the_loop_s']:.2f} s before the loop"
    print(f"\n{sizes.n_clips} one-second clips at 16 kHz: {before}, {trained['epoch_s']:.2f} s an epoch")
    seconds = time.perf_counter() - started
    found = {"device": name, "torch": torch.__version__, "sizes": sizes._asdict(), "seconds": seconds}
    found |= {"correctness": checks, "products": timed, "speed": lines, "epoch": trained}
    (out / "gpu.json").write_text(json.dumps(found, indent=1))
    drawn = draw(lines, out / "gpu.png", name)
    print(f"\n{seconds:.0f} s in all; written to {out / 'gpu.json'}" + (f" and {out / 'gpu.png'}" if drawn else ""))
    return int(not all(check["right"] for check in checks + timed))


if __name__ == "__main__":
    sys.exit(main())
