"""The generators of `skills`: a skill is a table (finite: knowledge) or a function of a random generator.

A prompt always ends in ":", "=", ")" or "?", and a target never begins with a space, so that in any common tokenizer a token ends
where the prompt ends. Skills on strings are functions, so that a composition needs only its name.
"""

from collections.abc import Callable
from random import Random
from string import ascii_lowercase as LETTERS

Pair = tuple[str, str]

NUMERALS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety"
)
ONES, TENS = NUMERALS.split()[:20], NUMERALS.split()[20:]
CAPITALS = """Japan Tokyo, France Paris, Italy Rome, Spain Madrid, Germany Berlin, England London, Russia Moscow,
    China Beijing, Korea Seoul, India Delhi, Egypt Cairo, Kenya Nairobi, Canada Ottawa, Mexico Mexico, Peru Lima,
    Chile Santiago, Cuba Havana, Greece Athens, Turkey Ankara, Norway Oslo, Sweden Stockholm, Poland Warsaw"""
UNITS = (("km", "m", 1000), ("m", "cm", 100), ("cm", "mm", 10), ("kg", "g", 1000), ("dozen", "pieces", 12))


def english(n: int) -> str:
    """42 -> forty two."""
    return ONES[n] if n < 20 else TENS[n // 10 - 2] + (f" {ONES[n % 10]}" if n % 10 else "")


def japanese(n: int) -> str:
    """42 -> 四十二."""
    digits, tens, ones = "零一二三四五六七八九", n // 10, n % 10
    return (digits[tens] if tens > 1 else "") + ("十" if tens else "") + (digits[ones] if ones or not tens else "")


READ: dict[str, tuple[str, Callable[[int], str]]] = {
    "binary": ("binary {}:", "{:b}".format),
    "janum": ("{}を読む:", japanese),
    "ennum": ("spell {}:", english),
}
"""Ways to write a number down: the prompt and the function."""

TABLES: dict[str, dict[str, str]] = {
    "mul": {f"{a}*{b}=": str(a * b) for a in range(20) for b in range(10)},
    "capital": {f"capital of {country}:": city for country, city in (pair.split() for pair in CAPITALS.split(","))},
    "unit": {f"{n} {big} in {small}:": str(n * times) for big, small, times in UNITS for n in range(1, 31)},
} | {name: {ask.format(n): read(n) for n in range(100)} for name, (ask, read) in READ.items()}
"""Finite skills. Nothing can be held out of a table: it is knowledge, and forgetting is measured on it."""

STRINGS: dict[str, tuple[str, Callable[[str], str]]] = {
    "copy": ("copy", lambda s: s),
    "reverse": ("reverse", lambda s: s[::-1]),
    "upper": ("upper", str.upper),
    "double": ("double", lambda s: "".join(c + c for c in s)),
    "shift": ("next", lambda s: s.translate(NEXT)),
    "last": ("last", lambda s: s[-1]),
    "sort": ("sort", lambda s: "".join(sorted(s))),
}
"""Skills on a string (`sort`: of digits): the verb of the prompt and the function."""
NEXT = str.maketrans(LETTERS + LETTERS.upper(), LETTERS[1:] + "a" + LETTERS[1:].upper() + "A")


def strings(*names: str) -> Callable[[Random], Pair]:
    """`reverse upper abc:` -> `CBA`: the functions of several skills on one string, the last named first."""
    verbs = " ".join(STRINGS[name][0] for name in names)
    alphabet, short, long = ("0123456789", 4, 6) if "sort" in names else (LETTERS, 3, 5)

    def draw(random: Random) -> Pair:
        text = result = "".join(random.choices(alphabet, k=random.randint(short, long)))
        for name in reversed(names):
            result = STRINGS[name][1](result)
        return f"{verbs} {text}:", result

    return draw


def sums(name: str) -> Callable[[Random], Pair]:
    """`spell 12+30:` -> `forty two`: a sum, written down in another way."""

    def draw(random: Random) -> Pair:
        total = random.randint(2, 99)
        first = random.randint(1, total - 1)
        return READ[name][0].format(f"{first}+{total - first}"), READ[name][1](total)

    return draw


def add(random: Random) -> Pair:
    """`12+30=` -> `42`."""
    a, b = random.randrange(100), random.randrange(100)
    return f"{a}+{b}=", str(a + b)


def sub(random: Random) -> Pair:
    """`42-30=` -> `12`."""
    a, b = random.randrange(100), random.randrange(100)
    return f"{a + b}-{a}=", str(b)


def largest(random: Random) -> Pair:
    """`max 3 1 4:` -> `4`."""
    digits = random.choices("0123456789", k=random.randint(3, 5))
    return f"max {' '.join(digits)}:", max(digits)


def succ(random: Random) -> Pair:
    """`3 5 7 then:` -> `9`."""
    start, step, length = random.randrange(100), random.randint(1, 12), random.randint(3, 5)
    row = [start + step * i for i in range(length + 1)][:: random.choice((1, -1))]
    return f"{' '.join(map(str, row[:-1]))} then:", str(row[-1])


def chain(random: Random) -> Pair:
    """`print((2+3)*4)` -> `2+3=5,5*4=20`: the steps are written, the last number is the answer."""
    a, b, c, d = random.randint(1, 9), random.randint(2, 9), random.randint(2, 9), random.randint(1, 49)
    form = random.randrange(6)
    if form == 0:
        return f"print(({a}+{b})*{c})", f"{a}+{b}={a + b},{a + b}*{c}={(a + b) * c}"
    if form == 1:
        return f"print(({a + b}-{a})*{c})", f"{a + b}-{a}={b},{b}*{c}={b * c}"
    if form < 4:
        return f"print({b}*{c}+{d})", f"{b}*{c}={b * c},{b * c}+{d}={b * c + d}"
    return f"print({d}+{b}*{c})", f"{b}*{c}={b * c},{d}+{b * c}={d + b * c}"


NAMES, THINGS = ("Tom", "Ann", "Ken", "Mia"), ("apples", "pens", "eggs", "books", "cards")
MONO = ("りんご", "みかん", "たまご", "ペン", "あめ")
GAIN, LOSE = ("buys", "finds", "gets"), ("eats", "loses", "sells")
MORAU, AGERU = ("もらい", "買い", "見つけ"), ("あげ", "食べ", "なくし")


def wp_en(random: Random) -> Pair:
    """`Tom has 3 apples and buys 4. How many?` -> `3+4=7`; also differences and products."""
    who, what, a, b = random.choice(NAMES), random.choice(THINGS), random.randint(1, 49), random.randint(1, 49)
    form = random.randrange(3)
    if form == 0:
        return f"{who} has {a} {what} and {random.choice(GAIN)} {b}. How many?", f"{a}+{b}={a + b}"
    if form == 1:
        return f"{who} has {a + b} {what} and {random.choice(LOSE)} {a}. How many?", f"{a + b}-{a}={b}"
    a, b = random.randint(2, 9), random.randint(2, 9)
    return f"{who} {random.choice(GAIN)} {a} boxes of {b} {what}. How many?", f"{a}*{b}={a * b}"


def wp_ja(random: Random) -> Pair:
    """`りんごが3個あります。4個もらいました。全部で何個?` -> `3+4=7`; also differences and products."""
    what, a, b = random.choice(MONO), random.randint(1, 49), random.randint(1, 49)
    form = random.randrange(3)
    if form == 0:
        return f"{what}が{a}個あります。{b}個{random.choice(MORAU)}ました。全部で何個?", f"{a}+{b}={a + b}"
    if form == 1:
        return f"{what}が{a + b}個あります。{a}個{random.choice(AGERU)}ました。残りは何個?", f"{a + b}-{a}={b}"
    a, b = random.randint(2, 9), random.randint(2, 9)
    return f"{what}が{b}個ずつ入った箱を{a}箱{random.choice(MORAU)}ました。全部で何個?", f"{a}*{b}={a * b}"


def story_en(random: Random) -> Pair:
    """A word problem of two steps, both written: `3+4=7,7-2=5`."""
    who, what, a, b = random.choice(NAMES), random.choice(THINGS), random.randint(1, 49), random.randint(1, 49)
    c = random.randint(1, a + b)
    text = f"{who} has {a} {what} and {random.choice(GAIN)} {b} and {random.choice(LOSE)} {c}. How many?"
    return text, f"{a}+{b}={a + b},{a + b}-{c}={a + b - c}"


def story_ja(random: Random) -> Pair:
    """A word problem of two steps, both written: `3+4=7,7-2=5`."""
    what, a, b = random.choice(MONO), random.randint(1, 49), random.randint(1, 49)
    c = random.randint(1, a + b)
    text = f"{what}が{a}個あります。{b}個{random.choice(MORAU)}ました。{c}個{random.choice(AGERU)}ました。残りは何個?"
    return text, f"{a}+{b}={a + b},{a + b}-{c}={a + b - c}"


SKILLS: dict[str, Callable[[Random], Pair]] = {name: strings(name) for name in STRINGS}
SKILLS |= {f.__name__: f for f in (add, sub, succ, chain, wp_en, wp_ja)} | {"max": largest}
"""Skills with unlimited prompts, of which each split has its share."""

OF_STRINGS = "reverse+upper upper+shift upper+last upper+double reverse+double reverse+shift shift+last double+shift"
OF_DIGITS = "reverse+sort sort+double last+sort"
COMPOSITIONS = {name: strings(*name.split("+")) for name in f"{OF_STRINGS} {OF_DIGITS}".split()}
COMPOSITIONS |= {f"{name}+add": sums(name) for name in READ}
COMPOSITIONS |= {"chain+wp_en": story_en, "chain+wp_ja": story_ja}
"""Two skills at once, the outer one first. No base is trained on them: they measure routing and merging."""
