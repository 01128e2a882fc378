"""The benchmarks of `scripts/bench`. They compare within one run, as machines are noisy."""
