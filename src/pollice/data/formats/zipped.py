"""One table in a zip file -> its bytes.

Knows nothing about formats, texts or labels.
"""

import io
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from pollice.data.formats import suffixes
from pollice.data.formats.bounds import check_fits
from pollice.errors import DataError

_SHOWN = 5
_ENCRYPTED = 0x1  # the bit of a member's flags (PKWARE's APPNOTE.TXT, section 4.4.4)
_BROKEN = (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, LookupError)


def find_member(path: Path) -> zipfile.ZipInfo:
    """Return the only table in a zip file.

    Raises:
        DataError: the file is damaged, or holds no table or several.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except FileNotFoundError as error:
        raise DataError(
            f"Expected a file that can be read, but {path} cannot be opened ({error.strerror}). "
            "Check its name and its permissions."
        ) from error
    except (zipfile.BadZipFile, *_BROKEN) as error:
        raise _damaged(path) from error
    visible = [member for member in members if not member.is_dir() and _is_visible(member)]
    known = (*suffixes.TABLES, suffixes.LINES)
    tables = [member for member in visible if Path(member.filename.lower()).suffix in known]
    # A README.txt often lies beside the table.
    others = [m for m in tables if not m.filename.lower().endswith(suffixes.LINES)]
    tables = others or tables
    if len(tables) == 1:
        return tables[0]
    if tables:
        raise DataError(
            f"Expected one table in {path}, but found {_names(tables)}. "
            "Unpack it, and name one of them or their folder."
        )
    hidden = "only hidden files" if members else "nothing"
    raise DataError(
        f"Expected a table in {path}, but found {_names(visible) or hidden}. "
        f"Put one file in it that ends in {', '.join(known)}."
    )


def say_member(path: Path) -> str:
    """Return a sentence on what is read of a zip file, and what is not.

    Raises:
        DataError: as `find_member`.
    """
    member = find_member(path)
    with zipfile.ZipFile(path) as archive:
        others = [
            other
            for other in archive.infolist()
            if other.filename != member.filename and not other.is_dir() and _is_visible(other)
        ]
    rest = f", and not {_names(others)}" if others else ""
    return f"{path.name}: {member.filename} in it is read{rest}."


def open_member(path: Path) -> io.BytesIO:
    """Return the unpacked bytes of the only table in a zip file.

    Raises:
        DataError: the file is damaged, protected, or unpacks to more than the memory.
    """
    member = find_member(path)
    if member.flag_bits & _ENCRYPTED:
        raise DataError(
            f"Expected a zip file without a password, but {path} has one. Unpack it, and name "
            "the file."
        )
    check_fits(path, 2 * member.file_size)
    try:
        with zipfile.ZipFile(path) as archive:
            # At most the promised size is unpacked: a member with more of it is damaged.
            return io.BytesIO(archive.read(member))
    except (zipfile.BadZipFile, zlib.error, *_BROKEN) as error:
        raise _damaged(path) from error


def _is_visible(member: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(member.filename).parts
    # A member is never written to a place of its own name, so `..` leads nowhere.
    return not any(suffixes.is_hidden(part) for part in parts if part != "..")


def _names(members: list[zipfile.ZipInfo]) -> str:
    more = "" if len(members) <= _SHOWN else f" and {len(members) - _SHOWN:,} more"
    return ", ".join(member.filename for member in members[:_SHOWN]) + more


def _damaged(path: Path) -> DataError:
    return DataError(
        f"Expected a whole .zip file, but {path} is damaged or cut short. "
        "Copy or download it again."
    )
