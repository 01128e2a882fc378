"""What turns labels into better decisions: states, the decider, and the worker off the path."""
