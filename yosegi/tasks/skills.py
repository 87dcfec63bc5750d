"""Twenty short generated skills in English and Japanese, some of which the base `nano` does well and others not.

`skills/reverse` is one skill; `skills/reverse+upper` is a composition of two, on which no base is trained. The hash of a prompt
decides its split. Tables (capitals, units …) are knowledge: each split has the same items.
"""

import hashlib
import re
from collections.abc import Iterator
from random import Random

from yosegi.errors import Invalid, UnknownName
from yosegi.tasks import Example, Score, Task
from yosegi.tasks.readers.skills import COMPOSITIONS, SKILLS, TABLES, Pair

SIZES = {"train": 4000, "validation": 200, "test": 200, "rl": 1000}
BUCKETS = ("test",) * 2 + ("validation",) + ("rl",) * 2 + ("train",) * 15


class Skills(Task):
    """Args:
    part: a skill, or a composition such as `reverse+upper`.
    """

    max_new_tokens = 24
    known_splits = ("train", "validation", "test")

    def __init__(self, part: str):
        UnknownName.check("skill", [part], self.parts())
        self.name, self.part, self.shuffled = f"skills/{part}", part, part not in TABLES

    @classmethod
    def parts(cls) -> list[str]:
        """Returns every skill, then every composition."""
        return sorted(TABLES | SKILLS) + sorted(COMPOSITIONS)

    def examples(self, split: str) -> list[Example]:
        """Returns up to `SIZES` distinct prompts. There is a fourth split, "rl", whose prompts only GRPO uses."""
        if split not in SIZES:
            raise Invalid(f"No split {split!r}; there are: {', '.join(SIZES)}.")
        if self.part in TABLES:
            pairs = dict(TABLES[self.part])
        else:
            stream, pairs = self.draw(split, Random(f"{self.part} {split}")), {}
            for _ in range(5 * SIZES[split]):  # a small skill may have fewer prompts than that
                prompt, target = next(stream)
                pairs[prompt] = target
                if len(pairs) == SIZES[split]:
                    break
        return [
            Example(f"{self.part}-{split}-{i}", prompt, target, (target.rpartition("=")[2],), {"skill": self.part})
            for i, (prompt, target) in enumerate(pairs.items())
        ]

    def draw(self, split: str, random: Random) -> Iterator[Pair]:
        """Yields prompts and targets of one split without end, with repetition: what a base is trained on."""
        if self.part in TABLES:
            table = list(TABLES[self.part].items())
            while True:
                yield random.choice(table)
        make = (SKILLS | COMPOSITIONS)[self.part]
        while True:
            pair = make(random)
            if _split(pair[0]) == split:
                yield pair

    def score(self, example: Example, prediction: str) -> Score:
        """Compares the last number after an "=" where the target shows its steps, the whole text otherwise."""
        answer = prediction.strip()
        if "=" in example.target:
            answer = answer.rpartition("=")[2]
            answer = answer if re.fullmatch(r"-?\d+", answer) else ""
        return Score(float(answer in example.answers), answer or None)


def _split(prompt: str) -> str:
    return BUCKETS[hashlib.blake2b(prompt.encode(), digest_size=4).digest()[0] * len(BUCKETS) // 256]
