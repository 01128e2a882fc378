"""Verification measured: a simulated model of stated error rates in the step of the service."""
