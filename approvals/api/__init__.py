"""The management API of holds: their settings, the webhook and what was sent to it."""
