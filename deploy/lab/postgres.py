"""A PostgreSQL of a demonstration or a test, as the user postgres, on a socket only."""
import pathlib
import shutil
import subprocess

from disks import run

BIN = pathlib.Path("/usr/lib/postgresql/15/bin")
GRANT = "GRANT EXECUTE ON FUNCTION pg_backup_start(text, boolean), pg_backup_stop(boolean) TO homeward"


class Server:
    """A PostgreSQL at `data`, over the socket in `where`."""

    def __init__(self, data, where):
        self.data, self.where, self.log = data, where, where / "log"
        where.mkdir(exist_ok=True)
        shutil.chown(where, "postgres")

    def tool(self, name, *arguments):
        return run("runuser", "-u", "postgres", "--", BIN / name, *arguments, cwd="/")

    def ctl(self, *arguments):
        # Not a pipe: the server keeps what pg_ctl had.
        done = subprocess.run(["runuser", "-u", "postgres", "--", str(BIN / "pg_ctl"), "-D", str(self.data), "-w", *map(str, arguments)],
                              cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if done.returncode != 0:
            raise RuntimeError(f"pg_ctl {arguments}: {self.log.read_text() if self.log.exists() else ''}")

    def start(self):
        self.ctl("-l", self.log, "-o", f"-k {self.where} -c listen_addresses=''", "start")

    def stop(self, mode="fast"):
        self.ctl("-m", mode, "stop")

    def sql(self, text):
        return run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", self.where, "-U", "postgres", "-d", "postgres", "-c", text)

    def let_scripts_in(self):
        """As deploy/config/consistency.d/postgresql asks for."""
        self.sql("CREATE ROLE homeward LOGIN")
        self.sql(GRANT)
