"""What `scripts/bench` measures: ratios within one run, for machines are shared and noisy."""
