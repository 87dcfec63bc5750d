import pytest

from yosegi import tasks
from yosegi.errors import Corrupt, Invalid, NoData, UnknownName
from yosegi.tasks.file import File


def pairs(count):
    return [{"prompt": f"{i} plus one?", "completion": str(i + 1)} for i in range(count)]


def test_a_number_may_be_wanted(write):
    path = write("sums.jsonl", [{"prompt": "6*7?", "completion": "6*7=42, so 42"}])
    task = tasks.load(f"file{{path={path},metric=number}}")
    (example,) = task.examples("train")
    assert [task.score(example, text).value for text in ("It is 42.0", "答えは４２です", "41", "")] == [1, 1, 0, 0]
    assert tasks.load(task.name).name == task.name and task.metric == "number", "its name can be read again"


def test_a_file_is_a_task(write, check, monkeypatch, tmp_path):
    write("mine/sums.jsonl", pairs(100))
    monkeypatch.chdir(tmp_path)
    task = tasks.load("file/mine/sums.jsonl")
    assert task.name == "file/mine/sums.jsonl"
    check(task, {"train": 90, "validation": 5, "test": 5})
    example = task.examples("train")[0]
    assert example.target == str(int(example.prompt.split()[0]) + 1)


def test_an_absolute_path_and_a_zipped_file_will_do(write, check):
    path = write("sums.jsonl.gz", pairs(20))
    check(tasks.load(f"file/{path}"), {"train": 18, "validation": 1, "test": 1})


def test_chats_become_text(write):
    system, user = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}
    answer = {"role": "assistant", "content": "Hello"}
    rows = [{"messages": [system, user, answer]}, {"prompt": [system, user], "completion": [answer]}]
    task = File(str(write("chat.jsonl", rows)))
    first, second = task.examples("train")
    assert first.prompt == second.prompt == "System: Be brief.\n\nUser: Hi\n\nAssistant:"
    assert first.target == second.target == " Hello"
    assert task.score(first, "Hello").value == 1.0


def test_only_the_last_answer_of_a_chat_is_learnt(write):
    turns = [
        {"role": role, "content": text}
        for role, text in [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    ]
    (example,) = File(str(write("chat.jsonl", [{"messages": turns}]))).examples("train")
    assert (example.prompt, example.target) == ("User: a\n\nAssistant: b\n\nUser: c\n\nAssistant:", " d")


def test_texts_and_paragraphs_have_no_prompt(write, check):
    text = write("book.txt", "\ufeffOne.\nStill one.\n\n  \n\nTwo.\r\n\r\nThree.\n")
    rows = [example for split in ("train", "validation", "test") for example in File(str(text)).examples(split)]
    assert sorted((example.id, example.prompt, example.target) for example in rows) == [
        ("1", "", "One.\nStill one."),
        ("6", "", "Two."),
        ("8", "", "Three."),
    ]
    (example,) = File(str(write("x.jsonl", [{"text": "吾輩は猫である。"}]))).examples("train")
    assert (example.prompt, example.target) == ("", "吾輩は猫である。")


def test_ids_are_the_rows_own_or_line_numbers(write):
    rows = '{"id": "a", "prompt": "1", "completion": "2"}\n\n{"prompt": "2", "completion": "3"}\n'
    examples = File(str(write("x.jsonl", rows))).examples("train")
    assert [example.id for example in examples] == ["a", "3"]


def test_rows_may_say_their_split(write):
    rows = [row | {"split": split} for row, split in zip(pairs(4), ["train", "dev", "test", "rare"], strict=True)]
    task = File(str(write("x.jsonl", rows)))
    for split in ("train", "validation", "test", "rare"):
        assert len(task.examples(split)) == 1


def test_a_prompt_that_was_given_a_split_takes_its_copies_along(write):
    rows = [{"prompt": "same", "completion": "1", "split": "test"}, {"prompt": "same", "completion": "2"}, *pairs(2)]
    task = File(str(write("x.jsonl", rows)))
    assert [example.prompt for example in task.examples("test")] == ["same", "same"]


def test_copies_of_a_prompt_never_lie_on_both_sides(write):
    rows = [{"prompt": f"q{i % 30}", "completion": f"a{i}"} for i in range(300)]
    task = File(str(write("x.jsonl", rows)))
    sides = [{example.prompt for example in task.examples(split)} for split in ("train", "validation", "test")]
    assert sum(map(len, sides)) == len(set().union(*sides)) == 30


def test_three_rows_are_enough_for_every_split_and_two_are_not(write):
    three, two = File(str(write("3.jsonl", pairs(3)))), File(str(write("2.jsonl", pairs(2))))
    assert [len(three.examples(split)) for split in ("train", "validation", "test")] == [1, 1, 1]
    assert len(two.examples("train")) == 2
    with pytest.raises(
        Invalid, match=r'2\.jsonl has no rows for test, only: train \(2\)\. Add rows, or give rows a "split"'
    ):
        two.examples("test")


def test_the_metric_follows_the_length_of_the_answers(write):
    long = [{"prompt": str(i), "completion": "a much longer answer than five words are"} for i in range(3)]
    japanese = [{"prompt": str(i), "completion": "吾輩は猫である名前はまだ無い"} for i in range(3)]
    words = [{"prompt": str(i), "completion": f"answer {i}"} for i in range(3)]
    assert File(str(write("a.jsonl", words))).metric == "exact_match"
    assert File(str(write("n.jsonl", pairs(3)))).metric == "number"
    assert File(str(write("b.jsonl", long))).metric == "rougeL"
    assert File(str(write("c.jsonl", japanese))).metric == "rougeL"
    assert File(str(write("d.jsonl", long)), metric="exact_match").metric == "exact_match"
    with pytest.raises(UnknownName, match="Did you mean 'rougeL'"):
        File(str(write("e.jsonl", long)), metric="rouge")


def test_exact_match_sees_past_width_and_spaces_only(write):
    task = File(str(write("x.jsonl", [{"prompt": "?", "completion": " Tokyo 1\n"}])))
    (example,) = task.examples("train")
    assert [task.score(example, text).value for text in ("Tokyo 1", "\nＴｏｋｙｏ　１ ", "tokyo 1", "Tokyo", "")] == [
        1,
        1,
        0,
        0,
        0,
    ]
    assert [task.score(example, text).parsed for text in ("x", " ")] == [True, False]


def test_rouge_gives_part_marks(write):
    task = File(str(write("x.jsonl", [{"prompt": "?", "completion": "one two"}])), metric="rougeL")
    assert task.score(task.examples("train")[0], "one three").value == 0.5


def test_generation_ends_where_the_answers_do(write):
    short = File(str(write("a.jsonl", pairs(3))))
    long = File(str(write("b.jsonl", [{"prompt": "?", "completion": "line\n" * 500}])))
    assert (short.max_new_tokens, short.stop) == (17, ("\n",))
    assert (long.max_new_tokens, long.stop) == (1024, ("\n\nUser:",))
    bytes_ = File(str(write("d.jsonl", [{"prompt": "?", "completion": "鬱😀" * 9}])))
    assert bytes_.max_new_tokens == 9 * 7 + 16, "a tokenizer that knows neither spells them in bytes"
    led = File(str(write("c.jsonl", [{"prompt": "?", "completion": "\nParis"}])))
    assert "\n" not in led.stop


NO_SHAPE = [
    {"question": "?", "reply": "!"},
    {"prompt": "?"},
    {"prompt": "?", "completion": [{"text": "!"}]},
    {"messages": "hello"},
    {"messages": ["hello"]},
]


@pytest.mark.parametrize("row", NO_SHAPE)
def test_a_row_of_no_known_shape_is_named(write, row):
    path = write("x.jsonl", [*pairs(1), row])
    with pytest.raises(Invalid, match=r"x\.jsonl, line 2, has none of the accepted shapes: prompt and completion, "):
        File(str(path))


@pytest.mark.parametrize("row", [{"prompt": "?", "completion": " "}, {"text": ""}])
def test_an_empty_answer_is_named(write, row):
    with pytest.raises(Invalid, match=r"x\.jsonl, line 2: the answer is empty"):
        File(str(write("x.jsonl", [*pairs(1), row])))


def test_what_a_row_has_instead_is_said(write):
    with pytest.raises(Invalid, match=r"It has prompt \(str\), completion \(dict\)\."):
        File(str(write("x.jsonl", [{"prompt": "?", "completion": {}}])))


def test_a_turn_may_come_in_parts(write):
    parts = [{"type": "text", "text": "Hello"}, {"type": "text", "text": " there"}]
    rows = [{"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": [parts[0]]}]}]
    (example,) = File(str(write("x.jsonl", rows))).examples("train")
    assert (example.prompt, example.target) == ("User: Hello there\n\nAssistant:", " Hello")


def test_splits_may_be_written_large_and_what_is_held_out_is_said(write):
    rows = [{**pair, "split": split} for pair, split in zip(pairs(4), ("Train", "TEST", "Dev", "train"), strict=True)]
    task = File(str(write("x.jsonl", rows)))
    assert {name: len(some) for name, some in task.splits.items()} == {"train": 2, "test": 1, "validation": 1}
    assert "; 2 rows to learn from; held out are 1 for test and 1 for validation" in task.note("train")
    assert File(str(write("y.jsonl", pairs(2)))).note("train").endswith("; 2 rows to learn from.")


def test_what_cannot_be_read_is_named(write, tmp_path):
    with pytest.raises(NoData, match=r"There is no file '/.*/absent\.jsonl'"):
        File("absent.jsonl")
    with pytest.raises(NoData, match="There is no file"):
        tmp_path.joinpath("folder.jsonl").mkdir()
        File(str(tmp_path / "folder.jsonl"))
    tmp_path.joinpath("x.dat").write_bytes(b"prompt completion")
    with pytest.raises(Invalid, match=r"x\.dat is not understood: rows are JSON Lines or a JSON array"):
        File(str(tmp_path / "x.dat"))
    for name in ("empty.jsonl", "empty.txt"):
        with pytest.raises(Invalid, match=f"{name} is empty"):
            File(str(write(name, "\n\n")))
    with pytest.raises(Corrupt, match=r"bad\.jsonl, line 2"):
        File(str(write("bad.jsonl", '{"text": "a"}\n{"text": \n')))
    tmp_path.joinpath("sjis.txt").write_bytes("答え".encode("shift_jis"))
    with pytest.raises(Corrupt, match=r"sjis\.txt is not UTF-8"):
        File(str(tmp_path / "sjis.txt"))


def test_an_id_can_be_taken_only_once(write):
    with pytest.raises(Invalid, match=r"x\.jsonl, line 2: the id '7' is taken"):
        File(str(write("x.jsonl", [row | {"id": 7} for row in pairs(2)])))


def test_no_path_says_that_one_is_needed():
    with pytest.raises(Invalid, match="needs a part"):
        tasks.load("file")


@pytest.mark.data
def test_real(write, check):
    from yosegi.tasks.readers import data

    questions = [
        {"id": r["id"], "prompt": r["question"], "completion": r["answer"]} for r in data.rows("math_ja/mawps_ja_test")
    ]
    check(File(str(write("mawps.jsonl", questions))), {"train": 890, "validation": 45, "test": 45})
    texts = [{"text": row["text"], "split": row["split"]} for row in data.rows("corpus/ja_general")]
    corpus = File(str(write("corpus.jsonl", texts)), metric="exact_match")
    assert (len(corpus.examples("train")), len(corpus.examples("validation"))) == (25, 2)


def test_a_file_of_choices_is_scored_by_likelihood(write):
    rows = [{"question": f"Colour {i}?", "choices": ["red", "blue"], "answer": "B"} for i in range(4)]
    path = write("x.jsonl", rows)
    task = File(str(path))
    (example,) = task.examples("test")
    assert (task.metric, task.generates, task.chance(example)) == ("accuracy", False, 0.5)
    assert task.candidates(example)["choice"].texts == (" blue", " red")
    logprobs = {name: [tasks.LogProb(-9.0, 1), tasks.LogProb(-8.0, 1)] for name in ("choice", "letter")}
    assert task.score_logprobs(example, logprobs).metrics == {"acc_norm": 1.0, "letter": 0.0}
    normed = File(str(path), metric="acc_norm").score_logprobs(example, logprobs)
    assert (normed.value, set(normed.metrics)) == (1.0, {"accuracy", "letter"})
    assert "read as questions with choices (4), scored by accuracy, acc_norm and letter (metric=…" in task.note("test")


def test_every_accepted_output_counts(write):
    path = write("x.jsonl", [{"question": f"{i}?", "answers": ["red", "crimson fox"]} for i in range(3)])
    task = File(str(path))
    (example,) = task.examples("test")
    assert task.metric == "exact_match" and task.score(example, "crimson fox").value == 1
    assert task.score(example, "a crimson fox").metrics["f1"] == pytest.approx(4 / 5)


def test_programs_run_in_the_sandbox(write):
    path = write(
        "x.jsonl", [{"instruction": "Add one.", "tests": ["assert f(1) == 2"], "code": "def f(x):\n    return x + 1"}]
    )
    task = File(str(path))
    (example,) = task.examples("train")
    good, bad = "\ndef f(n): return n + 1\n```", "\ndef f(n): return n"
    assert [one.value for one in task.scores([example] * 4, [example.target, good, bad, ""])] == [1, 1, 0, 0]
    assert task.metric == "passed" and task.stop == ("\n```",)


def test_a_task_without_answers_has_checks(write):
    path = write("x.jsonl", [{"prompt": f"Say hi {i} times.", "contains": ["hi"], "regex": "!$"} for i in range(3)])
    task = File(str(path))
    (example,) = task.examples("test")
    assert (task.metric, example.target) == ("checks", "")
    assert [task.score(example, text).value for text in ("Hi!", "hi", "")] == [1, 0, 0]
    with pytest.raises(Invalid, match=r"x\.jsonl, line 1: it has no answer, which metric=rougeL needs"):
        File(str(path), metric="rougeL")


def test_columns_are_named_and_the_name_reads_back(write):
    path = write("x.csv", "ask,say,split\n1+1?,2,train\n2+2?,4,test\n")
    task = tasks.load(f"file{{path={path},columns={{prompt=ask,completion=say}}}}")
    assert [example.prompt for example in task.examples("test")] == ["2+2?"]
    assert tasks.load(task.name).splits == task.splits
    with pytest.raises(UnknownName, match="No field is called 'promt'. Did you mean 'prompt'"):
        File(str(path), columns={"promt": "ask"})
    with pytest.raises(Invalid, match=r"x\.csv, line 2: it has no column 'asks', only ask, say, split"):
        File(str(path), columns={"prompt": "asks"})
    with pytest.raises(Invalid, match=r"'\(' is not a regular expression"):
        File(str(path), columns={"prompt": "ask", "completion": "say"}, metric="regex", pattern="(")


@pytest.mark.parametrize("ids", [[2, ..., ...], [None] * 3, [..., "1", ...]])
def test_absent_ids_are_nobody_elses(write, ids):
    rows = [row if one is ... else {**row, "id": one} for row, one in zip(pairs(3), ids, strict=True)]
    task = File(str(write("x.jsonl", rows)))
    assert len({example.id for rows in task.splits.values() for example in rows}) == 3


def test_a_split_is_a_name(write):
    with pytest.raises(Invalid, match=r"x\.jsonl, line 1: the split is \['train'\], which is no name"):
        File(str(write("x.jsonl", [{**pairs(1)[0], "split": ["train"]}])))
    task = File(str(write("y.jsonl", [{**row, "split": None} for row in pairs(3)])))
    assert sorted(task.splits) == ["test", "train", "validation"]


def test_half_a_character_is_named_with_its_row(write):
    path = write("x.jsonl", '{"prompt": "a", "completion": "b"}\n{"prompt": "smile", "completion": "\\ud83d"}\n')
    with pytest.raises(Corrupt, match=r"x\.jsonl, line 2, is not a valid row \(it holds half a character"):
        File(str(path))


def test_a_conversation_is_kept_turn_by_turn(write):
    turns = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
    (example,) = File(str(write("x.json", [{"conversations": turns}]))).examples("train")
    assert example.messages == ({"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"})


def test_of_preferences_the_chosen_answer_is_learnt(write):
    task = File(str(write("x.jsonl", [{"prompt": "a", "chosen": "good", "rejected": "bad"}])))
    assert [example.target for example in task.examples("train")] == ["good"]
    assert "of which the chosen answer alone is learnt" in task.note("train")


def test_a_limit_takes_a_sample_of_the_whole_file(write):
    task = File(str(write("x.jsonl", [{**row, "split": "test"} for row in pairs(200)])))
    ten, forty = ([int(example.id) for example in task.sample("test", limit)] for limit in (10, 40))
    assert (len(ten), len(forty)) == (10, 40) and ten == sorted(ten) and set(ten) < set(forty)
    assert max(forty) > 150 and ten != list(range(1, 11)), "not the first rows"
    assert len(task.sample("test", None)) == len(task.sample("test", 999)) == 200
    assert tasks.subset(task.examples("test"), 10) == task.sample("test", 10)


def test_rows_without_a_split_may_all_be_the_test(write):
    rows = [{**row, "split": "train"} if i < 3 else row for i, row in enumerate(pairs(40))]
    path = write("x.jsonl", rows)
    task = File(str(path), split="test")
    assert {name: len(examples) for name, examples in task.splits.items()} == {"train": 3, "test": 37}
    assert "37 rows are for test, 3 for other splits (split=test in the task asks all)" in task.note("test")


def test_a_data_set_of_the_hub_is_a_task(hub):
    hub([{"question": f"{i}+{i}?", "answer": str(2 * i)} for i in range(40)])
    task = tasks.load("file/hf:some/sums:train")
    assert task.metric == "number" and {name: len(rows) for name, rows in task.splits.items()}["test"] == 2
