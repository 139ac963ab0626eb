"""Collecting a module from definitions that no front end made."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pytest

from mkold.base.errors import InputError
from mkold.ir.definition import Definition, word_of
from mkold.ir.interpret import Interpreter
from mkold.ir.layout import Field, Layout
from mkold.ir.module import collect
from mkold.ir.nodes import (
    Assign,
    Binary,
    Call,
    CallPtr,
    CallRcu,
    Const,
    Function,
    FunctionWord,
    Local,
    Param,
    Return,
)
from mkold.ir.verify import verify


@dataclass(eq=False)
class Made:
    """A definition by hand."""

    lowered: Function
    callees: Mapping[str, Definition] = field(default_factory=dict)
    parameters: Mapping[str, int] = field(default_factory=dict)
    layouts: tuple[Layout, ...] = ()
    pointed: Collection[str] = ()
    called_through: Collection[str] = ()
    signature: str = "(u64) -> u64"
    is_hook: bool = False

    @property
    def key(self) -> str:
        return self.lowered.name

    @property
    def name(self) -> str:
        return self.key.partition(":")[2]


def returns(key: str, value, **more) -> Made:
    """A function of ``n`` that returns ``value``."""
    return Made(Function(key, ("n",), (Return((value,)),), 1), **more)


def calls(key: str, callee: Made, **more) -> Made:
    """A function that returns what ``callee`` does, plus 1."""
    body = (
        Call(callee.key, ("x",), (Local("n"),)),
        Return((Binary("add", Local("x"), Const(1)),)),
    )
    return Made(Function(key, ("n",), body, 1), {callee.key: callee}, **more)


def run(module, name: str, n: int) -> int:
    verify(module.functions)
    (result,) = Interpreter(module.functions, {}).call(name, n)
    return result


def test_what_is_called_comes_along_under_its_own_name():
    low = returns("a:low", Binary("mul", Local("n"), Const(2)))
    module = collect([calls("b:high", low)])
    assert [*module.functions] == ["high", "low"]
    assert module.names == {"b:high": "high", "a:low": "low"}
    assert run(module, "high", 5) == 11


def test_names_that_clash_are_told_apart_and_only_those():
    one, two = returns("a:f", Const(1)), returns("b:f", Const(2))
    again = returns("b:f", Const(3))
    module = collect([calls("c:g", one), two, again])
    assert sorted(module.functions) == ["a.f", "b.f", "b.f'", "g"]
    assert [module.name_of(d) for d in (one, two, again)] == ["a.f", "b.f", "b.f'"]
    assert run(module, "b.f'", 0) == 3
    with pytest.raises(InputError, match="h is not in this program"):
        module.name_of(returns("a:h", Const(0)))


def test_parameters_and_layouts_are_those_of_what_is_reached():
    layout = Layout("Kvm", (Field("radix", 0, 1, "u64"),), 1)
    low = returns("a:low", Param("SHIFT"), parameters={"SHIFT": 9}, layouts=(layout,))
    other = returns("a:other", Param("DEPTH"), parameters={"DEPTH": 4})
    module = collect([calls("b:high", low)])
    assert module.parameters == {"SHIFT": 9}
    assert module.layouts == {"Kvm": layout}
    assert module.values({"SHIFT": 3}) == {"SHIFT": 3}
    with pytest.raises(InputError, match=r"no build parameter DEPTH .*there are: SHIFT"):
        module.values({"DEPTH": 1})
    assert module.extended([other]).parameters == {"SHIFT": 9, "DEPTH": 4}


def test_two_defaults_are_refused_in_either_order():
    nine = returns("a:f", Param("SHIFT"), parameters={"SHIFT": 9})
    ten = returns("b:g", Param("SHIFT"), parameters={"SHIFT": 10})
    for roots in ([nine, ten], [ten, nine]):
        with pytest.raises(InputError, match=r"SHIFT has two defaults: \d+ in [ab]:"):
            collect(roots)
    assert collect([nine]).parameters != collect([ten]).parameters


def hook(key: str, signature: str = "(u64) -> u64") -> Made:
    return Made(Function(key, ("n",), (), 1), signature=signature, is_hook=True)


def test_a_hook_is_bound_when_a_module_is_collected():
    asked = hook("generic:arch_age")
    caller = calls("generic:age", asked)
    powerpc = returns("powerpc:arch_age", Const(40))
    x86 = returns("x86:age_gfn", Const(80))
    for bound, result in ((powerpc, 41), (x86, 81)):
        module = collect([caller], hooks={"arch_age": bound})
        assert run(module, "age", 0) == result
        assert module.name_of(asked) == bound.name
    with pytest.raises(InputError, match="arch_age is a hook, and nothing is bound"):
        collect([caller])
    misfit = returns("arm:arch_age", Const(0), signature="(u64, u64) -> u64")
    with pytest.raises(InputError, match="does not fit the hook generic:arch_age"):
        collect([caller], hooks={"arch_age": misfit})


def test_a_circle_through_a_hook_is_named():
    asked = hook("generic:arch_age")
    caller = calls("generic:age", asked)
    back = calls("arm:arch_age", caller)
    with pytest.raises(InputError, match="recursion: age calls arch_age calls age"):
        collect([caller], hooks={"arch_age": back})


def test_what_call_rcu_runs_later_is_no_circle():
    later = Made(Function("a:free", ("n",), (Return(),)), signature="(u64) -> None")
    body = (CallRcu("a:free", Local("n")), Return((Local("n"),)))
    first = Made(Function("a:drop", ("n",), body, 1), {"a:free": later})
    later.callees = {"a:drop": first}
    later.lowered = Function("a:free", ("n",), (Call("a:drop", ("x",), (Local("n"),)),))
    assert sorted(collect([first]).functions) == ["drop", "free"]


def test_a_stand_in_takes_the_place_and_the_name():
    slow = returns("mm:slow", Const(7), parameters={"PATIENCE": 5})
    caller = calls("mm:caller", slow)
    quick = returns("test:quick", Const(1))
    module = collect([caller], stand_ins={"slow": quick})
    assert sorted(module.functions) == ["caller", "slow"]
    assert run(module, "caller", 0) == 2
    assert not module.parameters, "what stands behind is not reached"
    with pytest.raises(InputError, match="stands in for missing"):
        collect([caller], stand_ins={"missing": quick})
    with pytest.raises(InputError, match="does not fit"):
        collect([caller], stand_ins={"slow": returns("t:q", Const(0), signature="() -> u64")})


def pointer_call(key: str, signature: str = "(u64) -> u64") -> Made:
    """Calls what its first argument points to."""
    call = CallPtr(Local("f"), (), ("x",), (Local("n"),), "f", None, signature)
    body = (call, Return((Local("x"),)))
    return Made(Function(key, ("f", "n"), body, 1), called_through=(signature,))


def takes_address(key: str, of: Made) -> Made:
    word = FunctionWord(of.key, of.key)
    body = (Assign("f", word), Return((Local("f"),)))
    return Made(
        Function(key, ("n",), body, 1), {of.key: of}, pointed=(of.key,), signature="() -> f"
    )


def test_a_pointer_reaches_functions_of_its_signature_whose_address_is_taken():
    twice = returns("a:twice", Binary("mul", Local("n"), Const(2)))
    plus = returns("a:plus", Binary("add", Local("n"), Const(3)))
    other = returns("a:other", Const(0), signature="(Ptr[Kvm]) -> u64")
    through = pointer_call("b:through")
    module = collect([through, takes_address("b:t", twice), takes_address("b:o", other), plus])
    (call,) = (s for s in module.functions["through"].body if isinstance(s, CallPtr))
    assert [member.name for member in call.members] == ["twice"], "plus is nobody's value"
    verify(module.functions)
    run_ = Interpreter(module.functions, {})
    assert run_.call("through", run_.call("t", 0)[0], 21) == (42,)
    # A word that lies in memory makes a member too, with no code that takes the address.
    more = collect([through], pointed=[plus])
    assert Interpreter(more.functions, {}).call("through", word_of(plus), 4) == (7,)
    assert more.pointed == {word_of(plus): plus}
    assert more.extended([twice]).pointed == more.pointed


def test_the_word_of_a_hook_is_that_of_its_definition():
    asked = hook("generic:arch_age")
    bound = returns("powerpc:arch_age", Const(5))
    taker = takes_address("generic:ops", asked)
    module = collect([pointer_call("g:through"), taker], hooks={"arch_age": bound})
    machine = Interpreter(module.functions, {})
    (word,) = machine.call("ops", 0)
    assert word == word_of(bound)
    assert machine.call("through", word, 0) == (5,)


def test_a_long_chain_of_calls_is_no_matter():
    last = returns("m:f0", Local("n"))
    for i in range(1, 3000):
        last = calls(f"m:f{i}", last)
    assert len(collect([last]).functions) == 3000
