"""Signed POSTs to addresses that callers name.

Promises: private addresses are refused at the socket, redirects are not followed, bodies are
signed (Standard Webhooks), time and size are bounded.
Called by `alerts` and `batches`.
"""
