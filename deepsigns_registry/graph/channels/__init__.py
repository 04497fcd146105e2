"""Which channels of an ONNX graph belong together, and changing them everywhere at once.

A *channel group* is a set of axes of weights whose entries are the same channels: the rows of
the layer that computes them, the columns of the layers that read them, and what normalisation,
slopes and residual branches do to them in between. What is not understood fixes the groups it
touches, so that a change never breaks a graph.
"""

from deepsigns_registry.graph.channels.groups import Freedom
from deepsigns_registry.graph.channels.layout import Group, Layout, channel_layout
from deepsigns_registry.graph.channels.rewrite import Change, rewritten

__all__ = ["Change", "Freedom", "Group", "Layout", "channel_layout", "rewritten"]
