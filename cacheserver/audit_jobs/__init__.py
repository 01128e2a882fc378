"""Audits of uploaded logs, as jobs: `cacheserver audit` in a process of its own, one at a time.

Promises: an upload goes to disk as it comes, is readable by the server's user only, and is deleted
as soon as its audit has ended; an audit that a stopped server left behind is failed, never lost.
Called by `/admin/v1/audits`.
"""
