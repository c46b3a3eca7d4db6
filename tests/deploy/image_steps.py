#!/usr/bin/env python3
"""Takes the steps of the Dockerfile without an engine for containers, and runs what the image runs.

    image_steps.py namespace   as the root of a file system, in namespaces that `unshare` has made for this program
    image_steps.py directory   in a directory, where no such namespaces can be made

Standard input is an object in JSON: `source`, `program` and `models` are paths, and `root` is an empty directory that
becomes the image. `build` and `run` are commands of the Dockerfile, and `environment`, `user`, `serve` and `health` its
settings. Three steps are replaced: the program is the given one, which is not compiled here, the base image is that part
of this machine that the commands need, and no package is installed.

The program ends with an error if a step fails, if the server does not become healthy, or if it does not end with success
after SIGTERM. Each line that it prints is something that it did.
"""

import ctypes
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Numbers of Linux.
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
SIOCSIFFLAGS, IFF_UP_LOOPBACK_RUNNING = 0x8914, 0x49
MOUNT_FLAGS = {0x2: "nosuid", 0x4: "nodev", 0x8: "noexec", 0x400: "noatime", 0x800: "nodiratime", 0x1000: "relatime"}

LIBC = ctypes.CDLL(None, use_errno=True)


def run(*command, **options):
    subprocess.run(command, check=True, **options)


def install(plan, root):
    """Takes the steps that follow the compilation, with the given program and modules of edge bundles."""
    for command in plan["build"]:
        changed = command.replace("target/release/wisp", plan["program"]).replace("/image/", f"{root}/")
        changed = changed.replace("guest-models/target/wisp/edge", plan["modules"])
        run("sh", "-c", changed, cwd=plan["source"])
        print(f"ran: {changed}")


class Namespace:
    """An image that is the root of a file system, for one user without capabilities."""

    def __init__(self, plan):
        self.root = Path(plan["root"])
        self.environment = {"PATH": PATH, **plan["environment"]}
        self.models = plan["models"]
        raise_loopback()
        root = self.root
        root.chmod(0o755)
        # A mount of its own can be made read-only.
        run("mount", "--bind", root, root)
        for name in ("proc", "dev"):
            (root / name).mkdir()
            run("mount", "--rbind", f"/{name}", root / name)
        self.copy("/bin/sh")
        self.copy(shutil.which("install"))
        install(plan, root)
        self.copy_libraries(root / "usr/local/bin/wisp")
        if os.path.exists(CERTIFICATES):
            self.copy(CERTIFICATES)

    def copy(self, path):
        """Copies a file of this machine, and the libraries of a program."""
        self.copy_file(path)
        if os.access(path, os.X_OK):
            self.copy_libraries(path)

    def copy_file(self, path):
        to = self.root / str(path).lstrip("/")
        to.parent.mkdir(parents=True, exist_ok=True)
        if not to.exists():
            shutil.copy(os.path.realpath(path), to)

    def copy_libraries(self, program):
        listed = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False)
        for library in re.findall(r"(/\S+) \(0x", listed.stdout):
            self.copy_file(library)

    def step(self, command):
        run("/bin/sh", "-c", command, env={"PATH": PATH}, preexec_fn=self.enter)
        print(f"ran: {command}")

    def close(self):
        """Mounts the models, and makes everything read-only."""
        models = self.root / "models"
        run("mount", "--bind", self.models, models)
        for mount in (models, self.root):
            flags = os.statvfs(mount).f_flag
            # Those that the file system has already may not be cleared.
            kept = [name for flag, name in MOUNT_FLAGS.items() if flags & flag]
            run("mount", "-o", ",".join(["remount", "bind", "ro", *kept]), mount)
        for path in ("/written", "/models/written", "/var/cache/wisp/written"):
            written = subprocess.run(
                ["/bin/sh", "-c", f": > {path}"], preexec_fn=self.enter, stderr=subprocess.DEVNULL, check=False
            )
            assert written.returncode != 0, f"{path} can be written"
        print("made the file system read-only")

    def enter(self):
        os.chroot(self.root)
        os.chdir("/")

    def enter_unprivileged(self):
        self.enter()
        # The program of another user than root then starts without any.
        assert LIBC.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0

    def expect_user(self, server, user):
        status = Path(f"/proc/{server.pid}/status").read_text(encoding="utf-8")
        fields = dict(line.split(":", 1) for line in status.splitlines())
        ids = {fields["Uid"].split()[1], fields["Gid"].split()[1]}
        assert ids == set(user.split(":")), ids
        assert int(fields["CapEff"], 16) == 0, fields["CapEff"]
        print(f"runs as {user} without capabilities")


class Directory:
    """An image that is a directory, for the current user."""

    def __init__(self, plan):
        self.root = Path(plan["root"])
        self.models = plan["models"]
        self.environment = {"PATH": f"{self.root}/usr/local/bin:{os.environ['PATH']}"}
        # Other servers may have the ports of the image, and only that for HTTP has to be known.
        with socket.create_server(("0.0.0.0", 0)) as listener:
            free = listener.getsockname()[1]
        for name, value in plan["environment"].items():
            if value.startswith("/"):
                value = f"{self.root}{value}"
            if re.fullmatch(r"0\.0\.0\.0:\d+", value):
                value = f"0.0.0.0:{free if name == 'WISP_HTTP' else 0}"
            self.environment[name] = value
        install(plan, self.root)
        print("changed: all paths are below a directory, the ports are free ones")

    def step(self, command):
        below = re.sub(r" /", f" {self.root}/", command)
        own = re.sub(r" --(owner|group) \d+", "", below)
        run("/bin/sh", "-c", own)
        print(f"ran: {own}")

    def close(self):
        shutil.copytree(self.models, self.root / "models", dirs_exist_ok=True)
        print("changed: the file system can be written")

    def enter_unprivileged(self):
        pass

    def expect_user(self, _server, user):
        print(f"changed: the user is {os.getuid()}:{os.getgid()} and not {user}")


def raise_loopback():
    with socket.socket() as any_socket:
        request = struct.pack("16sH22x", b"lo", IFF_UP_LOOPBACK_RUNNING)
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, request)


def serve(image, plan):
    server = subprocess.Popen(
        plan["serve"],
        env=image.environment,
        preexec_fn=image.enter_unprivileged,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        log = ""
        for line in server.stderr:
            log += line
            if json.loads(line).get("message") == "serving":
                break
        else:
            sys.exit(f"{plan['serve']} ended with {server.wait()}: {log}")
        image.expect_user(server, plan["user"])
        run(*plan["health"], env=image.environment, preexec_fn=image.enter_unprivileged, stdout=subprocess.DEVNULL)
        print(f"healthy: {' '.join(plan['health'])}")
        server.send_signal(signal.SIGTERM)
        _, rest = server.communicate(timeout=60)
        assert server.returncode == 0, f"ended with {server.returncode}: {log}{rest}"
        print("ended with success after SIGTERM")
    finally:
        server.kill()


def main(kind):
    plan = json.load(sys.stdin)
    image = {"namespace": Namespace, "directory": Directory}[kind](plan)
    for command in plan["run"]:
        image.step(command)
    image.close()
    serve(image, plan)


if __name__ == "__main__":
    main(*sys.argv[1:])
