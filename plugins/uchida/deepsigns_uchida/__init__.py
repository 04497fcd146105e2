"""The watermark of Uchida, Nagai, Sakazawa and Satoh as a scheme of deepsigns-registry."""

from deepsigns_uchida.uchida import Uchida

__version__ = "0.1.0"
__all__ = ["Uchida"]
