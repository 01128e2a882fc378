"""Folder `minilm`: the default embedding model of cacheserver, as its export wrote it."""
