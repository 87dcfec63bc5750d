"""Rewards: the value of a sampled answer for GRPO, from 0 to 1. A reward is a pure function of the text; no model judges it.

    reward(example, text, score) -> float        `score` is the task's grade of the text (Task.score)

All but `correct` are those of LoRA-PAR's second stage, for answers between tags: <reasoning>…</reasoning><answer>…</answer>.
"""
