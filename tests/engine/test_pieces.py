"""Pieces of a growing answer are together its whole text, whatever the tokens do."""

from yosegi.engine.pieces import Pieces
from yosegi.engine.request import Stop


class Bytes:
    """A tokenizer whose tokens are bytes; 256 is special."""

    def decode(self, ids, skip_special_tokens=True):
        return bytes(i for i in ids if i < 256).decode(errors="replace")


class Stripping:
    """A tokenizer that strips the space of the first token it decodes, as SentencePiece does."""

    words = [" a", " b", "c", " dd"]

    def decode(self, ids, skip_special_tokens=True):
        return "".join(self.words[i] for i in ids).removeprefix(" ")


def stop(nano, tokenizer, *strings):
    made = Stop(nano).at(strings)
    made.decode = tokenizer.decode
    return made


def grown(stop, ids, ended=True):
    pieces = Pieces(stop)
    return [pieces.next(ids[: n + 1], ended and n + 1 == len(ids)) for n in range(len(ids))]


def test_half_characters_wait_for_their_other_half(nano):
    text = "añ→𝄞 end"
    pieces = grown(stop(nano, Bytes()), list(text.encode()))
    assert "".join(pieces) == text and not any("\ufffd" in piece for piece in pieces)
    assert pieces[:3] == ["a", "", "ñ"]


def test_what_may_begin_a_stop_string_is_held_back(nano):
    until = stop(nano, Bytes(), "\n\nQ")
    assert "".join(grown(until, list(b"a\n\nb\n\nQ"))) == "a\n\nb"
    pieces = grown(until, list(b"a\n\nb"), ended=False)
    assert pieces == ["a", "", "", "\n\nb"]
    assert "".join(grown(until, list(b"ab\n"))) == "ab\n"  # the limit came first: it was none after all


def test_leading_spaces_survive_a_window(nano):
    ids = [0, 1, 2, 3] * 20
    assert "".join(grown(stop(nano, Stripping()), ids)) == Stripping().decode(ids)


def test_an_answer_that_ends_broken_is_sent_as_it_is(nano):
    assert "".join(grown(stop(nano, Bytes()), list("añ".encode())[:2])) == "a\ufffd"
