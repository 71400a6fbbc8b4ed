"""The page opened in a browser of this machine, where there is one."""

from __future__ import annotations

import os
import webbrowser

__all__ = ["open_page"]


def open_page(address: str) -> bool:
    """Whether a browser was found and opened the address.

    A browser that draws into the terminal is none, unless the user has chosen it by BROWSER: it would take the
    terminal, and could not show the page.

    Args:
        address: of the page.
    """
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    # Of Python's classes this is the one for programs in a terminal, and for what BROWSER names.
    if type(browser) is webbrowser.GenericBrowser and "BROWSER" not in os.environ:
        return False
    try:
        return browser.open(address)
    except OSError:
        return False
