"""Self-checking exercises, one module a notebook."""
