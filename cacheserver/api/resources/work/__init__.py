"""Routes about work that goes on beside requests: audits of logs, jobs, conversations.

Promises: lists come by page, and show no content.
Read by `api.routes`.
"""
