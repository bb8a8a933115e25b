"""What approvals compute from plain values: signatures of webhooks and callbacks, and when a message is sent again. No Django here."""
