"""The console in a real Chromium, over the running product."""
