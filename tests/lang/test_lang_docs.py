"""The pages about the language are true: their code runs, their errors are the real ones."""

import re
from pathlib import Path

import pytest

from mkold.base.errors import SourceError
from mkold.lang import compile_text

PAGE = Path(__file__).parents[2] / "docs" / "kernel-python.md"
BLOCKS = re.findall(r"```(python)?\n(.*?)```", PAGE.read_text(), re.DOTALL)
CODE = [text for language, text in BLOCKS if language]
ERRORS = [text for language, text in BLOCKS if not language and ": error: " in text]
BEFORE = {"x = READ_ONCE(old)": "old = NULL", "return pte": "if n: pte = 1"}


def test_the_code_runs():
    constants = "_PAGE_ACCESSED = 0x100\nfrom mkold.lang import parameter\n"
    names = compile_text(constants + CODE[0] + CODE[1])
    assert repr(names["PTRS_PER_PTE"]) == "1 << $PTE_INDEX_BITS"
    result = {}
    run = CODE[2].replace('image.call("', 'result["is"] = image.call("')
    exec(run, names | {"result": result})
    assert result == {"is": 1}


@pytest.mark.parametrize("shown", ERRORS, ids=[e.split(":")[3] for e in ERRORS])
def test_an_error_looks_as_shown(shown):
    place, source = shown.splitlines()[:2]
    file, line = place.split(":")[:2]
    statement = source.strip()
    lines = ["from mkold.lang import *", "from mkold.lang import READ_ONCE", "@kernel"]
    lines += [f"def f(n: u64) -> u64:  # {'-' * 9}"]
    while len(lines) < int(line) - 2:
        lines.append("    pass")
    lines += [f"    {BEFORE.get(statement, 'pass')}", f"    {statement}", "    return 0", ""]
    if statement.startswith("return"):
        lines.pop(-2)
    with pytest.raises(SourceError) as caught:
        compile_text("\n".join(lines), file)
    assert str(caught.value) == shown.rstrip("\n")
