"""Rules that hold of a history, a module for each thing that may be wrong with it."""
