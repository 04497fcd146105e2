"""What the method does on an accelerator, with torch, numpy and scipy alone: one file a phase."""
