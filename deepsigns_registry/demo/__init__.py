"""The whole story on one machine, through the same commands that a person types."""
