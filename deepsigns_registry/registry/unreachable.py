"""Why a server was not reached, in words that name what to correct.

The libraries below say it in one long text of several exceptions inside each other. A server that
is down, a certificate that is not accepted, a host that nobody knows and a proxy are four faults
with four remedies.
"""

import re
from collections.abc import Callable

from deepsigns_registry.errors import ConfigurationError, CouldNotCheckError, DeepSignsError

__all__ = ["unreached"]

_URI = "correct tracking_uri in deepsigns.toml"
_DOWN = ("the MLflow server does not answer", f"start it, or {_URI}")
_Words = tuple[str, str]


def unreached(text: str, what: str) -> DeepSignsError | None:
    """The error for what a client's library said; None when it says that a server answered.

    Args:
        text: Of the library's exception.
        what: What was asked for; begins the message.

    Examples:
        >>> text = "Max retries exceeded (Caused by ... [Errno 111] Connection refused"
        >>> unreached(text, "fraud").message
        'fraud: the MLflow server does not answer'
    """
    if text.startswith("Invalid url"):
        return ConfigurationError(f"{what}: tracking_uri is no address", advice=_URI)
    for pattern, words in _KINDS:
        found = re.search(pattern, text)
        if found:
            message, advice = words(found)
            return CouldNotCheckError(f"{what}: {message}", advice=advice)
    return None


def _certificate(found: re.Match[str]) -> _Words:
    reason = found["reason"].strip(" .")[:120]
    remedy = "set MLFLOW_TRACKING_SERVER_CERT_PATH to the certificate of its authority"
    if "mismatch" in reason:
        remedy = "write the host that the certificate is for in tracking_uri"
    elif "expired" in reason or "not yet valid" in reason:
        remedy = "renew the certificate, or correct this machine's clock"
    return f"the MLflow server's certificate is not accepted: {reason}", remedy


def _bundle(found: re.Match[str]) -> _Words:
    return (
        f"{found['path'][:200]}: no such file of certificates",
        "correct MLFLOW_TRACKING_SERVER_CERT_PATH or REQUESTS_CA_BUNDLE",
    )


def _host(found: re.Match[str]) -> _Words:
    return f"nobody knows the host '{found['host'][:100]}'", f"{_URI}, or ask who runs the DNS"


def _status(found: re.Match[str]) -> _Words:
    return (
        f"what stands in front of the MLflow server answers with {found['status']}",
        "see whether the server behind it runs",
    )


def _always(message: str, advice: str) -> Callable[[re.Match[str]], _Words]:
    return lambda _found: (message, advice)


# The first that fits: the inner exceptions before those around them.
_KINDS: tuple[tuple[str, Callable[[re.Match[str]], _Words]], ...] = (
    (r"certificate verify failed(?:: (?P<reason>[^(\"']+(?:'[^']*')?))", _certificate),
    (r"CA certificate bundle, invalid path: (?P<path>.+)", _bundle),
    (
        r"WRONG_VERSION_NUMBER|wrong version number|record layer failure",
        _always("the server does not speak https", "write http:// in tracking_uri"),
    ),
    (
        r"SSLError|\[SSL",
        _always(
            "no secure connection to the MLflow server came about",
            "see what it allows with: openssl s_client -connect HOST:PORT",
        ),
    ),
    (
        r"ProxyError|Unable to connect to proxy|Tunnel connection failed",
        _always("the proxy does not answer", "correct HTTPS_PROXY, HTTP_PROXY or NO_PROXY"),
    ),
    (r"Failed to resolve '(?P<host>[^']*)'", _host),
    (r"too many (?P<status>5\d\d) error responses", _status),
    (
        r"Connection reset by peer|RemoteDisconnected|Connection aborted",
        _always(
            "the server broke the connection off",
            "see its log; where it speaks https write https:// in tracking_uri",
        ),
    ),
    (r"Max retries exceeded|Connection refused|timed out", _always(*_DOWN)),
    (
        r"API request to endpoint \S+ failed with error code 404",
        _always(
            "what answers there is no MLflow server",
            "correct tracking_uri in deepsigns.toml, with the path that MLflow is served under",
        ),
    ),
    (
        r"API request to endpoint \S+ failed with error code 401|You are not authenticated",
        _always(
            "MLflow does not know who asks",
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
        ),
    ),
)
