"""What an agent's command might try, and what must hold all the same.

Each test attacks one promise of docs/sandbox.md, on every backend. Where an attack can only fail
for the wrong reason (a program that is not installed), it is made from Python's own calls.
"""

from __future__ import annotations

import os
import platform
import shlex
import signal
import socket
import subprocess
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from harness.sandbox import seccomp
from harness.sandbox.base import CommandResult
from harness.sandbox.limits import CommandLimits
from harness.sandbox.supervised import SupervisedSandbox

from .conftest import Factory, Marker

SHORT = CommandLimits(timeout_s=1.0)
MIB = 1 << 20


def python(
    sandbox: SupervisedSandbox,
    program: str,
    limits: CommandLimits = CommandLimits(),  # noqa: B008 - frozen
) -> CommandResult:
    """Run a Python program as a command."""
    result = sandbox.run(f"python3 -c {shlex.quote(textwrap.dedent(program))}", limits)
    if result.exit_code == 127:
        pytest.skip("this sandbox has no python3: use a machine or an image that has one")
    return result


def outcome(sandbox: SupervisedSandbox, action: str) -> str:
    """Run one Python statement; return "done", or the name of the error it was refused with."""
    program = f"""
    import ctypes, errno, os, resource, signal, socket
    try:
        {action}
        print("done")
    except OSError as error:
        print(errno.errorcode.get(error.errno, error.errno))
    """
    return python(sandbox, program).stdout.strip()


# --- the network ----------------------------------------------------------------------------------


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """A process of this machine that nobody may reach; it carries a secret."""
    secret = {"VICTIM_SECRET": "tell-nobody"}
    with subprocess.Popen(["/bin/sleep", "600.123"], env=secret) as process:
        yield process
        assert process.poll() is None
        process.kill()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "this machine"])
def test_no_service_of_this_machine_is_reached(sandbox: SupervisedSandbox, address: str) -> None:
    host = _own_address() if address == "this machine" else address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        got = outcome(sandbox, f"socket.create_connection(({host!r}, {port}), timeout=2)")
        assert got in {"ECONNREFUSED", "ENETUNREACH", "EADDRNOTAVAIL"}
        with pytest.raises(TimeoutError):
            server.accept()


def test_no_datagram_leaves(sandbox: SupervisedSandbox) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind((_own_address(), 0))
        receiver.settimeout(0.2)
        address = receiver.getsockname()
        sender = "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"
        assert outcome(sandbox, f"{sender}.sendto(b'x', {address!r})") == "ENETUNREACH"
        with pytest.raises(TimeoutError):
            receiver.recv(1)


@pytest.mark.parametrize("host", ["192.0.2.1", "169.254.169.254", "8.8.8.8"])
def test_no_other_machine_is_reached(sandbox: SupervisedSandbox, host: str) -> None:
    assert outcome(sandbox, f"socket.create_connection(({host!r}, 80), timeout=2)") == "ENETUNREACH"


def test_no_name_is_looked_up(sandbox: SupervisedSandbox) -> None:
    result = sandbox.run("getent hosts example.com; echo $?")
    assert result.stdout == "2\n"


def test_there_is_no_interface_but_its_own_loopback(sandbox: SupervisedSandbox) -> None:
    assert python(sandbox, "import socket; print(socket.if_nameindex())").stdout == "[(1, 'lo')]\n"


def test_no_abstract_socket_of_this_machine_is_reached(
    sandbox: SupervisedSandbox, marker: Marker
) -> None:
    name = f"\0{marker.word}"
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(name)
        server.listen()
        action = f"socket.socket(socket.AF_UNIX).connect({name!r})"
        assert outcome(sandbox, action.replace("\0", "\\0")) == "ECONNREFUSED"


def test_no_named_socket_of_this_machine_is_reached(
    sandbox: SupervisedSandbox, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(path))
        server.listen()
        for place in (path, Path("/var/run/docker.sock"), Path("/run/docker.sock")):
            action = f"socket.socket(socket.AF_UNIX).connect({str(place)!r})"
            assert outcome(sandbox, action) == "ENOENT"


@pytest.mark.parametrize("family", ["AF_VSOCK", "AF_PACKET", "AF_ALG", "AF_BLUETOOTH", "AF_CAN"])
def test_there_is_no_other_kind_of_socket(sandbox: SupervisedSandbox, family: str) -> None:
    action = f"socket.socket(socket.{family}, socket.SOCK_RAW)"
    assert outcome(sandbox, action) in {"EAFNOSUPPORT", "EPERM"}


def test_raw_packets_cannot_be_made(sandbox: SupervisedSandbox) -> None:
    raw = "socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)"
    assert outcome(sandbox, raw) == "EPERM"


def _own_address() -> str:
    """Return an address of this machine that other machines could use, or loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


# --- other files and other processes --------------------------------------------------------------


def test_no_file_of_this_machine_is_read(sandbox: SupervisedSandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("tell-nobody")
    tmp_path.chmod(0o755)
    for place in (secret, f"/proc/1/root{secret}", f"/proc/self/root{secret}", f"../..{secret}"):
        assert "tell-nobody" not in sandbox.run(f"cat {place}").stdout
    for place in ("/etc/shadow", "/root", "/home", "/var/lib/docker", Path.cwd()):
        assert not sandbox.run(f"cat {place} {place}/* {place}/.*").stdout


def test_no_process_of_this_machine_is_seen(
    sandbox: SupervisedSandbox, victim: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_TEST_SECRET", "tell-nobody")
    seen = sandbox.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '; cat /proc/[0-9]*/environ; env")
    assert "600.123" not in seen.stdout
    assert "tell-nobody" not in seen.stdout
    assert "pytest" not in seen.stdout
    assert f"/{victim.pid}" not in sandbox.run("ls -d /proc/[0-9]*").stdout.split()


@pytest.mark.parametrize(
    "command", ["kill -9 {pid}", "kill -9 -1", "kill -9 -- -{pid}", "kill -9 0"]
)
def test_no_process_of_this_machine_is_signalled(
    sandbox: SupervisedSandbox, victim: subprocess.Popen[bytes], command: str
) -> None:
    sandbox.run(command.format(pid=victim.pid))
    sandbox.run(command.format(pid=os.getpid()))
    assert victim.poll() is None


def test_no_other_sandbox_is_reached(factory: Factory, marker: Marker) -> None:
    with factory.make() as one, factory.make() as other, ThreadPoolExecutor(1) as thread:
        one.materialise({f"{marker.word}.txt": b"mine"})
        running = thread.submit(one.run, f"cp *.txt /tmp; {marker.sleep}", SHORT)
        found = other.run(
            f"find / -name '*{marker.word}*' 2>/dev/null; ls /tmp /dev/shm; kill -9 -1"
        )
        assert marker.word not in found.stdout
        assert running.result().timed_out
        assert one.snapshot() == {f"{marker.word}.txt": b"mine"}


@pytest.mark.parametrize(
    "place", ["/", "/usr", "/usr/bin", "/etc", "/bin", "/lib", "/dev", "/proc", "/proc/sys/kernel"]
)
def test_nothing_outside_the_workspace_is_written(sandbox: SupervisedSandbox, place: str) -> None:
    name = "written-by-an-attack"
    for attempt in (f"touch {place}/{name}", f"mkdir {place}/{name}", f"ln -s / {place}/{name}"):
        assert sandbox.run(attempt).exit_code != 0
    assert not Path(place, name).exists()


@pytest.mark.parametrize("command", ["rm -rf /usr/bin", "chmod -R 777 /usr/bin", "mv /usr /gone"])
def test_nothing_outside_the_workspace_is_changed(sandbox: SupervisedSandbox, command: str) -> None:
    before = Path("/usr/bin/env").stat()
    assert sandbox.run(command).exit_code != 0
    after = Path("/usr/bin/env").stat()
    assert (before.st_mode, before.st_ctime) == (after.st_mode, after.st_ctime)


def test_two_dots_lead_nowhere(sandbox: SupervisedSandbox, tmp_path: Path) -> None:
    up = "../" * 40
    sandbox.run(f"echo x > {up}escaped; echo x > ..{tmp_path}/escaped; cd {up}; touch escaped")
    assert not Path("/escaped").exists()
    assert [*tmp_path.iterdir()] == []
    assert sandbox.snapshot() == {}


def test_links_out_of_the_workspace_are_not_followed(
    sandbox: SupervisedSandbox, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("tell-nobody")
    for number, target in enumerate((secret, tmp_path, "/etc/passwd", "/", "/proc/self/environ")):
        sandbox.run(f"ln -s {target} link{number}; ln -s link{number} again{number}")
    assert sandbox.snapshot() == {}
    sandbox.run("mkdir d; ln -s / d/root; ln -s ../../../../../../../etc d/up")
    assert sandbox.snapshot() == {}


def test_files_outside_cannot_be_linked_into_the_workspace(sandbox: SupervisedSandbox) -> None:
    before = Path("/usr/bin/env").stat().st_nlink
    assert sandbox.run("ln /usr/bin/env stolen || ln /etc/passwd stolen").exit_code != 0
    assert Path("/usr/bin/env").stat().st_nlink == before
    assert sandbox.list() == ()


def test_a_link_that_is_swapped_while_the_workspace_is_read_shows_nothing(
    sandbox: SupervisedSandbox, marker: Marker
) -> None:
    swap = "while :; do ln -sfn /etc/passwd f; rm f; echo safe > f; done"
    sandbox.run(f"echo safe > f; (setsid bash -c '{swap} # {marker.word}' &) ; sleep 0.1")
    assert marker.pids() == []
    for _ in range(20):
        assert b"root" not in sandbox.snapshot().get("f", b"")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/proc/sysrq-trigger", "b"),
        ("/proc/sys/kernel/core_pattern", "|/bin/sh"),
        ("/proc/sys/kernel/hostname", "taken"),
        ("/proc/sys/vm/drop_caches", "3"),
        ("/proc/self/oom_score_adj", "-1000"),
        ("/proc/1/oom_score_adj", "-1000"),
        ("/proc/1/mem", "x"),
        ("/sys/fs/cgroup/cgroup.procs", "0"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "-1"),
    ],
)
def test_the_kernel_cannot_be_told_anything(
    sandbox: SupervisedSandbox, path: str, text: str
) -> None:
    assert sandbox.run(f"printf %s '{text}' > {path}").exit_code != 0


@pytest.mark.parametrize(
    "device", ["/dev/mem", "/dev/kmsg", "/dev/vda", "/dev/sda", "/dev/fuse", "/dev/kvm", "/dev/tty"]
)
def test_there_is_no_device_but_the_harmless(sandbox: SupervisedSandbox, device: str) -> None:
    assert outcome(sandbox, f"os.open({device!r}, os.O_RDONLY)") in {"ENOENT", "ENXIO", "EPERM"}


def test_there_are_no_terminals_to_use_up(sandbox: SupervisedSandbox) -> None:
    assert outcome(sandbox, "os.openpty()") == "ENOENT"


# --- rights ---------------------------------------------------------------------------------------


def test_a_command_has_no_capability_and_gets_none(sandbox: SupervisedSandbox) -> None:
    status = dict(
        line.split(":\t", 1) for line in sandbox.run("cat /proc/self/status").stdout.splitlines()
    )
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert 0 not in {int(number) for number in (status["Uid"] + status["Gid"]).split()}


@pytest.mark.parametrize(
    "action",
    [
        "os.setuid(0)",
        "os.setgid(0)",
        "os.setgroups([0])",
        "os.mknod('device', 0o20666, os.makedev(1, 1))",
        "os.mknod('disk', 0o60666, os.makedev(253, 0))",
        "os.chown('.', 0, 0)",
        "os.setpriority(os.PRIO_PROCESS, 0, -20)",
        "os.setpriority(os.PRIO_USER, 0, 19)",
        "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
        "os.sched_setaffinity(1, {0})",
        "resource.prlimit(1, resource.RLIMIT_CPU, (0, 0))",
        "__import__('time').clock_settime(0, 0)",
        "socket.sethostname('taken')",
    ],
)
def test_what_only_root_may_do_is_refused(sandbox: SupervisedSandbox, action: str) -> None:
    before = time.time()
    assert outcome(sandbox, action) in {"EPERM", "EINVAL", "EACCES"}
    assert 0 <= time.time() - before < 60


# each with arguments that would succeed, or do harm, for somebody who may
CALLS: dict[str, tuple[str, ...]] = {
    "add_key": ("b'user'", "b'name'", "b'x'", "1", "-3"),
    "bpf": ("0", "ctypes.create_string_buffer(128)", "72"),
    "chroot": ("b'.'",),
    "clone": (f"{0x10000000 | signal.SIGCHLD}", "0", "0", "0", "0"),
    "delete_module": ("b'x'", "0"),
    "fsopen": ("b'tmpfs'", "0"),
    "init_module": ("b'x'", "1", "b''"),
    "io_uring_setup": ("1", "ctypes.create_string_buffer(128)"),
    "kcmp": ("1", "1", "0", "0", "0"),
    "kexec_load": ("0", "0", "0", "0"),
    "keyctl": ("0", "-3", "1"),
    "mount": ("b'tmpfs'", "b'.'", "b'tmpfs'", "0", "0"),
    "move_mount": ("-100", "b'/usr'", "-100", "b'.'", "0"),
    "open_by_handle_at": ("-100", "ctypes.create_string_buffer(128)", "0"),
    "perf_event_open": ("ctypes.create_string_buffer(b'\\1' + bytes(111))", "0", "-1", "-1", "0"),
    "pidfd_getfd": ("os.pidfd_open(1)", "0", "0"),
    "pivot_root": ("b'.'", "b'.'"),
    "process_vm_readv": ("1", "0", "0", "0", "0", "0"),
    "ptrace": ("16", "1", "0", "0"),
    "reboot": ("0xfee1dead", "672274793", "0", "0"),
    "setns": ("os.open('/proc/self/ns/uts', 0)", "0"),
    "shmget": ("0", "4096", "0o1666"),
    "swapoff": ("b'x'",),
    "umount2": ("b'/workspace'", "2"),
    "unshare": (f"{0x10000000}",),
    "userfaultfd": ("1",),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_call_into_the_deep_of_the_kernel_is_refused(
    sandbox: SupervisedSandbox, call: str
) -> None:
    column = {"x86_64": 0, "aarch64": 1}[platform.machine()]
    number = seccomp._CALLS[call][column]
    result = python(
        sandbox,
        f"""
        import ctypes, errno, os
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.syscall({number}, {", ".join(CALLS[call])}) == -1
        print(errno.errorcode[ctypes.get_errno()])
        """,
    )
    assert result.stdout.strip() in {"EPERM", "ENOSYS"}, result.stderr


@pytest.mark.parametrize(
    "program", ["su -c id", "sudo -n id", "mount", "passwd root", "unshare -Ur id"]
)
def test_no_program_gives_root_rights(sandbox: SupervisedSandbox, program: str) -> None:
    assert "uid=0" not in sandbox.run(f"{program} < /dev/null; id").stdout


def test_a_set_user_id_program_of_its_own_gives_nothing(sandbox: SupervisedSandbox) -> None:
    sandbox.run("cp /bin/bash own; chmod 6755 own")
    assert sandbox.run("./own -p -c 'id -u; id -ru'").stdout.split() == ["65534", "65534"]


@pytest.mark.parametrize("limit", ["-n 100000", "-f unlimited", "-c unlimited", "-l unlimited"])
def test_limits_cannot_be_raised(sandbox: SupervisedSandbox, limit: str) -> None:
    assert sandbox.run(f"ulimit {limit}").exit_code != 0
