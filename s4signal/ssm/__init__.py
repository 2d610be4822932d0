"""The mathematics: state matrices, discretisations, and equivalent views of a linear state space model.

Pure functions on tensors. `hippo` defines the HiPPO measures and their modes, `memory` an online memory for them.
`discretization` turns the ODE into a discrete system. A system (`systems`) runs block by block (`blocks`, which uses
`tables`, `carry` and `shared`), by one FFT (`convolution`), sample by sample (`recurrence`) or at irregular times
(`irregular`), with the same result. `cascades` defines the filters of filter banks. ARCHITECTURE.md has the table of
kernels, views and measures.
"""

from s4signal.ssm.blocks import block_scan
from s4signal.ssm.cascades import cascade_tables
from s4signal.ssm.convolution import fft_convolve, impulse_response
from s4signal.ssm.discretization import DENSE_DISCRETIZATIONS, DISCRETIZATIONS
from s4signal.ssm.hippo import BASES, DIAGONAL_INITS, LOW_RANK_PARTS, MEASURES, low_rank_form
from s4signal.ssm.irregular import Modes, irregular_scan, shared_scan
from s4signal.ssm.memory import HiPPO
from s4signal.ssm.recurrence import recurrent_scan, step
from s4signal.ssm.systems import DenseSystem, DiagonalSystem, Pair, SharedSystem, construction_dtype

__all__ = [
    "BASES",
    "DENSE_DISCRETIZATIONS",
    "DIAGONAL_INITS",
    "DISCRETIZATIONS",
    "LOW_RANK_PARTS",
    "MEASURES",
    "DenseSystem",
    "DiagonalSystem",
    "HiPPO",
    "Modes",
    "Pair",
    "SharedSystem",
    "block_scan",
    "cascade_tables",
    "construction_dtype",
    "fft_convolve",
    "impulse_response",
    "irregular_scan",
    "low_rank_form",
    "recurrent_scan",
    "shared_scan",
    "step",
]
