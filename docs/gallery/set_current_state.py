"""A kernel thread looks whether it should stop, and only then says that it sleeps.

A wake-up between the two finds a task that runs, and does nothing; the thread then sleeps for
ever. To sleep is to wait until somebody sets the state to running.

    mkold check docs/gallery/set_current_state.py --explain
"""

from mkold.check import Case, Claim, Scenario, Setup, Swap
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    KernelFunction,
    Ptr,
    Struct,
    cpu_relax,
    kernel,
    smp_mb,
    smp_store_mb,
    u64,
)

SOURCE = (
    'drivers/scsi/scsi_error.c, scsi_error_handler(): "To avoid missed wakeups, the task '
    'should always be in a non running state before the stop flag is checked"'
)
SENTENCE = "A thread that is told to stop stops."

TASK_RUNNING, TASK_INTERRUPTIBLE = 0, 1


class Task(Struct):
    state: u64
    should_stop: u64


@kernel
def schedule(task: Ptr[Task]) -> None:
    while READ_ONCE(task.state) != TASK_RUNNING:
        cpu_relax()


@kernel
def thread(task: Ptr[Task]) -> None:
    while True:
        smp_store_mb(task.state, TASK_INTERRUPTIBLE)  # set_current_state()
        if READ_ONCE(task.should_stop):
            break
        schedule(task)
    WRITE_ONCE(task.state, TASK_RUNNING)


@kernel
def thread_that_checks_first(task: Ptr[Task]) -> None:
    while not READ_ONCE(task.should_stop):
        smp_store_mb(task.state, TASK_INTERRUPTIBLE)
        schedule(task)


@kernel
def kthread_stop(task: Ptr[Task]) -> None:
    WRITE_ONCE(task.should_stop, 1)
    smp_mb()  # wake_up_process()
    if READ_ONCE(task.state) != TASK_RUNNING:
        WRITE_ONCE(task.state, TASK_RUNNING)


def stopping(function: KernelFunction) -> Scenario:
    def setup(m: Setup) -> None:
        task = m.new(Task, "task")
        m.thread("thread", (function, task))
        m.thread("stop", (kthread_stop, task))

    return Scenario(f"stop-{function.name.replace('_', '-')}", setup)


SCENARIO = stopping(thread)
NO_MB = (Swap("thread:smp_store_mb", "WRITE_ONCE"),)

CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("the state, then the flag", SCENARIO),)),
    Claim(
        "bug",
        SENTENCE,
        SOURCE,
        (
            Case("the flag, then the state", stopping(thread_that_checks_first)),
            Case("__set_current_state()", SCENARIO, NO_MB),
        ),
    ),
]
