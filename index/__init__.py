"""Vector index: text to vectors to neighbours. A library without any LLM, Redis or HTTP."""
