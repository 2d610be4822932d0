"""What the benchmarks share: sets of recordings, the models they compare with, and the table they fill."""
