"""Documentation site: pages of docs/ and of the root, and references made from the code.

Called by `scripts/docs`. Promise: a link that leads nowhere fails the build.
"""
