"""The commands and programs in the documents: fenced blocks, and the command lines in them."""

import re
import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMES = ("README.md", "CONTRIBUTING.md", "examples/README.md", "src/dgafvsr/assets/tiny/README.md")
DOCUMENTS = [*(ROOT / name for name in NAMES), *sorted((ROOT / "docs").rglob("*.md"))]
SHELLS = ("sh", "bash", "console")

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^    (?:pip|dgafvsr|accelerate|python|make|docker) .*\n?)+", re.MULTILINE)
_ENDS = ("&&", "||", ";", "|", "&")
_REDIRECTIONS = (">", ">>", "<")


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    document: str
    """The document's path below the project's folder."""
    line: int
    language: str
    text: str

    def __str__(self):
        return f"{self.document}:{self.line}"

    @property
    def commands(self):
        """The words of each command line: no comments, no prompts, no redirections."""
        return command_lines(self.text, prompt=self.language == "console") if self.language in SHELLS else []


def blocks(document):
    """All fenced blocks of a document; commands that are merely indented count as shell too."""
    text, name = document.read_text(encoding="utf-8"), document.relative_to(ROOT).as_posix()
    found, rest = [], text
    for match in _FENCE.finditer(text):
        body = textwrap.dedent(match[3])
        found.append(Block(name, text[: match.start()].count("\n") + 1, match[2], body))
        rest = rest.replace(match[0], re.sub(r"[^\n]", "", match[0]), 1)
    for match in _INDENTED.finditer(rest):
        found.append(Block(name, rest[: match.start()].count("\n") + 1, "sh", textwrap.dedent(match[0])))
    return sorted(found, key=lambda block: block.line)


def command_lines(text, *, prompt=False):
    """The words of each command in shell text; of a console's text only what follows a prompt."""
    lines = []
    for line in text.replace("\\\n", " ").splitlines():
        if prompt and not line.startswith("$ "):
            continue
        lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars="<>|&;")
        lexer.whitespace_split = True
        words, skip = [], False
        for word in lexer:
            if word in _ENDS:
                lines.append(words)
                words = []
            elif word in _REDIRECTIONS:
                skip = True  # the file that follows
            elif not skip:
                words.append(word)
            else:
                skip = False
        lines.append(words)
    return [words for words in map(without_assignments, lines) if words]


def without_assignments(words):
    """The words of a command without the variables that are set for it."""
    first = next((index for index, word in enumerate(words) if not re.match(r"[A-Z_]+=", word)), len(words))
    return words[first:]


BLOCKS = [block for document in DOCUMENTS for block in blocks(document)]
COMMANDS = [(block, words) for block in BLOCKS for words in block.commands]
