"""The language of a text, by its letters, and among languages in Latin letters by their most common words.

It needs no model and no data. Scripts distinguish Japanese, Chinese, Korean and some others; the small words of a language (the
idea of Gopher's stop-word rule, Rae et al. 2021, arXiv:2112.11446) distinguish the Latin ones. A text in Latin letters with none
of these words is "latin", one in Cyrillic is "cyrillic", and one without letters is "none".

Kanji without kana are Japanese in a title, and Chinese if one of them is not in the Japanese standard (JIS X 0208: 们, 这),
is a small word of Chinese, or if there are more than TITLE of them and none is Japanese alone (駅, 鉄). Program text beside
Japanese is left out before letters are counted.
"""

import re
from functools import partial

LOOKED_AT = 4000
"""Characters of a text that are read: a quarter of them at its beginning, its end and two places between."""
KANA = 0.05
"""The least share of kana among kana and kanji in Japanese. Old laws write 3 of 10 letters in katakana."""
WORDS = 0.08
"""The least share of words that are among a language's most common; running text has 0.2 to 0.4."""

TITLE = 20
"""The most letters of a title."""
CHINESE = frozenset("的了是们在我你他她它这那吗呢吧把被您这個們嗎說這沒")
"""Small words of Chinese."""
CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)
STATEMENT = re.compile(
    r"[;{}]\s*$|^\s*(?:import|from|def|class|return|if|for|while|#include|const|let|var)\b|\w\(.*\)|[=+]=|\w+ = "
)
"""What a line of a program has, and a line of prose mostly not."""

SCRIPTS = {
    "kana": "ぁ-ゖァ-ヺｦ-ﾝ",
    "han": "㐀-䶿一-鿿\uf900-\ufaff々〆",
    "hangul": "가-힣ᄀ-ᇿ",
    "latin": "A-Za-zÀ-ÖØ-öø-ɏＡ-Ｚａ-ｚ",
    "cyrillic": "Ѐ-ӿ",
    "greek": "Ͱ-Ͽ",
    "arabic": "ء-يٱ-ۓ",
    "hebrew": "א-ת",
    "devanagari": "ऀ-ॿ",
    "thai": "ก-๛",
}
LETTERS = {name: re.compile(f"[{letters}]+") for name, letters in SCRIPTS.items()}
NAMES = {"hangul": "ko", "thai": "th", "greek": "el", "hebrew": "he"}
COMMON = {
    "en": "the of and to in is that was it for on with as are be this by at from or have not which but they his her",
    "fr": "le les et des est une du dans qui que pour pas sur plus ce au il elle sont avec ne nous vous cette leur",
    "de": "der die und den das ist von zu mit dem sich nicht ein eine auf für im des als auch es an werden aus er wird",
    "es": "el los las y en que del se por un una con no su para es lo como más pero sus al fue este entre son",
    "it": "il di e che gli è per del della non sono con una nel alla si dei ha anche le come più ma questo lo",
    "pt": "o os e do da em que um uma para com não por dos das no na se ao mais foi são como mas ele seu",
    "nl": "de het een van en in is dat op te zijn met voor niet aan er om ook als maar bij uit door naar wordt",
}
WORDLISTS = {name: frozenset(words.split()) for name, words in COMMON.items()}
KNOWN = sorted(
    {"ja", "zh", "none", "mixed", *NAMES.values(), *COMMON, *(s for s in SCRIPTS if s not in (*NAMES, "kana", "han"))}
)


def language(text: str) -> str:
    """Returns a code of two letters, or the script if the language is not known, or "mixed" or "none"."""
    if len(text) > LOOKED_AT:
        part = LOOKED_AT // 4
        text = "\n".join(text[start : start + part] for start in ((len(text) - part) * i // 3 for i in range(4)))
    count = _letters(text)
    if count["kana"] and count["latin"] > count["kana"]:
        lines = CODE.sub("", text).split("\n")
        prose = "\n".join(line for line in lines if LETTERS["kana"].search(line) or not STATEMENT.search(line))
        count = _letters(prose) if LETTERS["kana"].search(prose) else count
    total = sum(count.values())
    if not total:
        return "none"
    if 2 * (count["kana"] + count["han"]) > total:
        return "ja" if count["kana"] >= KANA * (count["kana"] + count["han"]) or not _chinese(text, count) else "zh"
    script = max(count, key=lambda name: count[name])
    if 2 * count[script] <= total:
        return "mixed"
    if script != "latin":
        return NAMES.get(script, script)
    words = re.findall(r"[^\W\d_]+", text.lower())
    share = {name: sum(word in known for word in words) / len(words) for name, known in WORDLISTS.items()}
    best = max(share, key=lambda name: share[name])
    return best if share[best] >= WORDS else "latin"


def _letters(text: str) -> dict[str, int]:
    return {name: sum(map(len, letters.findall(text))) for name, letters in LETTERS.items()}


def _chinese(text: str, count: dict[str, int]) -> bool:
    """Whether kanji with hardly any kana are Chinese."""
    kanji = set("".join(LETTERS["han"].findall(text))) - set("々〆")
    if kanji & CHINESE or not all(map(partial(_in, "euc_jp"), kanji)):
        return True
    alone = any(not _in("gb2312", one) and not _in("big5", one) for one in kanji)
    return not alone and count["han"] > TITLE


def _in(standard: str, letter: str) -> bool:
    try:
        return len(letter.encode(standard)) == 2  # JIS X 0212, three bytes in EUC-JP, is not in common use
    except UnicodeEncodeError:
        return False
