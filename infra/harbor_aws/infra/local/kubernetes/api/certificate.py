"""The server's certificate: made anew at every start, known to clients by the kubeconfig alone.

TLS is needed although the server listens on loopback only: over plain HTTP, kubectl does not send its token.
"""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_VALID = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """A self-signed certificate, and the TLS context that serves it."""

    pem: bytes
    context: ssl.SSLContext

    @classmethod
    def make(cls, address: str) -> ServerCertificate:
        """For an IP address of this machine."""
        key = ec.generate_private_key(ec.SECP256R1())
        pem = _sign(key, address).public_bytes(serialization.Encoding.PEM)
        return cls(pem, _context(key, pem))


def _sign(key: ec.EllipticCurvePrivateKey, address: str) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "harbor-aws local Kubernetes")])
    identifier, now = x509.SubjectKeyIdentifier.from_public_key(key.public_key()), datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address)), x509.DNSName("localhost")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )


def _context(key: ec.EllipticCurvePrivateKey, pem: bytes) -> ssl.SSLContext:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:  # OpenSSL loads a key from a file only
        Path(file.name).write_bytes(private + pem)
        context.load_cert_chain(file.name)
    return context
