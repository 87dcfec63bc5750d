"""MAWPS: easy word problems in English, one or two steps each.

Koncel-Kedziorski et al. 2016, "MAWPS: A Math Word Problem Repository", doi:10.18653/v1/N16-1136. MIT licence.
Data: math_en/mawps_test in the data folder (1,981 problems of four collections, each question once), else the test split of
MU-NLPC/Calc-mawps on the Hub, which does not name the collections. There is only a test split.

Parts: `addsub`, `singleeq`, `singleop`, `multiarith` (the collections), `ja` (instruction in Japanese), `Kshot` (up to four
worked examples, written for this file). A gold decimal that upstream cut after six places counts as the fraction it stands
for.
"""

from yosegi.tasks.readers.data import Hub, Row, Source
from yosegi.tasks.readers.numbers import INSTRUCTION, Numbers


def _from_hub(row: Row) -> Row:
    return {"question": row["question"], "answer": str(row["result"]).replace("_", "")}


HUB = Hub("MU-NLPC/Calc-mawps", "38c10053efeafd20ab6ff4e08c3ec17de26c19b7", _from_hub, "test", ids="mawps/test")


class Mawps(Numbers):
    """Scored by the final number alone."""

    kind = "mawps"
    source = Source("MAWPS", {"test": "math_en/mawps_test"}, ("id", "question", "answer"), {"test": HUB})
    instruction = INSTRUCTION
    most_shots = 4

    @classmethod
    def subsets(cls) -> list[str] | None:
        """Returns the collections."""
        return ["addsub", "singleeq", "singleop", "multiarith"]

    def shots(self) -> list[Row]:
        """Returns four problems that are in no collection."""
        return [
            {"id": f"shot/{number}", "question": question, "solution": solution, "answer": solution.split()[-1][:-1]}
            for number, (question, solution) in enumerate(SHOTS)
        ]


SHOTS = (
    (
        "A shelf holds 34 books. Nora takes 9 of them home and brings 4 back. How many books are on the shelf now?",
        "Nora leaves 34 - 9 = 25 books. With the 4 she brings back there are 25 + 4 = 29. The answer is 29.",
    ),
    (
        "Each of 6 boats carries 7 passengers and a captain. How many people are on the boats?",
        "A boat carries 7 + 1 = 8 people. On 6 boats there are 6 * 8 = 48. The answer is 48.",
    ),
    (
        "Theo pays $ 5.25 for a sandwich and $ 1.80 for juice. How much does he pay in all?",
        "The two cost 5.25 + 1.80 = 7.05 dollars. The answer is 7.05.",
    ),
    (
        "63 pencils are shared equally among 9 desks. How many pencils lie on each desk?",
        "Each desk gets 63 / 9 = 7 pencils. The answer is 7.",
    ),
)
