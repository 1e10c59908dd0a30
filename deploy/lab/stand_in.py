"""A component that registers as what this host is not: its session is made with curl and protoc, and with a real component's identity."""
import pathlib
import struct
import subprocess

from cluster import die_with_parent

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"
CALL = "homeward.control.v1.ControlService/Connect"


class Enumerator(str):
    """A value that is a name of the schema."""


class StandIn:
    def __init__(self, cluster, name, **registration):
        """In place of the stopped daemon `name`. `registration`: what the message of that name says."""
        identity = cluster.directory / name / "state" / "identity"
        registration = {"name": name, "host_id": (identity / "host_id").read_text().strip(), **registration}
        fields = "\n".join(f"{key}: {value}" if isinstance(value, Enumerator) else f'{key}: "{value}"' for key, value in registration.items())
        up = subprocess.run(["protoc", f"-I{PROTO}", "--encode=homeward.control.v1.Up", PROTO / "homeward/control/v1/control.proto"],
                            input=f"registration {{\n{fields}\n}}".encode(), capture_output=True, check=True).stdout
        # The upload stays open, and with it the session.
        self.process = subprocess.Popen(
            ["curl", "--no-progress-meter", "--http2", "--insecure", "--cert", identity / "certificate.pem", "--key", identity / "key.pem",
             "--header", "content-type: application/grpc", "--header", "te: trailers", "--header", "expect:", "--request", "POST",
             "--upload-file", ".", "--no-buffer", "--output", "/dev/null", f"https://{cluster.address}/{CALL}"],
            stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
        self.process.stdin.write(b"\0" + struct.pack(">I", len(up)) + up)
        self.process.stdin.flush()

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
