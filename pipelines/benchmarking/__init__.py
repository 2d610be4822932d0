"""Shared by the benchmarks: data sets, models to compare with, and the table of results."""
