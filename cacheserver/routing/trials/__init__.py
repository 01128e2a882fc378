"""Trials of cheaper models, and gold sets: is a model good enough for a task?

Promises: at most the tenant's budget for trials is spent; callers never wait for one.
Called by `routing.router` for verdicts and by the routes of trials.
"""
