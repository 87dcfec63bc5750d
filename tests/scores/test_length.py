from yosegi.scores.length import Length


def test_blanks_are_not_counted():
    assert Length().of(["", "鉄道", " a b\n\nc　d ", "あ" * 1000]) == [0, 2, 4, 1000]
