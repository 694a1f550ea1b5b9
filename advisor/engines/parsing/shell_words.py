"""A text as people paste it → simple commands of words: quotes, continuations, comments, assignments.

It owns the shells' grammar as far as launch commands need it (POSIX, with the line continuations of cmd and
PowerShell). It knows no program and expands only variables that the text itself sets.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field

from knowledge.errors import UsageError

ASSIGNMENT = re.compile(r"^([A-Za-z_][A-Za-z0-9_]*)=(.*)$", re.DOTALL)
_CONTINUATIONS = (re.compile(r"\\[ \t]*\r?\n"), re.compile(r"(?<=\s)[\^`][ \t]*\r?\n"))
_WINDOWS = re.compile(r"(?<=\s)[\^`][ \t]*\r?\n|(?:^|[\s\"'=])[A-Za-z]:\\|\.exe\b")
_PROMPT = re.compile(r"^\s*(?:ExecStart=-?|(?:\$|>|PS [^>\n]*>|[\w.-]+@[\w.-]+:[^$#\n]*[$#])\s+)(?=\S)")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|([A-Za-z_][A-Za-z0-9_]*))")
_OPERATORS = "|&;\n()"
_BLANKS = " \t\r"
_ENDS_A_WORD = frozenset(_BLANKS + _OPERATORS + "<>")
_ESCAPED_IN_DOUBLE = '"\\$`\n'
_LONGEST = 20_000
"""Characters of the longest text that may be a command."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word as the program gets it, and as it was written (which prints again unchanged)."""

    text: str
    raw: str


@dataclass(frozen=True, slots=True)
class Simple:
    """One simple command: its words, and the variables that stand before it or were exported earlier.

    `own` names those that stand before it.
    """

    words: tuple[Word, ...]
    env: dict[str, str] = field(default_factory=dict)
    own: tuple[str, ...] = ()


def simple_commands(text: str) -> list[Simple]:
    """The commands of `text` in order; redirections, pipes' further ends and comments are left behind.

    Raises:
        UsageError: nothing is written, or a quote is not closed.
    """
    if len(text) > _LONGEST:
        raise UsageError(f"a command of {len(text)} characters is not understood", "paste the command alone")
    windows = _WINDOWS.search(text) is not None
    for pattern in _CONTINUATIONS:
        text = pattern.sub(" ", text)
    commands: list[Simple] = []
    exported: dict[str, str] = {}
    for words in _split(_PROMPT.sub("", text), exported, windows=windows):
        leading = next((at for at, word in enumerate(words) if not ASSIGNMENT.match(word.text)), len(words))
        own, rest = assignments(words[:leading]), words[leading:]
        if rest and rest[0].text in {"export", "set", "declare", "setx"}:
            own |= assignments(rest[1:])
            rest = []
        if rest:
            commands.append(Simple(tuple(rest), exported | own, tuple(own)))
        else:
            exported |= own
    if not commands:
        raise UsageError("no command is written", 'write for example advisor check "llama-server -m …"')
    return commands


def assignments(words: Iterable[Word]) -> dict[str, str]:
    """The variables that words of the form `NAME=value` set."""
    return {match[1]: match[2] for word in words if (match := ASSIGNMENT.match(word.text))}


def _split(text: str, variables: dict[str, str], *, windows: bool) -> Iterable[list[Word]]:
    """Lists of words between operators. `variables` may grow while the commands are taken."""
    reader = _Reader(text, variables, windows=windows)
    words: list[Word] = []
    while True:
        word = reader.next_word()
        if word is None:
            yield words
            words = []
            if reader.at_end():
                return
        elif word.text or word.raw:
            words.append(word)


class _Reader:
    """The text under way. `next_word` answers None at the end of a simple command."""

    def __init__(self, text: str, variables: dict[str, str], *, windows: bool) -> None:
        self._text, self._at = text, 0
        self._variables, self._windows = variables, windows
        self._replaced = False

    def at_end(self) -> bool:
        """Whether the text is used up."""
        return self._at >= len(self._text)

    def next_word(self) -> Word | None:
        """The next word of the current command; redirections and comments are skipped."""
        text = self._text
        while not self.at_end():
            char = text[self._at]
            if char in _BLANKS:
                self._at += 1
            elif char == "#":
                self._skip_line()
            elif redirection := re.compile(r"\d*(?:&>>?|>>?&?|<)\s*(?:&?\d\b)?").match(text, self._at):
                self._at = redirection.end()
                if not redirection[0].rstrip()[-1:].isdigit():
                    self._skip_blanks()
                    self._word()  # the file
            elif char in _OPERATORS:
                self._at += 1
                return None
            else:
                return self._word()
        return None

    def _skip_line(self) -> None:
        end = self._text.find("\n", self._at)
        self._at = len(self._text) if end < 0 else end

    def _skip_blanks(self) -> None:
        while not self.at_end() and self._text[self._at] in _BLANKS:
            self._at += 1

    def _word(self) -> Word:
        start, parts = self._at, []
        self._replaced = False
        while not self.at_end():
            char = self._text[self._at]
            if char in _ENDS_A_WORD:
                break
            if char in "'\"":
                parts.append(self._quoted(char))
            elif self._text.startswith("$(", self._at):
                end = self._text.find(")", self._at) + 1 or len(self._text)
                parts.append(self._text[self._at : end])
                self._at = end
            elif char == "\\" and not self._windows:
                parts.append(self._text[self._at + 1 : self._at + 2])
                self._at += 2
            elif match := _VARIABLE.match(self._text, self._at):
                parts.append(self._expanded(match))
                self._at = match.end()
            else:
                parts.append(char)
                self._at += 1
        word = "".join(parts)
        return Word(word, shlex.quote(word) if self._replaced else self._text[start : self._at])

    def _quoted(self, quote: str) -> str:
        end = self._at + 1
        inner = []
        while end < len(self._text) and self._text[end] != quote:
            char = self._text[end]
            escapes = quote == '"' and char == "\\" and self._text[end + 1 : end + 2] in _ESCAPED_IN_DOUBLE
            if escapes and end + 1 < len(self._text):
                end += 1
                char = self._text[end]
                inner.append("" if char == "\n" else char)
            elif quote == '"' and (match := _VARIABLE.match(self._text, end)):
                inner.append(self._expanded(match))
                end = match.end()
                continue
            else:
                inner.append(char)
            end += 1
        if end >= len(self._text):
            near = self._text[self._at : self._at + 30].strip()
            raise UsageError(f"the quote {quote} before {near[1:]!r} is not closed", "close it")
        self._at = end + 1
        return "".join(inner)

    def _expanded(self, match: re.Match[str]) -> str:
        """The variable's value where the text sets it, its stated default, else the reference as it is."""
        name = match[1] or match[3]
        value = self._variables.get(name, match[2])
        self._replaced = self._replaced or value is not None
        return match[0] if value is None else value
