"""Text to vectors to neighbours: a library that knows no LLM, no Redis and no HTTP."""
