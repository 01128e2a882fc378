"""Several server processes behind one address (`serve --workers N`), and the parent that runs them.

Promises: the parent owns the embedded store and the address; each worker is a server among peers
(`cacheserver.peers`). A worker that ends is started again; what it had counted stays in the sums.
Used by `serving` and `cli`.
"""
