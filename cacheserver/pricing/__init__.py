"""Pricing of calls to Claude: prices by model and day, bills, estimates.

Promises: nanodollars as `int`, one rounding a call; a model without a price is `None`, never 0.
Called by every package that spends or reports money.
"""
