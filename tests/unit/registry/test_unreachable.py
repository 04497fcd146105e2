"""A certificate, a host that nobody knows and a proxy are not called a server that is down."""

import pytest
from mlflow.exceptions import MlflowException, RestException

from deepsigns_registry.errors import ConfigurationError, CouldNotCheckError
from deepsigns_registry.registry.client import translated
from deepsigns_registry.registry.unreachable import unreached

POOL = "API request to https://h/api failed with exception HTTPSConnectionPool(host='h', port=1): "
RETRIES = f"{POOL}Max retries exceeded with url: /api (Caused by "
CERTIFICATE = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: "

KINDS = {
    "self-signed": (
        (
            f"{RETRIES}SSLError(SSLCertVerificationError(1, '{CERTIFICATE}self-signed certificate "
            "(_ssl.c:1006)')))"
        ),
        "the MLflow server's certificate is not accepted: self-signed certificate",
        "MLFLOW_TRACKING_SERVER_CERT_PATH",
    ),
    "another host's": (
        (
            f'{RETRIES}SSLError(SSLCertVerificationError(1, "{CERTIFICATE}Hostname mismatch, '
            "certificate is not valid for 'mlflow'. (_ssl.c:1006)\")))"
        ),
        "not accepted: Hostname mismatch, certificate is not valid for 'mlflow'",
        "write the host that the certificate is for",
    ),
    "expired": (
        (
            f"{RETRIES}SSLError(SSLCertVerificationError(1, '{CERTIFICATE}certificate has expired "
            "(_ssl.c:1006)')))"
        ),
        "not accepted: certificate has expired",
        "renew the certificate",
    ),
    "no https": (
        f"{RETRIES}SSLError(SSLError(1, '[SSL: WRONG_VERSION_NUMBER] wrong version number')))",
        "does not speak https",
        "write http://",
    ),
    "no http": (
        f"{RETRIES}ProtocolError('Connection aborted.', ConnectionResetError(104, 'reset')))",
        "broke the connection off",
        "write https://",
    ),
    "another failure of TLS": (
        f"{RETRIES}SSLError(SSLError(1, '[SSL: NO_CIPHERS_AVAILABLE] no ciphers')))",
        "no secure connection",
        "openssl s_client",
    ),
    "no such file": (
        "x Could not find a suitable TLS CA certificate bundle, invalid path: /nowhere.pem",
        "/nowhere.pem: no such file of certificates",
        "REQUESTS_CA_BUNDLE",
    ),
    "no such host": (
        (
            f"{RETRIES}NameResolutionError(\"HTTPConnection(host='h', port=1): Failed to resolve "
            "'mlflow.invalid' ([Errno -2] Name or service not known)\"))"
        ),
        "nobody knows the host 'mlflow.invalid'",
        "correct tracking_uri",
    ),
    "a proxy": (
        f"{RETRIES}ProxyError('Unable to connect to proxy', NewConnectionError('refused')))",
        "the proxy does not answer",
        "NO_PROXY",
    ),
    "a gateway": (
        f"{RETRIES}ResponseError('too many 502 error responses')))",
        "answers with 502",
        "the server behind it",
    ),
    "down": (
        f"{RETRIES}NewConnectionError('[Errno 111] Connection refused'))",
        "the MLflow server does not answer",
        "start it, or correct tracking_uri",
    ),
    "another server": (
        "API request to endpoint /api/2.0/x failed with error code 404 != 200. Body: '<!D'",
        "what answers there is no MLflow server",
        "the path that MLflow is served under",
    ),
    "nobody": (
        "API request to endpoint /api/2.0/x failed with error code 401 != 200. Response body: ''",
        "does not know who asks",
        "MLFLOW_TRACKING_USERNAME",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_has_its_own_words(kind: str) -> None:
    text, message, advice = KINDS[kind]
    with pytest.raises(CouldNotCheckError) as caught, translated("m/1"):
        raise MlflowException(text)
    assert caught.value.message.startswith("m/1: ")
    assert message in caught.value.message
    assert advice in caught.value.advice
    assert "HTTPSConnectionPool" not in str(caught.value)


def test_what_a_server_answers_is_no_fault_of_the_way() -> None:
    error = RestException({"error_code": "INTERNAL_ERROR", "message": KINDS["self-signed"][0]})
    with pytest.raises(CouldNotCheckError, match="MLflow says"), translated("m/1"):
        raise error


def test_an_address_that_is_none() -> None:
    with pytest.raises(ConfigurationError, match="tracking_uri is no address"), translated("m/1"):
        raise MlflowException("Invalid url: http://127.0.0.1:99999/api")


def test_anything_else_is_left_as_it_is() -> None:
    assert unreached("disk full", "m/1") is None
