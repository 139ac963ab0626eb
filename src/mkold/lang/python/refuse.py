"""Why each construct of Python outside the subset is refused, and what to write instead."""

from __future__ import annotations

import ast

REFUSED: dict[type[ast.AST], tuple[str, str]] = {
    ast.FunctionDef: ("a function inside a function", "define it at module level"),
    ast.AsyncFunctionDef: ("async code", "write a plain def"),
    ast.ClassDef: ("a class inside a function", "define the Struct at module level"),
    ast.Lambda: ("a lambda", "define a @kernel function"),
    ast.Try: ("exceptions", "return an error value, as the kernel does"),
    ast.Raise: ("exceptions", "use BUG_ON(), or return an error value"),
    ast.With: ("with", "call the lock and unlock primitives"),
    ast.AsyncWith: ("async code", "call the lock and unlock primitives"),
    ast.AsyncFor: ("async code", "use for i in range(...)"),
    ast.Await: ("async code", "call a @kernel function"),
    ast.Import: ("an import inside a function", "import at the top of the module"),
    ast.ImportFrom: ("an import inside a function", "import at the top of the module"),
    ast.Global: ("global", "shared data lives in memory: pass a Ptr to it"),
    ast.Nonlocal: ("nonlocal", "shared data lives in memory: pass a Ptr to it"),
    ast.Delete: ("del", "memory is freed by its allocator"),
    ast.Match: ("match", "use if and elif"),
    ast.List: ("a list", "use an Array in a Struct"),
    ast.Dict: ("a dictionary", "use an Array in a Struct"),
    ast.Set: ("a set", "use a word as a bitmap"),
    ast.ListComp: ("a comprehension", "write a for loop"),
    ast.SetComp: ("a comprehension", "write a for loop"),
    ast.DictComp: ("a comprehension", "write a for loop"),
    ast.GeneratorExp: ("a generator", "write a for loop"),
    ast.Yield: ("a generator", "write a loop in the caller"),
    ast.YieldFrom: ("a generator", "write a loop in the caller"),
    ast.JoinedStr: ("a string", "there is no text in kernel Python"),
    ast.FormattedValue: ("a string", "there is no text in kernel Python"),
    ast.Starred: ("unpacking with *", "name each value"),
    ast.Slice: ("a slice", "write a loop over the elements"),
    ast.NamedExpr: ("an assignment inside an expression", "assign in a statement before"),
    ast.Tuple: ("a tuple here", "tuples only return several results and receive them"),
}

OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.FloorDiv: "div",
    ast.Mod: "mod", ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "xor",
    ast.LShift: "shl", ast.RShift: "shr",
}  # fmt: skip

REFUSED_OPERATORS: dict[type[ast.operator], tuple[str, str]] = {
    ast.Div: ("/ gives fractions, and kernel Python has words only", "use //"),
    ast.Pow: ("** is not in kernel Python", "shift: 1 << n"),
    ast.MatMult: ("@ is not in kernel Python", ""),
}

REFUSED_COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Is: ("is compares Python objects, and kernel Python has words only", "use =="),
    ast.IsNot: ("is not compares Python objects, and kernel Python has words only", "use !="),
    ast.In: ("in is not in kernel Python", "compare with each value"),
    ast.NotIn: ("not in is not in kernel Python", "compare with each value"),
}


def refusal(node: ast.AST) -> tuple[str, str]:
    """Reason and hint for a construct that has no meaning in kernel Python."""
    what, hint = REFUSED.get(type(node), (type(node).__name__, "see docs/kernel-python.md"))
    return f"{what} is not in kernel Python", hint
