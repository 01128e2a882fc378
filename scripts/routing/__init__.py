"""Labelled prompts, and how the classifier that routes them is fitted. Offline only."""
