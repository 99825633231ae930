"""A private SLURM of one node: its own configuration, ports, key and folders, and nothing left of it afterwards."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

#: what SLURM and its authentication are made of; Debian's slurm-wlm and munge have them, in /usr/sbin too
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "scontrol", "squeue")
PLACES = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
#: seconds to wait for a daemon, or for the jobs of a test
PATIENCE_S = 120.0
#: jobs are counted against what is said here, not against what the machine has; the GPUs that they ask for are none
CONFIGURATION = """
ClusterName=private
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={place}/munge.socket
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
MpiDefault=none
MailProg=/bin/true
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=65536 Gres=gpu:2
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Slurm:
    """A SLURM that runs.

    Attributes
    ----------
    environment:
        With which its commands, and programs that call them, are started.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.environment = {**os.environ, "SLURM_CONF": str(place / "slurm.conf")}

    def call(self, *command: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command that talks to this SLURM."""
        return subprocess.run(
            [*map(str, command)],
            cwd=cwd,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def tasks(self, job: str) -> dict[int, tuple[str, str]]:
        """Return state and exit code of each task of an array of jobs, by its number."""
        found = {}
        for line in self.call("scontrol", "--oneliner", "show", "job", job).stdout.splitlines():
            said = dict(word.split("=", 1) for word in line.split() if "=" in word)
            found[int(said["ArrayTaskId"])] = said["JobState"], said["ExitCode"]
        return found

    def queue(self) -> list[str]:
        """List the states of all jobs that are not over."""
        return self.call("squeue", "--noheader", "--array", "--format=%T").stdout.split()

    def logs(self) -> str:
        """Return the end of what the daemons logged."""
        return "\n".join(
            f"{path.name}\n{path.read_text(encoding='utf-8', errors='replace')[-2000:]}"
            for path in sorted(self.place.glob("*.log"))
        )

    def wait(self, command: str, wanted: str) -> None:
        """Wait until a command says something."""
        end_s = time.monotonic() + PATIENCE_S
        while wanted not in self.call(*command.split()).stdout:
            if time.monotonic() > end_s:
                raise TimeoutError(f"{command} does not say {wanted}: {self.logs()}")
            time.sleep(0.1)


def is_installed() -> bool:
    """Tell whether SLURM can be started here."""
    return all(shutil.which(name, path=PLACES) for name in PROGRAMS)


@contextmanager
def running_slurm(place: Path) -> Iterator[Slurm]:
    """Run a SLURM in an empty folder; in the end its jobs and daemons are stopped."""
    slurm = Slurm(place)
    configure(place)
    socket_path = place / "munge.socket"
    munge = ["munged", "--foreground", "--force", f"--socket={socket_path}", f"--key-file={place / 'munge.key'}"]
    munge += [f"--{name}-file={place / 'munge'}.{name}" for name in ("log", "pid", "seed")]
    with ExitStack() as daemons:
        daemons.callback(kill_all, f"SLURM_CONF={slurm.environment['SLURM_CONF']}")
        daemons.enter_context(daemon(slurm, *munge))
        while not socket_path.exists():
            time.sleep(0.02)
        daemons.enter_context(daemon(slurm, "slurmctld", "-D"))
        slurm.wait("scontrol ping", "is UP")
        daemons.enter_context(daemon(slurm, "slurmd", "-D"))
        slurm.wait("sinfo --noheader --format=%T", "idle")
        yield slurm
        slurm.call("scancel", "--me")
        end_s = time.monotonic() + PATIENCE_S
        while slurm.queue() and time.monotonic() < end_s:
            time.sleep(0.1)


def configure(place: Path) -> None:
    """Write the files of a SLURM with ports that are free."""
    for name in ("state", "spool"):
        (place / name).mkdir()
    (place / "munge.key").touch(mode=0o600)
    (place / "munge.key").write_bytes(secrets.token_bytes(128))
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        ports = first.getsockname()[1], second.getsockname()[1]
    configuration = CONFIGURATION.format(
        host=socket.gethostname().partition(".")[0],
        controller_port=ports[0],
        node_port=ports[1],
        user=pwd.getpwuid(os.getuid()).pw_name,
        place=place,
    )
    (place / "slurm.conf").write_text(configuration, encoding="utf-8")
    (place / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n", encoding="utf-8")


@contextmanager
def daemon(slurm: Slurm, name: str, *options: str) -> Iterator[None]:
    """Run a daemon; it also ends when the process of the tests is killed."""
    program = shutil.which(name, path=PLACES)
    assert program is not None
    with (
        (slurm.place / f"{name}.out.log").open("wb") as log,
        subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", program, *options], env=slurm.environment, stdout=log, stderr=log
        ) as process,
    ):
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def kill_all(setting: str) -> None:
    """Kill the processes that were started with a setting in their environment: jobs that outlived their SLURM."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            settings = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if setting.encode() in settings:
            os.kill(int(path.parent.name), signal.SIGKILL)
