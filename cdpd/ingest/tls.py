"""TLS for the listeners: one context for good, whose certificate can be changed under way."""

from __future__ import annotations

import ssl

from cdpd.config.certificate import CertificateFiles, server_context


class Tls:
    """What TLS listeners share. `context` stays; each new handshake gets the newest certificate.

    The certificates themselves are in contexts of their own: one context cannot forget a certificate of another
    kind of key that it once had (RSA beside ECDSA), and would go on showing it.
    """

    def __init__(self, files: CertificateFiles) -> None:
        self.files = files
        self._newest = self.context = server_context(files)
        self.context.sni_callback = self._choose

    def apply(self, files: CertificateFiles) -> None:
        """From the next handshake on, show this certificate. Raises ssl.SSLError, with nothing changed."""
        if files != self.files:
            self._newest = server_context(files)
            self.files = files

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Called in every handshake, whether the client names a server or not."""
        connection.context = self._newest
