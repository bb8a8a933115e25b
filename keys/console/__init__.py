"""Pages of keys and providers."""
