"""The normal form of a graph: one form for all files that compute the same in known ways.

Each module is one rewrite, or what rewrites share: `steps` and `circuit` are their view of a graph,
`reading` and `writing` lead to it and back, `form` applies all of them.
"""

from deepsigns_registry.graph.canonical.form import NormalForm, normal_form

__all__ = ["NormalForm", "normal_form"]
