"""The rounds of a run, its folder, and what reads it when it has ended."""
