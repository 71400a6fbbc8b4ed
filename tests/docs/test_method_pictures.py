import importlib.util
import re
import sys

import pytest
from PIL import Image

from dgafvsr import DGAFVSRPipeline
from tests import factories
from tests.docs import sandbox
from tests.docs.documents import ROOT


@pytest.mark.slow
def test_program_draws_the_pictures_that_the_page_shows(tmp_path, monkeypatch):
    path = ROOT / "examples" / "method_pictures.py"
    spec = importlib.util.spec_from_file_location("method_pictures", path)
    program = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "method_pictures", program)
    spec.loader.exec_module(program)
    sandbox.film(tmp_path / "film.mp4", height=72, width=176, times=range(0, 640, 40))
    monkeypatch.setattr(DGAFVSRPipeline, "from_pretrained", factories.pipeline)
    monkeypatch.setattr(sys, "argv", ["method_pictures", str(tmp_path / "film.mp4"), str(tmp_path / "pictures")])
    program.main()
    made = {path.name for path in (tmp_path / "pictures").iterdir()}
    page = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    assert made == set(re.findall(r"images/(method_\w+\.webp)", page))
    assert {Image.open(tmp_path / "pictures" / name).width for name in made} == {1158, 1164, 1170}
