"""A file -> its bytes, unpacked and within the memory.

Knows nothing about formats, texts or labels.
"""

import zlib
from pathlib import Path

from pollice.data.formats.bounds import check_fits
from pollice.data.formats.lines import COMPRESSED_SUFFIXES, broken_compression, open_file
from pollice.errors import DataError

_CHUNK = 2**20


def read_whole(path: Path) -> bytes:
    """Return the bytes of a file, unpacked.

    Raises:
        DataError: the file cannot be opened, is damaged, or does not fit into memory.
    """
    content = bytearray()
    with open_file(path) as file:
        try:
            while chunk := file.read(_CHUNK):
                content += chunk
                # Twice: the bytes, and what is made of them. A small file can unpack to terabytes.
                check_fits(path, 2 * len(content))
        except (OSError, EOFError, zlib.error) as error:
            if path.suffix.lower() not in COMPRESSED_SUFFIXES:
                raise DataError(
                    f"Expected a file that can be read, but {path} cannot be ({error}). "
                    "Check the disk, or copy the file again."
                ) from error
            raise broken_compression(path) from error
    return bytes(content)
