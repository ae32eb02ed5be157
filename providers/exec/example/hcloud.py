#!/usr/bin/python3
"""Points floating IPs of Hetzner Cloud at this host with the vendor's command line.

berth.yml:

    provider: exec
    exec:
      command: [/usr/local/lib/berth/hcloud.py]
      environment: {HCLOUD_TOKEN: ...}   # and HCLOUD_SERVER_ID, if need be

It needs the program hcloud (https://github.com/hetznercloud/cli) in the PATH. The
id of this host comes from the metadata service, or from HCLOUD_SERVER_ID. Neither
is taken from the environment of berth itself.
"""
import ipaddress
import json
import os
import subprocess
import sys
import urllib.request

METADATA = "http://169.254.169.254/hetzner/v1/metadata/instance-id"


class Failed(Exception):
    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


def hcloud(*args):
    run = subprocess.run(["hcloud", *args], capture_output=True, text=True)
    if run.returncode != 0:
        words = run.stderr.strip()
        kind = "transient"
        for mark, meaning in (("unauthorized", "auth"), ("forbidden", "auth"),
                              ("rate_limit", "rate-limited"), ("invalid_input", "invalid")):
            if mark in words:
                kind = meaning
        raise Failed(kind, words)
    return run.stdout


def floating_ips():
    """All floating IPs of the project, with the networks they cover."""
    return [(ipaddress.ip_network(ip["ip"], strict=False), ip)
            for ip in json.loads(hcloud("floating-ip", "list", "-o", "json"))]


def find(address, ips):
    for network, ip in ips:
        if ipaddress.ip_address(address) in network:
            return ip
    return None


def server_id():
    if os.environ.get("HCLOUD_SERVER_ID"):
        return int(os.environ["HCLOUD_SERVER_ID"])
    with urllib.request.urlopen(METADATA, timeout=5) as answer:
        return int(answer.read())


def holder(address, ips, me):
    ip = find(address, ips)
    if ip is None:
        return {"kind": "not-managed"}
    server = ip["server"]  # an id, an object with one, or null
    if isinstance(server, dict):
        server = server["id"]
    if server is None:
        return {"kind": "nobody", "object": str(ip["id"])}
    return {"kind": "mine" if server == me else "other", "owner": f"server {server}", "object": str(ip["id"])}


def main(request):
    op = request["op"]
    if op == "describe":
        return {"name": "Hetzner Cloud", "ops": ["observe", "claim", "release", "whoami"]}
    if op == "whoami":
        return {"id": str(server_id())}
    ips = floating_ips()
    if op == "observe":
        me = server_id()
        return {"holders": {a: holder(a, ips, me) for a in request["addresses"]}}
    ip = find(request["address"], ips)
    if ip is None:
        raise Failed("not-found", request["address"] + " is no floating IP of this project")
    if op == "claim":
        hcloud("floating-ip", "assign", str(ip["id"]), str(server_id()))
    elif op == "release":
        if holder(request["address"], ips, server_id())["kind"] == "mine":
            hcloud("floating-ip", "unassign", str(ip["id"]))
    else:
        raise Failed("invalid", "unknown op " + op)
    return {}


if __name__ == "__main__":
    try:
        print(json.dumps(main(json.load(sys.stdin))))
    except Failed as failed:
        print(json.dumps({"error": {"kind": failed.kind, "message": str(failed)}}))
    except OSError as failed:
        print(json.dumps({"error": {"kind": "transient", "message": str(failed)}}))
