import os
import subprocess
import sys
import webbrowser

import pytest

from dgafvsr.apps.web.browser import open_page

ADDRESS = "http://127.0.0.1:7860/"


class Window(webbrowser.BaseBrowser):
    """A browser that notes what it opens, or cannot start."""

    def __init__(self, opens=True):
        super().__init__()
        self.opened, self._opens = [], opens

    def open(self, url, new=0, autoraise=True):
        self.opened.append(url)
        return self._opens


@pytest.mark.parametrize("opens", [True, False])
def test_a_browser_opens_the_address(monkeypatch, opens):
    window = Window(opens)
    monkeypatch.setattr(webbrowser, "get", lambda: window)
    assert open_page(ADDRESS) is opens
    assert window.opened == [ADDRESS]


def test_a_browser_in_the_terminal_is_none_unless_it_was_chosen(monkeypatch):
    monkeypatch.delenv("BROWSER", raising=False)
    monkeypatch.setattr(webbrowser, "get", lambda: webbrowser.GenericBrowser("true"))
    assert not open_page(ADDRESS)
    monkeypatch.setenv("BROWSER", "true")
    assert open_page(ADDRESS)


@pytest.mark.skipif(os.name != "posix", reason="elsewhere the system always has one")
def test_a_machine_without_a_browser_has_none(tmp_path):
    check = f"import sys; from dgafvsr.apps.web.browser import open_page; sys.exit(open_page({ADDRESS!r}))"
    bare = {name: value for name, value in os.environ.items() if name not in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")}
    bare["PATH"] = str(tmp_path)
    result = subprocess.run([sys.executable, "-c", check], env=bare, capture_output=True, timeout=120)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
