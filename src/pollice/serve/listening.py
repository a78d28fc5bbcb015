"""The socket of the service, opened before anything slow is imported.

Knows nothing about what is served.
"""

import socket

from pollice.errors import OptionError


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        OptionError: the port is in use, or the host is none of this machine's.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(2048)
        except BaseException:
            listening.close()
            raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OptionError(
            f"Expected to listen on {host}, port {port}, but the system says: {reason}. Name "
            "another one with --port or --host, or end what uses it."
        ) from None
    return listening
