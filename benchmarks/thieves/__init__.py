"""What a thief can do to a marked model, and what is left of the mark: `benchmarks thieves`."""
