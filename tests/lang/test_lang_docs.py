"""The pages about the language are true: their code runs, their errors are the real ones."""

import re
from pathlib import Path

import pytest

from mkold.base.errors import SourceError
from mkold.ir.definition import word_of
from mkold.ir.interpret import Interpreter
from mkold.ir.module import collect
from mkold.lang import compile_text

PAGE = Path(__file__).parents[2] / "docs" / "kernel-python.md"
BLOCKS = re.findall(r"```(python)?\n(.*?)```", PAGE.read_text(), re.DOTALL)
RUN = [text for language, text in BLOCKS if language and "image" in text]
CODE = [text for language, text in BLOCKS if language and text not in RUN]
ERRORS = [text for language, text in BLOCKS if not language and ": error: " in text]
BEFORE = {"x = READ_ONCE(old)": "old = NULL", "return pte": "if n: pte = 1"}


@pytest.fixture(scope="module")
def names():
    imports = "_PAGE_ACCESSED = 0x100\nfrom mkold.lang import Fn, addr\n"
    return compile_text(imports + "".join(CODE))


def run(names, name: str, *args: int, **more) -> int:
    module = collect([names[name]], **more)
    memory = {5000 + names["Kvm"].offset("radix"): 1}
    (result,) = Interpreter(module.functions, memory).call(module.name_of(names[name]), *args)
    return result


def test_the_code_runs(names):
    assert repr(names["PTRS_PER_PTE"]) == "1 << $PTE_INDEX_BITS"
    assert run(names, "upper_half", 11) == 6
    assert run(names, "kvm_age", 5000, 1, hooks={"kvm_arch_age": names["try_clear"]}) == 1
    module = collect([names["age"]], pointed=[names["try_clear"]])
    memory = {5000 + names["Kvm"].offset("radix"): 1, 6000: word_of(names["try_clear"])}
    assert Interpreter(module.functions, memory).call("age", 5000, 6000, 1) == (1,)
    result = {}
    text = RUN[0].replace('image.call("', 'result["is"] = image.call("')
    exec(text, names | {"result": result})
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
