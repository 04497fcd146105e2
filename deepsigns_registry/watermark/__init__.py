"""The method: DeepSigns (arXiv 1804.00750) on tapped models.

Imports torch, numpy and the standard library, nothing else, so that it runs on a bare accelerator
machine.
"""
