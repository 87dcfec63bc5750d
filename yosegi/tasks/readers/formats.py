"""Wordings of one prompt: the same instruction and input, asked in another form. Does an expert know the task or the form?

After the use-case "prompt robustness" of LoRA Soups (Prabhakar et al. 2024, arXiv:2410.13025): skills are trained in some
formats of one task and composed, then asked in formats that no one has seen.

A format is a template with {definition} and {input}, what a target begins with, and the strings that end an answer.
FAMILIAR ones are for training, UNSEEN ones for asking: they share no label with the familiar.
"""

from typing import NamedTuple


class Format(NamedTuple):
    """How to ask, how the answer begins, and what shows that the model has gone on to another question."""

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
FORMATS = FAMILIAR | UNSEEN
