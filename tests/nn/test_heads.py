"""The summary head equals sums over the samples of each case."""

import numpy as np
import torch

from s4signal.nn import S4Network
from s4signal.nn.backbone import StackOptions, length_mask
from s4signal.nn.frontends import LinearFrontend
from s4signal.nn.network import SummaryHead

__all__: list[str] = []


@torch.no_grad()
def test_summaries_are_time_weighted_means_and_last_values_split_at_zero():
    torch.manual_seed(0)
    head = SummaryHead(2, 3).double()
    head.weight.normal_()
    lengths = [7, 4]
    x, gaps = torch.randn(2, 2, 7).double(), torch.rand(2, 7).double()
    mask = length_mask(torch.tensor(lengths), 7, torch.float64)
    scores = head(x * mask, mask, gaps * mask).numpy()
    for case, length in enumerate(lengths):
        values, weights = x[:, case, :length].numpy(), gaps[case, :length].numpy()
        summary = np.concatenate([np.average(values, axis=1, weights=weights), values[:, -1]])
        halves = np.concatenate([np.maximum(summary, 0), np.minimum(summary, 0)])
        np.testing.assert_allclose(scores[case], head.weight.numpy() @ halves)


@torch.no_grad()
def test_summaries_add_nothing_before_training():
    x = torch.randn(2, 3, 40)
    options = StackOptions(d_model=4, n_layers=1, d_state=4)
    torch.manual_seed(0)
    plain = S4Network(LinearFrontend(2, 4), 2, options=options)
    torch.manual_seed(0)
    with_summary = S4Network(LinearFrontend(2, 4), 2, options=options, n_summaries=2)
    assert torch.equal(plain.eval()(x), with_summary.eval()(x))
