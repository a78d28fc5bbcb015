"""A page shown in the browser, where there is one.

Knows nothing about what is on the page.
"""

import os
import sys
import webbrowser
from pathlib import Path


def open_page(page: Path) -> bool:
    """Open a page in the person's browser; return whether one was found.

    Without a screen nothing is opened: a browser of text would take over the terminal.
    """
    if not _has_screen():
        return False
    try:
        return webbrowser.open(page.resolve().as_uri())
    except webbrowser.Error:
        return False


def _has_screen() -> bool:
    if sys.platform in ("darwin", "win32"):
        return True
    return any(os.environ.get(name) for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"))
