"""Wrong use of the claims interface is blamed on the caller's line, with a caret."""

from __future__ import annotations

from pathlib import Path

import pytest

from mkold.base.errors import InputError, SourceError
from mkold.check import load
from mkold.check.decide import decide_claim

FILE = """
from mkold.check import Case, Claim, Drop, Scenario, Setup
from mkold.lang import BUG_ON, READ_ONCE, WRITE_ONCE, Ptr, Struct, kernel, parameter, u64

STEP = parameter("STEP", 1)


class Box(Struct):
    data: u64
    full: u64


@kernel
def put(box: Ptr[Box], value: u64) -> None:
    WRITE_ONCE(box.data, value + STEP)


@kernel
def get(box: Ptr[Box]) -> u64:
    return READ_ONCE(box.data)


@kernel
def stop(box: Ptr[Box]) -> None:
    BUG_ON(READ_ONCE(box.data) == 0)


def setup(m: Setup) -> None:
    box = m.new(Box, "box")
    {setup}
    m.thread("producer", (put, box, 1))
    m.thread("consumer", (get, box))
    m.never("seven", lambda end: end.result("consumer") == 7, "Seven is seen.")


{file}
SCENARIO = Scenario("box", setup{scenario})
CLAIMS = [Claim("box", "A sentence.", "me", (Case("as written", SCENARIO{case}),){claim})]
"""


def blamed(tmp_path: Path, **parts: str) -> SourceError:
    """The error that a file with these parts ends in."""
    text = FILE.format(
        **{"setup": "pass", "file": "", "scenario": "", "case": "", "claim": "", **parts}
    )
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(SourceError) as caught:
        [decide_claim(claim) for claim in load.from_file(path)]
    error = caught.value
    assert error.pos.file == str(path)
    assert error.text.strip()
    return error


def caret(error: SourceError) -> str:
    """What stands above the caret."""
    return error.text[error.pos.col - 1 : error.pos.end - 1]


SETUPS = {
    # the call, what is said of it
    'm.thread("t", (put, box))': "put takes 2 arguments, and 1 were given",
    'm.thread("t", (get, box, 1))': "get takes 1 argument, and 2 were given",
    'm.thread("t", (get, None))': "argument box of get must be a whole number, not None",
    'm.thread("t", (get, "box"))': "argument box of get must be a whole number, not 'box'",
    'm.thread("t", (get, 1.5))': "argument box of get must be a whole number, not 1.5",
    'm.thread("t", (put, box, -1))': "must lie in 0 to 2**64 - 1, and is -1",
    'm.thread("t", (put, box, 1 << 64))': "must lie in 0 to 2**64 - 1",
    'm.thread("t", (put, box, STEP))': "a build parameter has no value",
    'm.thread("t", (print, 1))': "must be a kernel function, not <built-in function print>",
    'm.thread("t", (setup, 1))': "must be a kernel function",
    'm.thread("t", (READ_ONCE, box))': "must be a kernel function, not READ_ONCE",
    'm.thread("t", get, box)': "call 0 of thread t must be a tuple",
    'm.thread("t", ())': "call 0 of thread t must be a tuple",
    'm.thread("t")': "thread t makes no call",
    'm.thread(3, (get, box))': "a thread's name must be a text, not 3",
    'm.thread("", (get, box))': "a thread's name is empty",
    'm.call(put, box)': "put takes 2 arguments",
    'm.call(put, box, None)': "argument value of put must be a whole number, not None",
    'm.call(setup, box)': "must be a kernel function",
    'm.call(stop, box)': "stop stops: BUG_ON",
    'get(box)': "get is a kernel function",
    "m.declare(None)": "parameters must be a set of names, not None",
    'm.new(3)': "an object is of a Struct, not 3",
    'm.new(u64)': "an object is of a Struct",
    'm.new(Box, 3)': "an object's name must be a text, not 3",
    'm.new(Box, count=1 << 40)': "count must lie in 1 to",
    'm.words(1 << 30)': "are too many",
    'm.words(-1)': "the number of words must lie in 0 to",
    'm.words(1, value=None)': "value must be a whole number, not None",
    'm.poke(box, -1)': "a word must lie in 0 to 2**64 - 1",
    'm.poke(box, 0.5)': "a word must be a whole number, not 0.5",
    'm.poke(None, 0)': "an address must be a whole number, not None",
    'm.peek("box")': "an address must be a whole number, not 'box'",
    'm.watch("data", None)': "an address must be a whole number, not None",
    'm.watch("data", box); m.watch("data", box + 1)': "two words are watched under",
    'm.never("x", int, "s")': "the test of x must be a Python function",
    'm.never("x", 3, "s")': "the test of x must be a Python function, not 3",
    'm.never("x", get, "s")': "the test of x must be a Python function",
    'm.never("x", lambda: True, "s")': "is called with 1, and it takes 0 arguments",
    'm.never("x", lambda end: True, None)': "the sentence of x must be a text, not None",
    'm.never("data-race", lambda end: True, "s")': "data-race is looked at anyway",
    'm.bind({{"get": print}})': "get in hooks must be a kernel function",
    '1 / 0': "ZeroDivisionError: division by zero",
    'raise SystemExit(1)': "sys.exit() ends it",
}  # fmt: skip


ENDS = {
    'end.result("consumer", "x")': "the number of a call must be a whole number, not 'x'",
    "end.result([], 0)": "the name of a thread must be a text, not []",
    'end.result("consumer", 0, -1)': "index must lie in 0 to",
    "end[[]]": "the name of a word must be a text, not []",
}


@pytest.mark.parametrize("code", ENDS)
def test_in_a_test_of_final_states(code: str, tmp_path: Path) -> None:
    error = blamed(tmp_path, setup=f'm.never("n", lambda end: {code}, "s")')
    assert ENDS[code] in error.reason
    assert caret(error) == code


@pytest.mark.parametrize("code", SETUPS)
def test_in_a_setup(code: str, tmp_path: Path) -> None:
    error = blamed(tmp_path, setup=code.replace("{{", "{").replace("}}", "}"))
    assert SETUPS[code] in error.reason
    last = code.replace("{{", "{").replace("}}", "}").split("; ")[-1]
    assert caret(error) == last


def test_two_threads_of_one_name(tmp_path: Path) -> None:
    error = blamed(tmp_path, setup='m.thread("consumer", (get, box))')
    assert "two threads have the name consumer" in error.reason
    assert caret(error) == 'm.thread("consumer", (get, box))'
    assert "second" not in error.text


def test_two_properties_of_one_name(tmp_path: Path) -> None:
    error = blamed(tmp_path, setup='m.never("seven", lambda end: False, "s")')
    assert "two properties have the name seven" in error.reason


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ('end["data"] == 1', "there is no word that is watched 'data'"),
        ('end.result("consumr") == 1', "there is no thread with a result 'consumr'"),
        ('end.result("producer") == 1', "there is no thread with a result 'producer'"),
        ('end.result("consumer", 3) == 1', "call 3 of thread consumer has 0 results"),
        ('end.result("consumer", 0, 1) == 1', "call 0 of thread consumer has 1 results"),
        ("[][0]", "IndexError"),
    ],
)
def test_in_a_test_of_a_final_state(test: str, reason: str, tmp_path: Path) -> None:
    error = blamed(tmp_path, setup=f'm.never("bad", lambda end: {test}, "s")')
    assert reason in error.reason
    assert caret(error) == test.removesuffix(" == 1")


@pytest.mark.parametrize("value", ["None", "'no'"])
def test_a_test_that_gives_no_answer(value: str, tmp_path: Path) -> None:
    """A forgotten ``return`` would make every final state good."""
    error = blamed(tmp_path, setup=f'm.never("bad", lambda end: {value}, "s")')
    assert f"the test of bad must give True or False, and gave {value}" in error.reason


def test_an_answer_that_is_neither_true_nor_false(tmp_path: Path) -> None:
    code = 'm.never("bad", lambda end: __import__("numpy").arange(2), "s")'
    error = blamed(tmp_path, setup=code)
    assert "test of bad must give True or False" in error.reason
    assert caret(error) == code


SCENARIOS = {
    ", params={'STPE': 2}": "there is no build parameter 'STPE'",
    ", params={'STEP': None}": "STEP in params of scenario box must be a whole number",
    ", params=[1]": "params of scenario box must be a dict, not [1]",
    ", ignore={'data-rce'}": "there is no property 'data-rce'",
    ", ignore='data-race'": "ignore of scenario box must be a set of names, not 'data-race'",
    ", ignore=['hang']": "ignore of scenario box must be a set of names, not ['hang']",
    ", ignore=3": "ignore of scenario box must be a set of names, not 3",
    ", sentence=3": "the sentence of scenario box must be a text, not 3",
    ", stand_ins={'put': print}": "put in stand_ins of scenario box must be a kernel function",
    ", stand_ins={'putt': get}": "get stands in for putt, which nothing here calls",
    ", stand_ins={'put': get}": "get does not fit where put stands",
    ", partial=1": "partial of scenario box must be True or False, not 1",
}


@pytest.mark.parametrize("more", SCENARIOS)
def test_in_a_scenario(more: str, tmp_path: Path) -> None:
    error = blamed(tmp_path, scenario=more)
    assert SCENARIOS[more] in error.reason
    assert caret(error) == f'Scenario("box", setup{more})'


CASES = {
    ", only={'sevn'}": "there is no property 'sevn'",
    ", only=('hang',)": "only of case 'as written' must be a set of names",
    ", only='seven'": "only of case 'as written' must be a set of names",
    ", Drop('put:WRITE_ONCE')": "edits of case 'as written' must be a tuple",
    ", (3,)": "part 0 of edits of case 'as written' must be an edit",
    ", (Drop('put'),)": "'put' is no place in the source",
    ", (Drop('put:WRITE_ONCE[x]'),)": "is no place in the source",
    ", (Drop(3),)": "place of Drop must be a text, not 3",
    ", (Drop('put:smp_mb'),)": "put:smp_mb: no such place; there are: put:WRITE_ONCE",
    ", (Drop('putt:smp_mb'),)": "no function putt runs here",
    ", heavy=True": "case 'as written' decides, so it can't be left out as heavy",
    ", decides='no'": "decides of case 'as written' must be True or False, not 'no'",
}


@pytest.mark.parametrize("more", CASES)
def test_in_a_case(more: str, tmp_path: Path) -> None:
    error = blamed(tmp_path, case=more)
    assert CASES[more] in error.reason
    assert caret(error) == f'Case("as written", SCENARIO{more})'


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        (", asks='maybe'", "asks must be"),
        (", asks=3", "the asks of claim box must be a text, not 3"),
    ],
)
def test_in_a_claim(claim: str, reason: str, tmp_path: Path) -> None:
    assert reason in blamed(tmp_path, claim=claim).reason


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ('Claim(3, "s", "me", ())', "the name of a claim must be a text, not 3"),
        ('Claim("c", None, "me", ())', "the sentence of claim c must be a text, not None"),
        ('Claim("c", "s", None, ())', "the source of claim c must be a text, not None"),
        ('Claim("c", "s", "me", ())', "claim c: no case decides it"),
        ('Claim("c", "s", "me", 3)', "the cases of claim c must be a tuple, not 3"),
        ('Claim("c", "s", "me", (3,))', "part 0 of the cases of claim c must be a Case"),
        ('Case("c", 3)', "the scenario of case 'c' must be a Scenario, not 3"),
        ("Case(3, None)", "the label of a case must be a text, not 3"),
        ('Scenario("s", 3)', "the setup of scenario s must be a Python function, not 3"),
        ('Scenario("s", lambda a, b: 0)', "is called with 1, and it takes 2 arguments"),
        ("Scenario(3, setup)", "a scenario's name must be a text, not 3"),
        ("Scenario()", "missing 2 required positional arguments"),
        ("exit(3)", "sys.exit() ends it"),
        ("def f(:", "invalid syntax"),
        ("import nothing_of_that_name", "ModuleNotFoundError"),
    ],
)
def test_in_a_file(code: str, reason: str, tmp_path: Path) -> None:
    assert reason in blamed(tmp_path, file=code).reason


@pytest.mark.parametrize(
    ("name", "near"), [("{'sevn'}", "seven"), ("{'use-after-fre'}", "use-after-free")]
)
def test_the_nearest_name_is_offered(name: str, near: str, tmp_path: Path) -> None:
    assert blamed(tmp_path, case=f", only={name}").hint == f"did you mean {near}?"


@pytest.mark.parametrize(
    "text", ["", "x = 1\n", "CLAIMS = []\n", "CLAIMS = 3\n", "CLAIMS = [3]\n"]
)
def test_a_file_with_nothing_in_it(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(InputError, match="CLAIMS"):
        load.from_file(path)


def test_a_list_does_as_well_as_a_tuple(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        FILE.format(
            setup="pass", file="", claim="", scenario=", ignore={'data-race'}",
            case=", [Drop('put:WRITE_ONCE')], only={'seven'}",
        )
    )  # fmt: skip
    (claim,) = load.from_file(path)
    assert decide_claim(claim).verdict == "holds"


def test_a_neighbour_is_imported(tmp_path: Path) -> None:
    """Each file gets its own neighbour, under one name."""
    for folder, value in (("a", 7), ("b", 8)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "beside.py").write_text(f"VALUE = {value}\n")
        text = FILE.format(
            setup="from beside import VALUE; m.poke(box, VALUE)", scenario="", claim="",
            file="import beside", case=", (Drop('put:WRITE_ONCE'),), only={'seven'}",
        )  # fmt: skip
        (tmp_path / folder / "mine.py").write_text(text)
    verdicts = []
    for folder in ("a", "b"):
        (claim,) = load.from_file(tmp_path / folder / "mine.py")
        verdicts.append(decide_claim(claim).verdict)
    assert verdicts == ["refuted", "holds"]
