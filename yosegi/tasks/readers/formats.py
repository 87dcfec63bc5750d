"""Prompt formats: the same instruction and input, asked in other words. Does an expert know the task, or only its form?

After the use case "prompt robustness" of LoRA Soups (Prabhakar et al. 2024, arXiv:2410.13025): skills are trained in some
formats of one task and composed, then evaluated in formats that none of them has seen. FAMILIAR formats are for training,
UNSEEN ones for evaluation; the two share no label.
"""

from typing import NamedTuple


class Format(NamedTuple):
    """A template with {definition} and {input}, what the answer begins with, and the strings that end it."""

    template: str
    gap: str
    stop: tuple[str, ...]


FAMILIAR = {
    "definition": Format("Definition: {definition}\n\nInput: {input}\nOutput:", " ", ("\nDefinition:", "\nInput:")),
    "instruction": Format("### Instruction:\n{definition}\n\n### Input:\n{input}\n\n### Response:", "\n", ("\n###",)),
    "chat": Format("User: {definition}\n\n{input}\n\nAssistant:", " ", ("\nUser:",)),
}
UNSEEN = {
    "question": Format("{input}\n\nQ: {definition}\nA:", " ", ("\nQ:",)),
    "brackets": Format("[{definition}]\n<{input}> =>", " ", ("\n[", "\n<")),
    "exercise": Format("Exercise. {definition}\nGiven this:\n{input}\n\nSolution.", " ", ("\nExercise.",)),
    "plain": Format("{definition}\n\n{input}\n\n--", "\n", ("\n--",)),
}
PAPER = {
    "paper": Format(
        "Definition: {definition}\n\nNow complete the following example -\nInput: {input}\nOutput:",
        " ",
        ("\nDefinition:", "\nInput:", "\n\nNow complete"),
    )
}
"""The prompt of Super-NaturalInstructions without examples (Wang et al. 2022, arXiv:2204.07705)."""
FORMATS = FAMILIAR | UNSEEN | PAPER
