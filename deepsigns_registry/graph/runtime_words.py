"""What onnxruntime says went wrong, in a line that a person can use.

Its own text holds a code, the path of a copy, the source file and the C++ function that noticed,
the condition that did not hold, and somewhere among them the reason.
"""

import re

__all__ = ["in_short"]

_MOST, _MOST_OF_OTHERS = 200, 500
_CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_LEFT_OUT = tuple(
    (re.compile(pattern), instead)
    for pattern, instead in (
        (r"Load model from .{1,500}? failed: ?", ""),
        (
            (
                r"Non-zero status code returned while running (\w{1,60}) node\. Name:'[^']{0,500}' "
                r"Status Message: "
            ),
            r"operator \1: ",
        ),
        (r"In Node, \(.{1,1000}?\) , Error ", ""),
        (r"Exception during initialization: ", ""),
        # The source file, then the function with its type, its arguments and how it was made.
        (
            (
                r"/\S{1,300}\.(?:cc|cpp|cu|cuh|h|hpp):\d+ (?:[^.(]{1,300}\([^()]{0,500}\)"
                r"(?: const)?(?: \[with [^\]]{0,500}\])? )?"
            ),
            "",
        ),
        (r"(?:^|(?<=: ))[^.:]{1,200} was false\. ?", ""),
    )
)


def in_short(text: str) -> str:
    """The reason alone; of another library's text no more than its beginning.

    Args:
        text: Of an exception.

    Examples:
        >>> in_short(
        ...     "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running "
        ...     "Reshape node. Name:'a' Status Message: /onnxruntime_src/core/reshape_helper.h:91 "
        ...     "onnxruntime::ReshapeHelper::ReshapeHelper(const onnxruntime::TensorShape&, bool) "
        ...     "input_shape_size == size was false. The input tensor cannot be reshaped"
        ... )
        'operator Reshape: The input tensor cannot be reshaped'
    """
    line = " ".join(text[:8000].split())
    short = _CODE.sub("", line)
    if short == line:
        return _cut(line, _MOST_OF_OTHERS)
    for pattern, instead in _LEFT_OUT:
        short = pattern.sub(instead, short)
    return _cut(short.strip(), _MOST)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3].rpartition(' ')[0]}..."
