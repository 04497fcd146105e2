"""Ordinary models with defaults only: what is marked, what is refused, and why."""
