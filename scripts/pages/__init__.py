"""Writes the parts of pages that follow from the code."""
