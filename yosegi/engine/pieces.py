"""The text of an answer piece by piece: each new token costs the decoding of a few tokens, not of the whole answer."""

from collections.abc import Sequence

from yosegi.engine.request import Stop

WINDOW = 16
"""Tokens before the new ones that are decoded with them: a tokenizer may strip the space of the first token it decodes."""


class Pieces:
    """Turns a growing list of tokens into pieces of text, which together are `Stop.text` of the whole list.

    Args:
        stop: what ends the answer. What may be the beginning of a stop string is held back, and so is half a character.
    """

    def __init__(self, stop: Stop):
        self.stop, self.shown = stop, 0
        self.text, self._read = "", 0  # of the tokens up to `_read`, which end with a whole character

    def next(self, ids: Sequence[int], ended: bool = False) -> str:
        """Returns the text that is new and that no later token can change; all that is left if the answer has ended."""
        if ended:
            whole = self.stop.text(ids)
            new, self.shown = whole[self.shown :], max(self.shown, len(whole))
            return new
        start = max(0, self._read - WINDOW)
        before = self.stop.decode(ids[start : self._read], skip_special_tokens=True)
        after = self.stop.decode(ids[start:], skip_special_tokens=True)
        if after.endswith("\ufffd") or not after.startswith(before):
            return ""  # half a character: its other half comes
        self.text, self._read = self.text + after[len(before) :], len(ids)
        settled = len(self.stop.without_beginning(self.text))
        new, self.shown = self.text[self.shown : settled], max(self.shown, settled)
        return new
