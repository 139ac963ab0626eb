"""``mkold check``: results in every form, exit codes, replay, and users' errors."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from mkold.base.errors import Exit, LimitError, UnsupportedError
from mkold.check import decide, many
from mkold.check.needed import answer as needs
from mkold.check.result import ClaimResult
from mkold.check.torture import run as torture_run
from mkold.cli import check
from mkold.cli.main import main

EXAMPLE = str(Path(__file__).parents[2] / "docs/examples/claims.py")

HEAD = """
from mkold.check import Case, Claim, Drop, Scenario, Setup
from mkold.lang import READ_ONCE, WRITE_ONCE, Ptr, kernel, u64

@kernel
def put(word: Ptr[u64]) -> None:
    WRITE_ONCE(word.value, 1)

@kernel
def get(word: Ptr[u64]) -> u64:
    return READ_ONCE(word.value)

def machine(m: Setup) -> None:
    word = m.words(1, "word")
    m.thread("writer", (put, word))
    m.thread("reader", (get, word))
    m.never("seen", TEST, "The reader sees the write.")

def claim(name: str, *cases: Case, asks: str = "always") -> Claim:
    return Claim(name, "The write is never seen.", "a test", cases, asks)
"""
SEEN = 'TEST = lambda end: end.result("reader") == 1\n'
ONE = 'CLAIMS = [claim("one", Case("as it is", Scenario("s", machine)))]\n'


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A claims file whose one claim is refuted."""
    path = tmp_path / "mine.py"
    path.write_text(HEAD + SEEN + ONE)
    return path


# -- forms and exit codes -------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["masks", "literal"])
def test_another_engine(mine: Path, engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(mine), "--engine", engine]) == Exit.COUNTEREXAMPLE
    assert "=> refuted" in capsys.readouterr().out


def test_an_engine_decides_and_no_more(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(mine), "--engine", "none"]) == Exit.USAGE
    assert "there are: masks" in capsys.readouterr().err
    assert main(["check", str(mine), "--torture", "--engine", "masks"]) == Exit.USAGE


def test_text_and_exit_code(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(mine), "--explain"]) == Exit.COUNTEREXAMPLE
    out = capsys.readouterr().out
    assert "=> refuted" in out
    assert "writer writes word = 1 (a, mine.py:7)" in out
    assert "Then reader reads word = 1 (b, mine.py:11)" in out
    assert "1 claims: 1 refuted" in out


def test_what_a_verdict_rests_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", EXAMPLE, "config-torn", "--engine", "sat"]) == Exit.HOLDS
    assert "=> holds  (engine sat; no loops; no bound was hit)" in capsys.readouterr().out
    assert main(["check", EXAMPLE, "config-torn", "--engine", "sat", "--json"]) == Exit.HOLDS
    case = json.loads(capsys.readouterr().out)["claims"][0]["cases"][0]
    assert (case["engine"], case["loops"], case["bound"]) == ("sat", False, None)


def test_one_case_that_fails_does_not_end_the_run(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = 'claim("bad", Case("c", Scenario("b", lambda m: m.peek())))'
    mine.write_text(HEAD + SEEN + ONE.replace("[claim", f"[{bad}, claim"))
    assert main(["check", str(mine), "--json"]) == Exit.BAD_INPUT
    out, err = capsys.readouterr()
    bad_claim, good = json.loads(out)["claims"]
    assert (bad_claim["verdict"], good["verdict"]) == ("undecided", "refuted")
    assert bad_claim["cases"][0]["status"] == "error"
    assert err.count("mine.py:22") == 1


def test_an_internal_error_in_a_worker(
    mine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **named: object) -> object:
        raise AssertionError("a bug")

    monkeypatch.setattr(decide.lkmm, "decide", broken)
    monkeypatch.delenv("MKOLD_DEBUG", raising=False)
    assert main(["check", str(mine)]) == Exit.INTERNAL
    out, err = capsys.readouterr()
    assert "ERR as it is" in out
    assert "internal error: AssertionError: a bug" in err
    assert "Traceback" not in err
    monkeypatch.setenv("MKOLD_DEBUG", "1")
    assert main(["check", str(mine)]) == Exit.INTERNAL
    assert "in broken" in capsys.readouterr().err


def test_what_was_decided_before_ctrl_c_is_written(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = many.decide_claims

    def stops(*args: Any) -> Iterator[ClaimResult]:
        yield next(real(*args))
        raise KeyboardInterrupt

    monkeypatch.setattr(many, "decide_claims", stops)
    file = tmp_path / "x.json"
    assert main(["check", str(mine), EXAMPLE, "-o", str(file)]) == Exit.INTERRUPTED
    assert [c["name"] for c in json.loads(file.read_text())["claims"]] == ["one"]


def test_ctrl_c_before_anything_is_decided_leaves_what_was_there(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stops(*args: Any) -> Iterator[ClaimResult]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(many, "decide_claims", stops)
    file = tmp_path / "x.json"
    file.write_text("old")
    assert main(["check", str(mine), "-o", str(file), "--force"]) == Exit.INTERRUPTED
    assert file.read_text() == "old"


@pytest.mark.parametrize(
    ("mode", "module", "left", "last"),
    [("--needed", needs, "places", 1), ("--torture", torture_run, "cases", 3)],
)
def test_what_was_found_before_ctrl_c_is_written_in_other_modes(
    mode: str, module: Any, left: str, last: int, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    real, calls = module.each, []

    def stops(*args: Any, **named: Any) -> Iterator[Any]:
        calls.append(None)
        done = real(*args, **named)
        if len(calls) < last:
            yield from done
            return
        yield next(done)
        done.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "each", stops)
    file = tmp_path / "x.json"
    argv = ["check", EXAMPLE, "config-freed", mode, "--rounds", "5", "-o", str(file)]
    assert main(argv) == Exit.INTERRUPTED
    assert len(calls) == last
    assert len(json.loads(file.read_text())[left]) >= last // 2


def test_claims_that_hold_exit_with_zero(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", EXAMPLE, "config-freed", "config-torn"]) == Exit.HOLDS
    assert "2 claims: 2 holds" in capsys.readouterr().out


def test_json(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(mine), "--json"]) == Exit.COUNTEREXAMPLE
    body = json.loads(capsys.readouterr().out)
    assert body["schema"] == "mkold.check/1"
    (claim,) = body["claims"]
    assert claim["verdict"] == "refuted"
    assert claim["cases"][0]["broken"] == ["seen"]


def test_list_decides_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "decide_claims", lambda *args: pytest.fail("decided"))
    assert main(["check", EXAMPLE, "--list"]) == Exit.HOLDS
    assert "config-plain-publish" in capsys.readouterr().out
    assert main(["check", "--list", "--json"]) == Exit.HOLDS
    names = [claim["name"] for claim in json.loads(capsys.readouterr().out)["claims"]]
    assert names[0].startswith("1-")


@pytest.mark.parametrize("error", [UnsupportedError("no such thing"), LimitError("too many")])
def test_a_case_that_cant_be_decided_is_undecided(
    mine: Path, error: Exception, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    real = decide.lkmm.decide

    def sometimes(program: object, **named: object) -> object:
        if getattr(program, "name", "") == "s":
            raise error
        return real(program, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(decide.lkmm, "decide", sometimes)
    assert main(["check", str(mine), EXAMPLE, "one", "config-torn"]) == Exit.UNDECIDED
    out = capsys.readouterr().out
    assert str(error) in out
    assert "1 holds, 1 undecided" in out


def test_defaults_are_the_library_s() -> None:
    assert check.TIMEOUT_S == decide.DEFAULT_TIMEOUT_S
    assert check.BOUND == decide.DEFAULT_UNROLL


def test_help_imports_no_engine() -> None:
    script = (
        "import sys; from mkold.cli.main import main; main(['check', '--help']);"
        "bad = [m for m in sys.modules if m.startswith(('mkold.check', 'mkold.lkmm',"
        " 'mkold.lang', 'numpy', 'llvmlite', 'pysat'))]; assert not bad, bad"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--replay" in done.stdout


# -- files ----------------------------------------------------------------------------------


class Page(HTMLParser):
    """Collects tags and what links lead to."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html_holds_everything(tmp_path: Path) -> None:
    file = tmp_path / "x.html"
    assert main(["check", EXAMPLE, "-o", str(file)]) == Exit.COUNTEREXAMPLE
    page = Page()
    page.feed(file.read_text())
    assert page.tags.count("svg") == page.tags.count("figure") >= 3
    assert all(link.startswith("#") for link in page.links)
    assert "script" not in page.tags
    for text in ("-    synchronize_rcu()", "use-after-free", "updater awaits no grace period"):
        assert text in page.text
    assert "prefers-color-scheme:dark" in page.text


def test_svg_is_the_first_counterexample(tmp_path: Path) -> None:
    file = tmp_path / "x.svg"
    assert main(["check", EXAMPLE, "-o", str(file)]) == Exit.COUNTEREXAMPLE
    root = ElementTree.fromstring(file.read_text())
    assert root.attrib["aria-label"] == "config-freed, no grace period: use-after-free"


def test_svg_without_counterexample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.svg"
    assert main(["check", EXAMPLE, "config-torn", "-o", str(file)]) == Exit.BAD_INPUT
    assert "no counterexample to draw" in capsys.readouterr().err
    assert not file.exists()


def test_a_taken_file_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "x.html"
    file.write_text("mine")
    with monkeypatch.context() as patch:
        patch.setattr(many, "decide_claims", lambda *args: pytest.fail("worked"))
        assert main(["check", EXAMPLE, "-o", str(file)]) == Exit.BAD_INPUT
    assert "--force" in capsys.readouterr().err
    assert file.read_text() == "mine"
    assert main(["check", EXAMPLE, "config-torn", "-o", str(file), "--force"]) == Exit.HOLDS
    assert file.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    "words",
    [["--json", "-o", "x.svg"], ["--list", "-o", "x.html"], ["--replay", "x.json", "1"]],
)
def test_options_that_do_not_go_together(words: list[str]) -> None:
    assert main(["check", *words]) == Exit.USAGE


def test_replay_of_a_users_file_and_after_its_fix(
    mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    file = tmp_path / "bad.replay.json"
    assert main(["check", str(mine), "-o", str(file)]) == Exit.COUNTEREXAMPLE
    monkeypatch.chdir("/")
    assert main(["check", "--replay", str(file)]) == Exit.COUNTEREXAMPLE
    assert "Then reader reads word = 1" in capsys.readouterr().out
    mine.write_text(mine.read_text().replace("WRITE_ONCE(word.value, 1)", "pass"))
    assert main(["check", "--replay", str(file)]) == Exit.HOLDS
    mine.write_text(mine.read_text().replace('"as it is"', '"as it was"'))
    assert main(["check", "--replay", str(file)]) == Exit.BAD_INPUT
    assert "no case 'as it is' any more" in capsys.readouterr().err


def test_a_replay_file_does_not_choose_what_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = tmp_path / "ran"
    (tmp_path / "elsewhere").mkdir()
    claims = tmp_path / "elsewhere" / "claims.py"
    claims.write_text(f"open({str(ran)!r}, 'w').close()\nCLAIMS = []\n")
    finding = {"file": str(claims), "claim": "c", "case": "k", "property": "hang"}
    file = tmp_path / "x.replay.json"
    file.write_text(json.dumps({"schema": "mkold.replay/1", "findings": [finding]}))
    assert main(["check", "--replay", str(file)]) == Exit.BAD_INPUT
    assert "which is not beside it" in capsys.readouterr().err
    assert not ran.exists()
    assert main(["check", "--replay", str(file), str(claims)]) == Exit.BAD_INPUT
    assert "the list CLAIMS of claims.py is empty" in capsys.readouterr().err
    assert ran.exists()


def test_replay_of_something_possible_says_it_is_there(
    mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine.write_text(mine.read_text().replace("machine)))", 'machine)), asks="possible")'))
    file = tmp_path / "seen.replay.json"
    assert main(["check", str(mine), "-o", str(file)]) == Exit.HOLDS
    assert main(["check", "--replay", str(file)]) == Exit.COUNTEREXAMPLE


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "is not JSON"),
        ("{}", "is not a replay file"),
        ('{"schema": "mkold.replay/1", "findings": []}', "holds no counterexample"),
        ('{"schema": "mkold.replay/1", "findings": [3]}', "needs claim, case and property"),
        ('{"schema": "mkold.replay/1", "findings": [{"claim": "no", "case": "c", '
         '"property": "p"}]}', "there is no claim no"),
    ],
)  # fmt: skip
def test_bad_replay_files(
    tmp_path: Path, text: str, wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.replay.json"
    file.write_text(text)
    assert main(["check", "--replay", str(file)]) == Exit.BAD_INPUT
    assert wanted in capsys.readouterr().err


# -- users' errors --------------------------------------------------------------------------

BAD_KERNEL = """
@kernel
def bad(word: Ptr[u64]) -> u64:
    return [READ_ONCE(word.value)]

def setup(m: Setup) -> None:
    m.thread("t", (bad, m.words(1)))

CLAIMS = [claim("one", Case("c", Scenario("b", setup)))]
"""


@pytest.mark.parametrize(
    ("body", "place", "reason"),
    [
        (HEAD + SEEN, "mine.py", "no list CLAIMS"),
        ("x = = 1\n", "mine.py:1", "invalid syntax"),
        ("def f():\n    return nothing\nf()\n", "mine.py:2", "NameError"),
        (HEAD + SEEN + BAD_KERNEL, "mine.py:25", "error:"),
        (HEAD + 'TEST = lambda end: end["wrd"] == 1\n' + ONE, "mine.py:21", "'wrd'"),
        (HEAD + SEEN + ONE.replace('"s", machine', '"s", lambda m: m.peek()'), "mine.py:22",
         "TypeError"),
        (HEAD + SEEN + ONE.replace("machine))", 'machine), (Drop("put:smp_mb"),))'), "",
         "put:smp_mb"),
    ],
)  # fmt: skip
def test_errors_in_a_users_file(
    tmp_path: Path, body: str, place: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(body)
    assert main(["check", str(file)]) == Exit.BAD_INPUT
    err = capsys.readouterr().err
    assert place in err
    assert reason in err
    assert "Traceback" not in err


def test_names_that_are_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "no-such-claim"]) == Exit.BAD_INPUT
    assert "no claim named no-such-claim" in capsys.readouterr().err
    assert main(["check", "no-such-file.py"]) == Exit.BAD_INPUT
    assert "no such file" in capsys.readouterr().err


def test_torture_in_a_process_that_has_run_nothing_else() -> None:
    """The locks and RCU that native code links declare parameters of their own."""
    words = ["check", EXAMPLE, "config-torn", "--torture", "--rounds", "100"]
    done = subprocess.run(
        [sys.executable, "-m", "mkold.cli.main", *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "100 rounds, " in done.stdout


def test_claims_about_an_architecture(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--arch", "powerpc", "--list", "--json"]) == 0
    claims = json.loads(capsys.readouterr().out)["claims"]
    assert {claim["arch"] for claim in claims} == {"", "powerpc"}
    by_name = {claim["name"]: claim["arch"] for claim in claims}
    assert by_name["15a-spinlock"] == ""
    assert by_name["1-no-use-after-free"] == "powerpc"


def test_an_architecture_that_no_claim_is_about(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--arch", "vax"]) == 3
    assert "no claim is about vax; there are: arm64, powerpc" in capsys.readouterr().err


def test_a_name_that_is_too_long(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "x" * 300 + ".py"]) == 3
    assert "too long" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [("raise ValueError('no such page')", 3, "ValueError: no such page"),
     ("while True: pass", 4, "no answer within")],
)  # fmt: skip
def test_torture_of_a_bad_set_up_ends_as_check_does(
    body: str, code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.py"
    file.write_text(
        f"from mkold.check import Case, Claim, Scenario\ndef s(m):\n    {body}\n"
        "CLAIMS = [Claim('c', 's', 'n', (Case('a', Scenario('s', s)),))]\n"
    )
    for mode in ([], ["--torture"]):
        assert main(["check", str(file), "--timeout", "0.5", *mode]) == code
        shown = capsys.readouterr()
        assert said in shown.out + shown.err
