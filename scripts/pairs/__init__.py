"""Making and scoring the pair verifier: own questions, generators, training. Offline only."""
