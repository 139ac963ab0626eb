"""Programs made by hand, with which a campaign begins: corners that chance seldom gets to."""

from __future__ import annotations

from campaign.sample import Sample, of_tree
from campaign.tree import Body, Cond, If, Jump, Place, Section, Stmt, Tree, Use, While

X, Y, Z, L, S = (Place(name) for name in "xyzls")
WAIT = While(Cond(Use("READ_ONCE", (), X), "==", "0"), ())
SPIN = While(
    None, (Use("xchg", ("r2",), X, ("1",)), If(Cond("r2", "==", "0"), (Jump("break"),)))
)
BOUNCE = While(None, (Use("READ_ONCE", ("r1",), X), Use("WRITE_ONCE", (), Y, ("r1",))))


def lock(*body: Use) -> Section:
    return Section(Use("spin_lock", (), L), body, Use("spin_unlock", (), L))


def reader(*body: Stmt) -> Section:
    return Section(Use("rcu_read_lock"), body, Use("rcu_read_unlock"))


def write(place: Place, word: int) -> Use:
    return Use("WRITE_ONCE", (), place, (str(word),))


HANGS: list[tuple[str, tuple[Body, ...], bool]] = [
    ("waits for nobody", ((WAIT,),), True),
    ("is waited for", ((WAIT,), (write(X, 1),)), False),
    ("is taken back", ((WAIT,), (write(X, 1), write(X, 0))), True),
    ("a lock is left", ((lock(),), (lock(),)), False),
    ("a lock is kept", ((Use("spin_lock", (), L),), (lock(),)), True),
    ("a lock is taken twice", ((lock(Use("spin_lock", (), L)),),), True),
    ("two spin on a word", ((write(X, 1), SPIN), (SPIN,)), True),
    ("spins on a word that may be kept",
     ((Use("READ_ONCE", ("r1",), Y), If(Cond("r1", "==", "0"), (write(X, 1),))),
      (write(Y, 1), SPIN)), True),
    ("who goes round writing", ((BOUNCE,),), False),
    ("a grace period in its section",
     ((reader(Use("synchronize_rcu")),),), True),
    ("a reader waits for who waits for it",
     ((reader(WAIT),),
      (Use("synchronize_rcu"), write(X, 1))), True),
]  # fmt: skip


def read(register: str, place: Place) -> Use:
    return Use("READ_ONCE", (register,), place)


def poll(place: Place) -> While:
    """Look at a word under a lock until it is set."""
    return While(Cond("r1", "==", "0"), (lock(read("r1", place)),), after=True)


MB = Use("smp_mb")
ACQUIRED = Use("smp_load_acquire", ("r1",), X)
PASS_ON = Use("xchg", ("r2",), Y, ("r1",))
TRAVELLED = Use("WRITE_ONCE", (), Z, ("r1",)), read("r3", Z)
ORDERS: list[tuple[str, tuple[Body, ...]]] = [
    ("a failed cmpxchg is no barrier",
     ((write(X, 1), Use("cmpxchg", ("r3",), Z, ("5", "1")), read("r1", Y)),
      (write(Y, 1), MB, read("r1", X), write(Z, 1)))),
    ("a failed cmpxchg_acquire is no acquire",
     ((Use("cmpxchg_acquire", ("r1",), Y, ("5", "1")), read("r2", X)),
      (write(X, 1), Use("smp_store_release", (), Y, ("1",))))),
    ("a dependency through memory",
     ((read("r1", X), *TRAVELLED, Use("WRITE_ONCE", (), Y, ("r3 + 1",))),
      (read("r1", Y), MB, write(X, 1), read("r2", Z)))),
    ("one grace period for two readers",
     ((reader(read("r1", X), write(Y, 1)),), (reader(read("r1", Y), write(Z, 1)),),
      (read("r1", Z), Use("synchronize_rcu"), write(X, 1)))),
    ("two grace periods for two readers",
     ((reader(read("r1", X), write(Y, 1)),), (reader(read("r1", Y), write(Z, 1)),),
      (read("r1", Z), Use("synchronize_rcu"), Use("synchronize_rcu"), write(X, 1)))),
    ("a release is handed on by an update",
     ((write(X, 1), Use("smp_store_release", (), Y, ("1",))),
      (Use("atomic_add_return_relaxed", ("r1",), Y, ("1",)),),
      (Use("smp_load_acquire", ("r1",), Y), read("r2", X)))),
    ("both poll under a lock", ((poll(X),), (poll(X),))),
    ("who polls lets the other in", ((poll(X),), (lock(write(X, 1)),))),
    ("who polls lets in who does not help", ((poll(X),), (lock(write(Y, 1)),))),
    ("three rounds that change something",
     ((While(Cond("r1", "!=", "3"), (read("r1", X), PASS_ON), after=True),),
      (write(X, 1), write(X, 2), write(X, 3)))),
    ("a plain read while waiting",
     ((While(Cond("r1", "==", "0"), (ACQUIRED, Use("load", ("r2",), Y)), after=True),),
      (Use("store", (), Y, ("1",)), Use("smp_store_release", (), X, ("1",))))),
]  # fmt: skip
KNOWN: list[tuple[str, tuple[Body, ...]]] = [
    *((name, bodies) for name, bodies, _ in HANGS),
    *ORDERS,
]


def known(kind: str, number: int) -> Sample:
    """Program ``number`` of those made by hand."""
    return of_tree(kind, f"{kind}-known-{number}", Tree(KNOWN[number][1]))
