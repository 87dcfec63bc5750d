"""PubMedQA: does the abstract of a paper answer its question with yes, no or maybe?

Jin et al. 2019, "PubMedQA: A Dataset for Biomedical Research Question Answering", arXiv:1909.06146. MIT licence.
Data: domain_qa/{pubmedqa_train, pubmedqa_test} in the data folder, else the expert-labelled part of qiaojin/PubMedQA on the Hub,
of which half of the questions, by hash, are the test (the Hub does not name the official ones). 100 training questions are the
validation split. The abstract, without its conclusion, stands above the question. Parts: `ja`, `Kshot` (up to 5), `written`;
metrics of choices.py. More than half of the answers are yes.
"""

from yosegi.tasks.readers.choices import FIELDS, Choices
from yosegi.tasks.readers.data import Hub, Row, Source, hashed

ANSWERS = ["yes", "no", "maybe"]


def _hub(split: str) -> Hub:
    def convert(row: Row) -> Row:
        if (hashed(name := f"pubmedqa/{row['pubid']}") % 2 == 0) != (split == "test"):
            return {}
        kept = {"question": row["question"], "context": "\n".join(row["context"]["contexts"]), "choices": ANSWERS}
        return {"id": name, **kept, "answer_index": ANSWERS.index(row["final_decision"])}

    return Hub("qiaojin/PubMedQA", "9001f2853fb87cab8d220904e0de81ac6973b318", convert, "train", "pqa_labeled")


class Pubmedqa(Choices):
    """Scored by the likeliest of yes, no and maybe."""

    kind = "pubmedqa"
    headline, most_shots = "accuracy", 5
    source = Source(
        "PubMedQA",
        {split: f"domain_qa/pubmedqa_{split}" for split in ("train", "test")},
        (*FIELDS, "context"),
        {split: _hub(split) for split in ("train", "test")},
        held_out=100,
    )
