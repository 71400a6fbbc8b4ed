import pytest

from tests.docs.documents import blocks, command_lines


def test_words_of_a_command_are_the_shell_s():
    text = 'dgafvsr upscale a.mp4 b.mp4  # as large\ndgafvsr train tiny \\\n  --set "x=[1,2]" > log.txt && A=b ls\n'
    assert command_lines(text) == [
        ["dgafvsr", "upscale", "a.mp4", "b.mp4"],
        ["dgafvsr", "train", "tiny", "--set", "x=[1,2]"],
        ["ls"],
    ]


def test_console_shows_commands_behind_prompts():
    assert command_lines("$ dgafvsr info\nversions\n", prompt=True) == [["dgafvsr", "info"]]


@pytest.mark.parametrize("text", ["- so:\n\n    ```sh\n    dgafvsr info\n    ```\n", "So\n\n    dgafvsr info\n"])
def test_nested_and_indented_blocks_are_found(text, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.docs.documents.ROOT", tmp_path)
    (tmp_path / "a.md").write_text(text)
    (block,) = blocks(tmp_path / "a.md")
    assert (block.line, block.commands) == (3, [["dgafvsr", "info"]])
