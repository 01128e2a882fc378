"""A miss: its admission, the call to Claude, the requests that wait for it, the stored answer.

Called by `cache.service`; `batches` uses the answer store alone.
"""
