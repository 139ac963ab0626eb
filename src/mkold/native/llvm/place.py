"""One use of a primitive on memory: its arguments, and where in memory it goes."""

from __future__ import annotations

from dataclasses import dataclass

from mkold.ir.nodes import Op
from mkold.ir.prims import Order, Prim
from mkold.native.llvm.writer import Writer

ORDERS = {
    Order.ONCE: "monotonic",
    Order.NORETURN: "monotonic",
    Order.ACQUIRE: "acquire",
    Order.RELEASE: "release",
    Order.MB: "seq_cst",
}
FULL_FENCE = "fence seq_cst"


@dataclass(frozen=True, slots=True)
class Access:
    """``args`` as operands of ``w``, ``address`` the word that is meant."""

    w: Writer
    row: Prim
    op: Op
    args: list[str]
    address: str

    @property
    def type(self) -> str:
        """The LLVM type of the object."""
        return f"i{self.op.width}"

    @property
    def align(self) -> int:
        """The object's alignment in bytes."""
        return self.op.width // 8

    def word_pointer(self) -> str:
        """A pointer to the word."""
        return self.w.name(f"getelementptr i64, ptr %b, i64 {self.address}")

    def pointer(self) -> str:
        """A pointer to the object: the low end of its word, or its bytes within."""
        word = self.word_pointer()
        if not self.op.shift:
            return word
        return self.w.name(f"getelementptr i8, ptr {word}, i64 {self.op.shift // 8}")

    def fenced(self, instruction: str, *, strong: bool) -> str:
        """Name the result of ``instruction``, between full fences if the target needs them."""
        fence = strong and not self.w.is_x86
        if fence:
            self.w.line(FULL_FENCE)
        result = self.w.name(instruction)
        if fence:
            self.w.line(FULL_FENCE)
        return result

    def give(self, values: tuple[str, ...]) -> None:
        """Assign the results."""
        for dst, value in zip(self.op.dsts, values, strict=False):
            self.w.assign(dst, value)
