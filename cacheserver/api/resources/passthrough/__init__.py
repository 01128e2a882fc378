"""Everything else of Anthropic's API, passed on. Used by `api.routes`."""
