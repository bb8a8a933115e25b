"""The pages of holds: their review, their settings, and what was sent."""
