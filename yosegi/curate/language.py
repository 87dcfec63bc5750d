"""The language of a text, by its letters, and among languages in Latin letters by their most common words.

It needs no model and no data. Scripts distinguish Japanese, Chinese, Korean and some others; the small words of a language (the
idea of Gopher's stop-word rule, Rae et al. 2021, arXiv:2112.11446) distinguish the Latin ones. A text in Latin letters with none
of these words is "latin", one in Cyrillic is "cyrillic", and one without letters is "none".
"""

import re

LOOKED_AT = 4000
"""Characters of a text that are read: a quarter of them at its beginning, its end and two places between."""
KANA = 0.05
"""The least share of kana among kana and kanji in Japanese. Old laws write 3 of 10 letters in katakana."""
WORDS = 0.08
"""The least share of words that are among a language's most common; running text has 0.2 to 0.4."""

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
    count = {name: sum(map(len, letters.findall(text))) for name, letters in LETTERS.items()}
    total = sum(count.values())
    if not total:
        return "none"
    if 2 * (count["kana"] + count["han"]) > total:
        return "ja" if count["kana"] >= KANA * (count["kana"] + count["han"]) else "zh"
    script = max(count, key=lambda name: count[name])
    if 2 * count[script] <= total:
        return "mixed"
    if script != "latin":
        return NAMES.get(script, script)
    words = re.findall(r"[^\W\d_]+", text.lower())
    share = {name: sum(word in known for word in words) / len(words) for name, known in WORDLISTS.items()}
    best = max(share, key=lambda name: share[name])
    return best if share[best] >= WORDS else "latin"
