"""What joins events with usage: the overview, runs and their timelines, and search. Reads only; nothing here changes a row."""
