"""Rewrites of a file that keep its function: one kind a module, `attack` lists them."""

from deepsigns_registry.attacks.rewrite.attack import REWRITINGS, Rewrite, rewritten
from deepsigns_registry.attacks.rewrite.rewriting import Interface, Rewriting

__all__ = ["REWRITINGS", "Interface", "Rewrite", "Rewriting", "rewritten"]
