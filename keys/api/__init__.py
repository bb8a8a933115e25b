"""The management API of keys and providers: JSON in, services, JSON out."""
