"""Prometheus metrics, gauges, logs and OpenTelemetry.

Promises: labels are bounded; neither prompts nor answers nor keys are ever in them.
Called by every package through the metrics port.
"""
