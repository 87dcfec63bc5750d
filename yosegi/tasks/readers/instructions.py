"""Instructions that a program can check, as IFEval has them (Zhou et al. 2023, arXiv:2311.07911): what each asks of a response.

A check takes the response and the arguments of the instruction. Sentences end with . ! ? … and white space (IFEval splits
them with a tokenizer that has to be downloaded, and differs in abbreviations). Languages are recognised by their scripts and,
within a script, by their most frequent words. What no check is known for is refused by name.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from yosegi.errors import UnknownName

CONSTRAINED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
SENTENCE = re.compile(r"[^.!?…。！？]*[.!?…。！？]+[\"'”’)\]]*(?:\s+|$)|[^.!?…。！？]+$")
SCRIPTS = {
    "ar": "\u0600-\u06ff", "bg": "\u0400-\u04ff", "bn": "\u0980-\u09ff", "gu": "\u0a80-\u0aff", "he": "\u0590-\u05ff",
    "hi": "\u0900-\u097f", "ja": "\u3040-\u30ff", "kn": "\u0c80-\u0cff", "ko": "\uac00-\ud7af", "ml": "\u0d00-\u0d7f",
    "mr": "\u0900-\u097f", "ne": "\u0900-\u097f", "pa": "\u0a00-\u0a7f", "ru": "\u0400-\u04ff", "ta": "\u0b80-\u0bff",
    "te": "\u0c00-\u0c7f", "th": "\u0e00-\u0e7f", "uk": "\u0400-\u04ff", "ur": "\u0600-\u06ff", "fa": "\u0600-\u06ff",
}  # fmt: skip
FREQUENT = {
    "en": "the of and to in is that for it you with as on are this", "de": "der die und das ist nicht ein ich zu mit sie den von",
    "fi": "ja on ei että se oli hän mutta kun niin myös ovat tai", "vi": "là và của có không được một cho người với trong các",
    "fr": "le la les et des est un une que pour dans qui pas", "es": "el la los de que y en un una por con para no es",
    "it": "il di che la e un per è non una sono con del", "pt": "o de que e do da em um para é com não uma os",
    "sw": "na ya wa kwa ni katika za la kuwa hii", "pl": "i w nie na się z do jest to że",
    "sv": "och i att det som en på är av för",
    "nl": "de het een van en in is dat niet op", "hi": "है के में की और को से का यह हैं",
    "mr": "आहे आणि या च्या मध्ये ते हे आहेत होते करण्यासाठी",
    "ne": "छ र को मा छन् भने यो लागि पनि हो", "ru": "и в не на что с это как по но для", "bg": "и на да се за от е са че с като",
    "uk": "і в не на що з це як та до для", "ar": "في من على أن إلى هذا التي و لا ما", "fa": "و در به از که این را با است برای",
    "ur": "کے ہے میں کی اور سے کو کا یہ نہیں",
}  # fmt: skip


def tell(text: str) -> str | None:
    """Returns the language of a text, None if it has no letters."""
    letters = [char for char in text if char.isalpha()]
    counts = Counter({name: len(re.findall(f"[{scope}]", text)) for name, scope in SCRIPTS.items()})
    name, most = counts.most_common(1)[0]
    if not letters:
        return None
    alike = [one for one in SCRIPTS if SCRIPTS[one] == SCRIPTS[name]]
    if most < 0.4 * len(letters):  # in Latin letters
        alike = [one for one in FREQUENT if one not in SCRIPTS]
    words = Counter(re.findall(r"[^\W\d_]+(?:[\u0900-\u0dff]+[^\W\d_]*)*", text.lower()))
    return max(alike, key=lambda one: sum(words[word] for word in FREQUENT.get(one, "").split()))


def _compared(count: float, relation: str | None, limit: float) -> bool:
    return count < limit if relation == "less than" else count >= limit


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def _whole(word: str, text: str) -> int:
    return len(re.findall(rf"\b{re.escape(word)}\b", text, re.IGNORECASE))


def _paragraphs(text: str, nth: int, count: int, first: str) -> bool:
    parts = [part.strip() for part in re.split(r"\n\n", text) if part.strip()]
    start = re.findall(r"\w+", parts[nth - 1].split()[0]) if nth <= len(parts) else []
    return len(parts) == count and bool(start) and start[0].lower() == first.lower()


def _stars(text: str, count: int) -> bool:
    """Paragraphs with *** between them, none of them empty."""
    parts = re.split(r"\s?\*\*\*\s?", text)
    inner = [part for n, part in enumerate(parts) if part.strip() or 0 < n < len(parts) - 1]
    return len(inner) == count and all(part.strip() for part in inner)


def _two(text: str) -> bool:
    parts = [part.strip() for part in text.split("******")]
    parts = [part for n, part in enumerate(parts) if part or 0 < n < len(parts) - 1]
    return len(parts) == 2 and parts[0] != parts[1] and all(parts)


def _json(text: str) -> bool:
    text = re.sub(r"^\s*```(?:json|JSON|Json)?|```\s*$", "", text.strip()).strip()
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _highlights(text: str) -> int:
    double = re.findall(r"\*\*[^\n*]*\*\*", text)
    single = re.findall(r"\*[^\n*]*\*", re.sub(r"\*\*[^\n*]*\*\*", "", text))
    return sum(bool(one.strip("* ")) for one in double + single)


CHECKS: dict[str, Callable[..., bool]] = {
    "keywords:existence": lambda text, keywords: all(re.search(re.escape(k), text, re.IGNORECASE) for k in keywords),
    "keywords:forbidden_words": lambda text, forbidden_words: not any(_whole(word, text) for word in forbidden_words),
    "keywords:frequency": lambda text, keyword, frequency, relation=None: _compared(
        len(re.findall(re.escape(keyword), text, re.IGNORECASE)), relation, frequency
    ),
    "keywords:letter_frequency": lambda text, letter, let_frequency, let_relation=None: _compared(
        text.lower().count(letter.lower()), let_relation, let_frequency
    ),
    "language:response_language": lambda text, language: tell(text) in (language, None),
    "length_constraints:number_sentences": lambda text, num_sentences, relation=None: _compared(
        sum(bool(one.strip()) for one in SENTENCE.findall(text)), relation, num_sentences
    ),
    "length_constraints:number_words": lambda text, num_words, relation=None: _compared(
        len(_words(text)), relation, num_words
    ),
    "length_constraints:number_paragraphs": lambda text, num_paragraphs: _stars(text, num_paragraphs),
    "length_constraints:nth_paragraph_first_word": lambda text, num_paragraphs, nth_paragraph, first_word: _paragraphs(
        text, nth_paragraph, num_paragraphs, first_word
    ),
    "detectable_content:number_placeholders": lambda text, num_placeholders: (
        len(re.findall(r"\[.*?\]", text)) >= num_placeholders
    ),
    "detectable_content:postscript": lambda text, postscript_marker: bool(
        re.search(
            r"\s*".join(re.escape(c) + r"?" * (c == ".") for c in postscript_marker.lower() if c != " "), text.lower()
        )
    ),
    "detectable_format:number_bullet_lists": lambda text, num_bullets: (
        len(re.findall(r"^\s*(?:\*[^*].*|-.*)$", text, re.MULTILINE)) == num_bullets
    ),
    "detectable_format:constrained_response": lambda text: any(option in text for option in CONSTRAINED),
    "detectable_format:number_highlighted_sections": lambda text, num_highlights: _highlights(text) >= num_highlights,
    "detectable_format:multiple_sections": lambda text, section_spliter, num_sections: (
        len(re.findall(rf"\s?{re.escape(section_spliter)}\s?\d+\s?", text)) >= num_sections
    ),
    "detectable_format:json_format": _json,
    "detectable_format:title": lambda text: any(one.strip("<> ") for one in re.findall(r"<<[^\n]+>>", text)),
    "combination:two_responses": _two,
    "combination:repeat_prompt": lambda text, prompt_to_repeat: (
        text.strip().lower().startswith(prompt_to_repeat.strip().lower())
    ),
    "startend:end_checker": lambda text, end_phrase: (
        text.strip().strip('"').lower().endswith(end_phrase.strip().lower())
    ),
    "startend:quotation": lambda text: len(text.strip()) > 1 and text.strip()[0] == text.strip()[-1] == '"',
    "change_case:capital_word_frequency": lambda text, capital_frequency, capital_relation=None: _compared(
        sum(word.isupper() for word in re.findall(r"[\w'’-]+", text)), capital_relation, capital_frequency
    ),
    "change_case:english_capital": lambda text: text.isupper() and tell(text) in ("en", None),
    "change_case:english_lowercase": lambda text: text.islower() and tell(text) in ("en", None),
    "punctuation:no_comma": lambda text: "," not in text,
}
"""The kinds of instructions, and what each asks."""


def known(name: str) -> None:
    """Refuses an instruction that no check is known for."""
    UnknownName.check("kind of instruction", [name], sorted(CHECKS))


def followed(name: str, arguments: Mapping[str, Any], response: str) -> bool:
    """Returns whether a response that is not empty follows an instruction."""
    known(name)
    return bool(response.strip()) and bool(
        CHECKS[name](response, **{k: v for k, v in arguments.items() if v is not None})
    )


def loosened(response: str) -> list[str]:
    """Returns the response, and without its first line, its last line, both, and each of these without asterisks."""
    lines = response.split("\n")
    cuts = ["\n".join(part).strip() for part in (lines, lines[1:], lines[:-1], lines[1:-1])]
    return [response, *cuts, *(cut.replace("*", "") for cut in cuts)]
