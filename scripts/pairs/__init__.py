"""Labelled pairs: readers, generators, figures, the fit of the prior. Offline only."""
