"""Retraining: the owner's data, the stage that embeds the mark, and the worker that runs it."""
