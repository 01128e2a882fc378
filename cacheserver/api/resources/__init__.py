"""The HTTP routes, one file a resource. They parse, call a capability, and answer."""
