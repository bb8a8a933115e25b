"""What approvals compute from plain values: signatures, hashes, and when a message is sent again. No Django here."""
