"""Benchmarks. Compare figures within one run on one machine only; no test depends on them."""
