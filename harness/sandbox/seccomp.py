"""The seccomp filter: the system calls that a command in a sandbox may not make.

A filter is a program for the kernel's packet machine (``linux/filter.h``, ``linux/seccomp.h``): it
loads words of ``struct seccomp_data`` and compares. It is a deny list: a call that is known and not
named here stays allowed, as namespaces, dropped capabilities and mounts do the isolating. The
filter removes the kernel's least tested interfaces, and what namespaces do not cover: sockets to
the hypervisor, the limits and priorities of the sandbox's own supervisor, memory that has no name
and no size, and notes on files that outlive them. A call newer than `_NEWEST` fails as on a kernel
that does not have it.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Iterable, Iterator
from enum import IntEnum

from harness.errors import HostError
from harness.records import record

# machine -> (AUDIT_ARCH of linux/audit.h, column of `_CALLS`)
_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}

# struct seccomp_data: int nr; __u32 arch; __u64 instruction_pointer; __u64 args[6]
_NUMBER_AT = 0
_ARCHITECTURE_AT = 4
_ARGUMENTS_AT = 16

_INSTRUCTION = struct.Struct("=HBBI")  # code, jump if true, jump if false, operand
_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_IF_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_IF_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_IF_ANY_BIT = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K
_ALLOW = 0x7FFF0000  # SECCOMP_RET_ALLOW
_FAIL = 0x00050000  # SECCOMP_RET_ERRNO; the low half is the error

_NEW_NAMESPACES = 0x7E020000  # every CLONE_NEW* flag that clone(2) takes
_UNIX = 1
_FAMILIES = {_UNIX: "unix", 2: "inet", 10: "inet6", 16: "netlink"}  # all of the sandbox's network
_NEWEST = 462  # mseal, of Linux 6.10; machines number new calls alike

# numbers on x86-64 and arm64; 0 where the machine has no such call
_CALLS = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "clone": (56, 220),
    "clone3": (435, 435),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "fremovexattr": (199, 16),
    "fsetxattr": (190, 7),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, 0),
    "iopl": (172, 0),
    "ioprio_set": (251, 30),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lremovexattr": (198, 15),
    "lsetxattr": (189, 6),
    "mbind": (237, 235),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "migrate_pages": (256, 238),
    "modify_ldt": (154, 0),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "mq_open": (240, 180),
    "msgget": (68, 186),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "prlimit64": (302, 261),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "removexattr": (197, 14),
    "request_key": (249, 218),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "semget": (64, 190),
    "set_mempolicy": (238, 237),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "setpriority": (141, 140),
    "settimeofday": (164, 170),
    "setxattr": (188, 5),
    "shmget": (29, 194),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
}


class When(IntEnum):
    """When a rule applies to a call, by one of its arguments (the lower 32 bits)."""

    ALWAYS = 0
    NOT_AMONG = 1
    ANY_BIT = 2


@record
class SeccompRule:
    """A call that fails.

    Attributes:
        call: its name.
        error: the error it fails with.
        when: under which condition.
        argument: which of the call's arguments the condition is on.
        values: what that is compared with.
    """

    call: str
    error: int = errno.EPERM
    when: When = When.ALWAYS
    argument: int = 0
    values: tuple[int, ...] = ()


def _only_on_itself(call: str, *arguments: int) -> Iterator[SeccompRule]:
    """Allow a call that names a process only where each of these arguments is 0: the caller."""
    for argument in arguments:
        yield SeccompRule(call=call, when=When.NOT_AMONG, argument=argument, values=(0,))


_CONDITIONAL_RULES = (
    # the C library falls back to clone, whose flags a filter can see
    SeccompRule(call="clone3", error=errno.ENOSYS),
    SeccompRule(call="clone", when=When.ANY_BIT, argument=0, values=(_NEW_NAMESPACES,)),
    SeccompRule(
        call="socket", error=errno.EAFNOSUPPORT, when=When.NOT_AMONG, values=tuple(_FAMILIES)
    ),
    SeccompRule(call="socketpair", error=errno.EAFNOSUPPORT, when=When.NOT_AMONG, values=(_UNIX,)),
    # as on a file system that has no attributes: programs that copy them go on without. They would
    # be kernel memory beyond any limit, and lock or mark what the next rollout uses
    *(
        SeccompRule(call=call, error=errno.EOPNOTSUPP)
        for call in _CALLS
        if call.endswith(("setxattr", "removexattr"))
    ),
    *_only_on_itself("prlimit64", 0),
    *_only_on_itself("sched_setaffinity", 0),
    *_only_on_itself("sched_setattr", 0),
    *_only_on_itself("sched_setparam", 0),
    *_only_on_itself("sched_setscheduler", 0),
    *_only_on_itself("setpriority", 0, 1),  # PRIO_PROCESS, of the caller
    SeccompRule(
        call="ioprio_set", when=When.NOT_AMONG, argument=0, values=(1,)
    ),  # IOPRIO_WHO_PROCESS
    *_only_on_itself("ioprio_set", 1),
)
_CONDITIONAL = {rule.call for rule in _CONDITIONAL_RULES}
RULES = (
    *_CONDITIONAL_RULES,
    *(SeccompRule(call=call) for call in _CALLS if call not in _CONDITIONAL),
)
# Where no control group counts what waits in a socket, there is none.
RULES_WITHOUT_GROUP = (
    *(rule for rule in RULES if rule.call not in {"socket", "socketpair"}),
    *(SeccompRule(call=call, error=errno.EAFNOSUPPORT) for call in ("socket", "socketpair")),
)


def program(machine: str | None = None, rules: Iterable[SeccompRule] = RULES) -> bytes:
    """Return the filter as an array of ``struct sock_filter``, for this machine or the one named.

    Raises:
        HostError: the numbers of that machine's calls are not known here.
    """
    machine = machine or platform.machine()
    if machine not in _MACHINES:
        message = f"no table of system calls for {machine}; known: {', '.join(_MACHINES)}"
        raise HostError(message, "harness doctor")
    architecture, column = _MACHINES[machine]
    lines: list[_Line] = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_IF_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _FAIL | errno.EPERM),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    # newer calls, and those of x32, the same under other numbers
    lines += [(_IF_AT_LEAST, 0, 1, _NEWEST + 1), (_RETURN, 0, 0, _FAIL | errno.ENOSYS)]
    for rule in rules:
        if number := _CALLS[rule.call][column]:
            lines += _lines(rule, number)
    lines.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(_INSTRUCTION.pack(*line) for line in lines)


_Line = tuple[int, int, int, int]


def _lines(rule: SeccompRule, number: int) -> list[_Line]:
    """Return the instructions of one rule; they expect, and leave, the call's number loaded."""
    fail: _Line = (_RETURN, 0, 0, _FAIL | rule.error)
    if rule.when is When.ALWAYS:
        return [(_IF_EQUAL, 0, 1, number), fail]
    test = [(_LOAD, 0, 0, _ARGUMENTS_AT + 8 * rule.argument), *_condition(rule), fail]
    restore: _Line = (_LOAD, 0, 0, _NUMBER_AT)
    return [(_IF_EQUAL, 0, len(test) + 1, number), *test, restore]


def _condition(rule: SeccompRule) -> Iterator[_Line]:
    """Yield comparisons that jump over the failure behind them where the rule does not apply."""
    if rule.when is When.ANY_BIT:
        yield (_IF_ANY_BIT, 0, 1, rule.values[0])
        return
    for index, value in enumerate(rule.values):
        yield (_IF_EQUAL, len(rule.values) - index, 0, value)
