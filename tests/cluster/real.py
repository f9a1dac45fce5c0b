"""A whole real SLURM in one folder, for tests: munged, MariaDB, slurmdbd, slurmctld and one slurmd per node.

    python tests/cluster/real.py up DIR [--nodes 4] [--no-install]     prints SLURM_CONF=… once everything answers
    python tests/cluster/real.py stop|start DIR slurmctld|slurmdbd     takes one daemon away and brings it back
    python tests/cluster/real.py down DIR [--keep]                     ends what `up` started and removes DIR

Tried with Slurm 22.05.8 as Debian 12 packages it. Needs root, since slurmd starts jobs as their users, but neither
systemd nor a free default port: every daemon runs in the foreground, below DIR, on ports chosen at the first `up`.
Only the standard library is used, so it runs with any Python before anything is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pwd
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PROGRAMS = ("sbatch", "slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd", "mariadb-install-db")
PACKAGES = ("slurm-wlm", "slurmdbd", "munge", "mariadb-server")
# Daemons live in /usr/sbin, which the PATH of an ordinary login does not name.
PATH = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/local/sbin:/usr/sbin:/sbin"
READY_TIMEOUT_S = 200.0
STOP_TIMEOUT_S = 60.0
# ip(7): ip_local_port_range begins at 32768; browsers and node refuse 10080 (fetch.spec.whatwg.org, "bad port").
PORTS = (10_081, 32_768)
# sun_path of unix(7) holds 108 bytes; the longest name that is put below DIR takes 24 of them.
LONGEST_DIR = 80

SLURM_CONF = """\
ClusterName={cluster}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={slurmctld_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A requeued job waits until its old credential has expired (120 s unless set).
AuthInfo=socket={dir}/munge/socket,cred_expire={cred_expire_s}
CryptoType=crypto/munge
StateSaveLocation={dir}/state
SlurmdSpoolDir={dir}/spool/%n
SlurmctldPidFile={dir}/pids/slurmctld.own
SlurmdPidFile={dir}/pids/%n.own
SlurmctldLogFile={dir}/log/slurmctld.log
SlurmdLogFile={dir}/log/%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
ReturnToService=2
MpiDefault=none
MailProg=/bin/true
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0,bf_interval=1
PriorityType=priority/basic
MinJobAge=300
KillWait=5
MaxArraySize=1001
SlurmctldTimeout=30
SlurmdTimeout=120
MessageTimeout=10
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={slurmdbd_port}
AccountingStoragePass={dir}/munge/socket
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment,job_script
{nodes}
PartitionName=cpu Nodes={cpu_nodes} Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes={gpu_nodes} MaxTime=7-00:00:00 State=UP
"""
NODE = """\
NodeName={name} NodeHostName={host} NodeAddr=127.0.0.1 Port={port} CPUs=8 RealMemory=16000 TmpDisk=100000 Gres=gpu:4"""

SLURMDBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={dir}/munge/socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={slurmdbd_port}
SlurmUser=root
PidFile={dir}/pids/slurmdbd.own
LogFile={dir}/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={mariadb_port}
StorageUser=slurm
StoragePass={password}
StorageLoc=slurm_acct
"""

# Small and quick rather than durable: the data lives as long as one test session.
MARIADB_CONF = """\
[mariadbd]
datadir={dir}/mariadb
socket={dir}/mariadb.sock
pid-file={dir}/pids/mariadb.own
log-error={dir}/log/mariadb.log
# A mariadbd that starts removes all temporary tables of its tmpdir, also those of a server that runs there.
tmpdir={dir}/tmp
bind-address=127.0.0.1
port={mariadb_port}
user=root
skip-name-resolve
skip-log-bin
innodb_buffer_pool_size=64M
innodb_log_file_size=32M
innodb_flush_log_at_trx_commit=0
# Many databases at once use up what the kernel has for asynchronous reads and writes.
innodb_use_native_aio=0
innodb_doublewrite=0
innodb_lock_wait_timeout=900
max_allowed_packet=16M
performance_schema=OFF
"""


class ClusterError(RuntimeError):
    """What could not be started or did not answer, with the end of the log that tells why."""


def missing() -> list[str]:
    """The programs of a whole SLURM that are not on this machine."""
    return [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]


def install() -> None:
    """Install the packages; raises ClusterError where apt-get fails."""
    if not missing():
        return
    if shutil.which("apt-get") is None:
        raise ClusterError(f"not installed, and no apt-get here: {', '.join(missing())}")
    # The packages' own scripts would start their daemons; policy-rc.d is how Debian lets one say no.
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        subprocess.run(["apt-get", "update", "-qq"], check=True, env=env, stdout=sys.stderr)
        subprocess.run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES],
            check=True,
            env=env,
            stdout=sys.stderr,
        )
    except subprocess.CalledProcessError as error:
        raise ClusterError(f"{' '.join(error.cmd)} ended with {error.returncode}") from error
    finally:
        if ours:
            policy.unlink()
    if missing():
        raise ClusterError(f"still missing after apt-get install: {', '.join(missing())}")


def free_ports(count: int) -> list[int]:
    """Return so many TCP ports of 127.0.0.1 that nobody listens on now.

    They lie below those that the system gives to outgoing connections, which would otherwise take one before the
    program that it was meant for is up, or while that is started again.
    """
    found: list[int] = []
    while len(found) < count:
        port = random.SystemRandom().randrange(*PORTS)
        with contextlib.suppress(OSError), socket.socket() as candidate:
            candidate.bind(("127.0.0.1", port))
            found += [port] if port not in found else []
    return found


def process_start(pid: int) -> int | None:
    """When a process was started, in clock ticks since boot (proc(5), stat, field 22); None for gone or zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def await_true(ask: Callable[[], bool], what: str, timeout_s: float) -> None:
    """Wait until `ask()` is true; raises ClusterError naming `what`."""
    deadline = time.monotonic() + timeout_s
    while not ask():
        if time.monotonic() > deadline:
            raise ClusterError(f"{what}: not so after {timeout_s:.0f} s")
        time.sleep(0.1)


class Cluster:
    """One real SLURM below one folder; every method may be called again, also by another process."""

    def __init__(self, folder: str | Path, nodes: int = 4) -> None:
        self.dir = Path(folder).resolve()
        self._node_count = nodes
        # Children of this very process must be waited for, or they would stay as zombies.
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._last_refusal = ""

    # -- what it is

    @property
    def conf(self) -> Path:
        """Where slurm.conf lies."""
        return self.dir / "slurm.conf"

    @property
    def env(self) -> dict[str, str]:
        """The variables that lead SLURM's programs to this cluster."""
        return {"SLURM_CONF": str(self.conf)}

    @property
    def node_names(self) -> list[str]:
        """The names of all nodes, in order."""
        count = self._settings().get("nodes", self._node_count) if self.conf.exists() else self._node_count
        return [f"node{number:02d}" for number in range(1, count + 1)]

    def run(self, *argv: str, check: bool = True, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """What one command says when it is asked of this cluster; raises ClusterError on a non-zero exit if `check`."""
        done = subprocess.run(
            argv,
            env={"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", **self.env},
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=timeout_s,
        )
        if done.returncode:
            self._last_refusal = f"{' '.join(argv)}: {done.stderr or done.stdout}"
        if check and done.returncode:
            raise ClusterError(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr or done.stdout}")
        return done

    def alive(self, name: str) -> bool:
        """Whether the daemon that was started under this name still runs."""
        return self._pid(name) is not None

    # -- up and down

    def up(self, want_install: bool = True) -> Cluster:
        """Itself, with every node idle and accounting answering; what already runs is left alone."""
        if os.geteuid() != 0:
            raise ClusterError("slurmd starts jobs as their users: run this as root")
        if len(str(self.dir)) > LONGEST_DIR:
            raise ClusterError(f"{self.dir}: longer than the {LONGEST_DIR} bytes that leave room for a socket's name")
        closed = [parent for parent in self.dir.parents if not parent.stat().st_mode & 0o001]
        if closed:
            raise ClusterError(f"{closed[-1]}: munged runs as a user of its own, who may not enter that folder")
        if want_install:
            install()
        elif missing():
            raise ClusterError(f"not installed: {', '.join(missing())}")
        if not self.conf.exists():
            self._write()
        for name in self._daemons():
            self.start(name)
        await_true(self._nodes_ready, f"nodes of {self.conf} idle", READY_TIMEOUT_S)
        (self.dir / "env").write_text("".join(f"{key}={value}\n" for key, value in self.env.items()))
        return self

    def down(self, keep: bool = False) -> None:
        """End all daemons and jobs; remove the folder unless `keep`."""
        if not (self.dir / "settings.json").exists():
            return
        for name in reversed(self._daemons()):
            self.stop(name)
            if name == self.node_names[0]:
                self._end_jobs()
        if not keep:
            shutil.rmtree(self.dir)

    def stop(self, name: str) -> None:
        """Stop slurmctld, slurmdbd, mariadb, munged or a node by its name."""
        pid = self._pid(name)
        if pid is not None:
            self._end(pid, name)
        for child in self._children.values():
            child.poll()  # none that has ended, this one or another, is left as a zombie
        (self.dir / "pids" / name).unlink(missing_ok=True)

    def start(self, name: str) -> None:
        """Start a daemon; raises ClusterError with the end of its log."""
        if self.alive(name):
            return
        argv = self._daemons()[name]
        prepare, ready = self._around(name)
        prepare()
        with (self.dir / "log" / f"{name}.out").open("ab") as out:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                cwd=self.dir,
                env={"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", **self.env},
            )
        self._children[child.pid] = child
        mark = {"pid": child.pid, "start": process_start(child.pid)}
        (self.dir / "pids" / name).write_text(json.dumps(mark))
        try:
            await_true(lambda: child.poll() is not None or ready(), f"{name} answering", READY_TIMEOUT_S)
        except ClusterError as error:
            raise ClusterError(f"{error}\n{self._last_refusal}\n{self._log_end(name)}") from error
        if child.poll() is not None:
            raise ClusterError(f"{name} ended with {child.returncode}\n{self._log_end(name)}")

    # -- how it is made

    def _settings(self) -> dict[str, int]:
        settings: dict[str, int] = json.loads((self.dir / "settings.json").read_text())
        return settings

    def _write(self) -> None:
        """Write folders, keys and configuration of a new cluster."""
        self.dir.mkdir(parents=True, exist_ok=True)
        if any(self.dir.iterdir()):
            raise ClusterError(f"{self.dir}: neither empty nor a cluster of ours")
        self.dir.chmod(0o755)
        for name in ("munge", "state", "spool", "log", "pids", "gpu", "tmp"):
            (self.dir / name).mkdir()
        names = self.node_names
        ports = free_ports(3 + len(names))
        host = socket.gethostname().split(".")[0]
        half = max(1, len(names) // 2)
        values = {
            "dir": self.dir,
            "host": host,
            "cluster": "sluicetest",
            "cred_expire_s": 10,
            "slurmctld_port": ports[0],
            "slurmdbd_port": ports[1],
            "mariadb_port": ports[2],
            "password": secrets.token_hex(8),
            "nodes": "\n".join(NODE.format(name=n, host=host, port=p) for n, p in zip(names, ports[3:], strict=True)),
            "cpu_nodes": ",".join(names[:half]),
            "gpu_nodes": ",".join(names[half:] or names),
        }
        self._private("settings.json", json.dumps({"nodes": len(names), "mariadb_port": ports[2]}))
        self._private("slurmdbd.conf", SLURMDBD_CONF.format(**values))
        self._private("mariadb.cnf", MARIADB_CONF.format(**values))
        self._private("password", str(values["password"]))
        self._gpus(names)
        self._munge_key()
        self.conf.write_text(SLURM_CONF.format(**values))

    def _private(self, name: str, text: str) -> None:
        path = self.dir / name
        path.touch(mode=0o600)
        path.write_text(text)

    def _gpus(self, names: list[str]) -> None:
        """Write gres.conf: GPUs are links to /dev/null, since they must be devices."""
        lines = []
        for name in names:
            for number in range(4):
                (self.dir / "gpu" / f"{name}-{number}").symlink_to("/dev/null")
            lines.append(f"NodeName={name} Name=gpu File={self.dir}/gpu/{name}-[0-3]\n")
        (self.dir / "gres.conf").write_text("".join(lines))

    def _munge_key(self) -> None:
        """Give key and socket folder to munged's user, as it insists on."""
        owner = pwd.getpwnam("munge")
        folder = self.dir / "munge"
        (folder / "key").touch(mode=0o600)
        (folder / "key").write_bytes(secrets.token_bytes(128))
        for path in (folder, folder / "key"):
            os.chown(path, owner.pw_uid, owner.pw_gid)

    def _daemons(self) -> dict[str, list[str]]:
        """The command line of each daemon, in the order of starting."""
        munge = self.dir / "munge"
        return {
            "munged": [
                "setpriv", "--reuid=munge", "--regid=munge", "--clear-groups",
                "munged", "--foreground", f"--socket={munge}/socket", f"--key-file={munge}/key",
                f"--pid-file={munge}/pid", f"--seed-file={munge}/seed", "--num-threads=10",
            ],
            "mariadb": ["mariadbd", f"--defaults-file={self.dir}/mariadb.cnf"],
            "slurmdbd": ["slurmdbd", "-D"],
            "slurmctld": ["slurmctld", "-D", "-f", str(self.conf)],
            **{name: ["slurmd", "-D", "-f", str(self.conf), "-N", name] for name in self.node_names},
        }  # fmt: skip

    def _around(self, name: str) -> tuple[Callable[[], None], Callable[[], bool]]:
        """What must be done before a daemon is started, and how one knows that it serves."""

        def nothing() -> None:
            return

        socket_path = self.dir / "munge" / "socket"
        table: dict[str, tuple[Callable[[], None], Callable[[], bool]]] = {
            "munged": (lambda: socket_path.unlink(missing_ok=True), socket_path.is_socket),
            "mariadb": (self._make_database, self._database_ready),
            "slurmdbd": (nothing, self._accounting_ready),
            "slurmctld": (nothing, lambda: self.run("scontrol", "ping", check=False).returncode == 0),
        }
        return table.get(name, (nothing, lambda: True))

    def _make_database(self) -> None:
        """Make the database's system tables."""
        if (self.dir / "mariadb").exists():
            return
        made = self.run(
            "mariadb-install-db",
            f"--defaults-file={self.dir}/mariadb.cnf",
            "--skip-test-db",
            "--skip-name-resolve",
            "--auth-root-authentication-method=normal",
            check=False,
            timeout_s=READY_TIMEOUT_S,
        )
        if made.returncode:
            raise ClusterError(f"mariadb-install-db: {made.stdout}{made.stderr}{self._log_end('mariadb')}")

    def _database_ready(self) -> bool:
        """Whether MariaDB answers; it has slurmdbd's user then."""
        password = (self.dir / "password").read_text()
        grant = (
            f"CREATE USER IF NOT EXISTS slurm@127.0.0.1 IDENTIFIED BY '{password}';"
            "GRANT ALL ON slurm_acct.* TO slurm@127.0.0.1;"
        )
        sock = f"--socket={self.dir}/mariadb.sock"
        return self.run("mariadb", "--no-defaults", sock, "-uroot", "-e", grant, check=False).returncode == 0

    def _accounting_ready(self) -> bool:
        """Whether slurmdbd answers; it knows the cluster and root's account then."""
        if self.run("sacctmgr", "-nP", "show", "cluster", check=False).returncode:
            return False
        if not self.run("sacctmgr", "-nP", "show", "cluster", "sluicetest").stdout.strip():
            self.run("sacctmgr", "-i", "add", "cluster", "sluicetest")
        known = self.run("sacctmgr", "-nP", "show", "assoc", "format=user,account").stdout.split()
        return "root|root" in known

    def _nodes_ready(self) -> bool:
        """Whether all nodes can take a job and accounting answers about jobs."""
        said = self.run("sinfo", "-h", "-N", "-o", "%N %T", check=False)
        states = dict(line.split() for line in said.stdout.splitlines())
        usable = {"idle", "mixed", "allocated", "completing"}
        ready = states.keys() == set(self.node_names) and set(states.values()) <= usable
        return ready and self.run("sacct", "-X", "-n", check=False).returncode == 0

    # -- processes

    def _pid(self, name: str) -> int | None:
        """The pid of the running daemon of this name; the start time tells it from a later process of the same pid."""
        try:
            mark = json.loads((self.dir / "pids" / name).read_text())
        except FileNotFoundError:
            return None
        return mark["pid"] if process_start(mark["pid"]) == mark["start"] else None

    def _end(self, pid: int, what: str) -> None:
        """End a process by SIGTERM, after STOP_TIMEOUT_S by SIGKILL."""
        began = process_start(pid)

        def gone() -> bool:
            return process_start(pid) != began

        for which in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):  # it may end between the look and the signal
                os.kill(pid, which)
            with contextlib.suppress(ClusterError):  # the next, harder signal follows, or the last look below
                await_true(gone, f"{what} ended", STOP_TIMEOUT_S)
                break
        if not gone():
            raise ClusterError(f"{what} ({pid}) does not end")

    def _end_jobs(self) -> None:
        """Kill what the nodes started: step daemons outlive their slurmd."""

        def kill_all() -> bool:
            pids = set(self._job_processes())
            for pid in pids:  # each time anew: one may have begun another between the look and its end
                with contextlib.suppress(ProcessLookupError):  # its parent may have taken it along
                    os.kill(pid, signal.SIGKILL)
            return not pids

        await_true(kill_all, "processes of jobs ended", STOP_TIMEOUT_S)

    def _job_processes(self) -> Iterator[int]:
        """The pids of this cluster's step daemons and job processes, known by the environment that slurmd gave them."""
        ours = f"SLURM_CONF={self.conf}".encode()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                environ = (entry / "environ").read_bytes().split(b"\0")
                command = (entry / "cmdline").read_bytes()
            except OSError:  # ended while we looked
                continue
            of_a_job = any(variable.startswith((b"SLURM_JOB_ID=", b"SLURMD_NODENAME=")) for variable in environ)
            if ours in environ and (of_a_job or command.startswith(b"slurmstepd")):
                yield int(entry.name)

    def _log_end(self, name: str) -> str:
        """The last lines a daemon wrote."""
        lines: list[str] = []
        for path in (self.dir / "log" / f"{name}.log", self.dir / "log" / f"{name}.out"):
            if path.exists():
                lines += path.read_text(errors="replace").splitlines()[-15:]
        return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """The exit code of one command line: 0, or 1 with the reason on stderr."""
    parser = argparse.ArgumentParser(description="A real SLURM below one folder, for tests.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("up", "down", "start", "stop"):
        sub = verbs.add_parser(verb)
        sub.add_argument("dir")
        if verb == "up":
            sub.add_argument("--nodes", type=int, default=4)
            sub.add_argument("--no-install", action="store_true", help="fail rather than call apt-get")
        elif verb == "down":
            sub.add_argument("--keep", action="store_true", help="leave the folder with its logs")
        else:
            sub.add_argument("daemon", help="slurmctld, slurmdbd, mariadb, munged or a node's name")
    args = parser.parse_args(argv)
    cluster = Cluster(args.dir, getattr(args, "nodes", 4))
    try:
        if args.verb == "up":
            cluster.up(want_install=not args.no_install)
            print((cluster.dir / "env").read_text(), end="")
        elif args.verb == "down":
            cluster.down(keep=args.keep)
        else:
            getattr(cluster, args.verb)(args.daemon)
    except ClusterError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
