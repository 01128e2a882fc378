"""How Claude is asked on a miss: the shell around routing, prompt caching, caps and history."""
