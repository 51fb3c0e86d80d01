#!/usr/bin/python3
"""An impaired link between two network namespaces: delay, loss, reordering, bandwidth limit. (Kernels may lack netem; a TUN device at
each end and this process in between need only root.)

    impaired_link.py NS_A ADDRESS_A NS_B ADDRESS_B [SEED]

Creates both namespaces with a point-to-point device `line` in each, and prints "ready". Then reads one JSON object per line from standard
input and applies it: {"to": "b", "delay_ms": 100, "jitter_ms": 20, "loss": 0.1, "rate_kbps": 300, "queue_ms": 400}; "to" is a or b, or absent for both
directions; absent keys keep their values. "nat": 1024 puts B behind a NAT that maps each UDP port to the port XOR 1024; another number later
is a NAT that lost its table. At the end of its input it prints its counters and removes the namespaces.
"""

import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import struct
import subprocess
import sys
import threading
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI, CLONE_NEWNET = 0x400454CA, 0x0001, 0x1000, 0x40000000
MTU = 1500
UDP, SOURCE, DESTINATION = 17, 0, 2


class Direction:
    """Packets in transit to one end. `port_at` is the offset of end B's port in the UDP header."""

    def __init__(self, out, rng, port_at):
        self.out, self.rng, self.port_at = out, rng, port_at
        self.nat = 0
        self.delay_ms, self.jitter_ms, self.loss, self.rate_kbps, self.queue_ms = 0, 0, 0.0, 0, 400
        self.link_free_at = 0.0
        self.waiting = []
        self.counters = {"packets": 0, "bytes": 0, "lost": 0, "overflowed": 0}

    def send(self, packet, now):
        packet = self.translated(packet)
        if self.rng.random() < self.loss:
            self.counters["lost"] += 1
            return
        starts = max(now, self.link_free_at)
        if (starts - now) * 1000 > self.queue_ms:
            self.counters["overflowed"] += 1
            return
        self.link_free_at = starts + (len(packet) * 8 / (self.rate_kbps * 1000) if self.rate_kbps else 0)
        due = self.link_free_at + (self.delay_ms + self.rng.uniform(-1, 1) * self.jitter_ms) / 1000
        heapq.heappush(self.waiting, (due, self.counters["packets"], packet))
        self.counters["packets"] += 1
        self.counters["bytes"] += len(packet)

    def translated(self, packet):
        """Applies the NAT. XOR is its own inverse, so one rule serves both directions."""
        head = (packet[0] & 0xF) * 4
        if not self.nat or packet[0] >> 4 != 4 or packet[9] != UDP:
            return packet
        changed = bytearray(packet)
        (port,) = struct.unpack_from("!H", changed, head + self.port_at)
        (check,) = struct.unpack_from("!H", changed, head + 6)
        struct.pack_into("!H", changed, head + self.port_at, port ^ self.nat)
        if check:  # incremental update, RFC 1624
            total = (~check & 0xFFFF) + (~port & 0xFFFF) + (port ^ self.nat)
            total = (total & 0xFFFF) + (total >> 16)
            total = (total & 0xFFFF) + (total >> 16)
            struct.pack_into("!H", changed, head + 6, ~total & 0xFFFF or 0xFFFF)
        return bytes(changed)

    def deliver(self, now):
        while self.waiting and self.waiting[0][0] <= now:
            try:
                os.write(self.out, heapq.heappop(self.waiting)[2])
            except OSError:
                self.counters["lost"] += 1  # the device is down

    def apply(self, command):
        for name in ("delay_ms", "jitter_ms", "loss", "rate_kbps", "queue_ms", "nat"):
            if name in command:
                setattr(self, name, command[name])


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def make_end(namespace, address, peer):
    """Creates a namespace with a TUN device; returns the device's file descriptor."""
    subprocess.run(["ip", "netns", "del", namespace], check=False, stderr=subprocess.DEVNULL)
    ip("netns", "add", namespace)
    ip("-n", namespace, "link", "set", "lo", "up")
    found = []
    worker = threading.Thread(target=lambda: found.append(tun_in(namespace)))
    worker.start()
    worker.join()
    ip("-n", namespace, "link", "set", "line", "mtu", str(MTU), "up")
    ip("-n", namespace, "addr", "add", address, "peer", peer, "dev", "line")
    ip("-n", namespace, "route", "add", "default", "dev", "line")
    return found[0]


def tun_in(namespace):
    """Opens the TUN device. setns(2) moves only the calling thread into the namespace."""
    with open(f"/var/run/netns/{namespace}", "rb") as handle:
        if ctypes.CDLL(None, use_errno=True).setns(handle.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH14s", b"line", IFF_TUN | IFF_NO_PI, b""))
    return device


def run(ends, directions):
    poller = select.poll()
    for device in ends:
        poller.register(device, select.POLLIN)
    commands = open(0, "rb", buffering=0)  # unbuffered: a line left in a buffer would not wake poll
    poller.register(commands, select.POLLIN | select.POLLHUP)
    routes = {ends[0]: directions["b"], ends[1]: directions["a"]}
    while True:
        due = min((d.waiting[0][0] for d in directions.values() if d.waiting), default=None)
        wait = 1000 if due is None else max(0, (due - time.monotonic()) * 1000)
        for handle, _ in poller.poll(wait):
            if handle == commands.fileno():
                line = commands.readline()
                if not line:
                    return
                command = json.loads(line)
                for name in [command["to"]] if command.get("to") else ["a", "b"]:
                    directions[name].apply(command)
            else:
                read_all(handle, routes[handle])
        now = time.monotonic()
        for direction in directions.values():
            direction.deliver(now)


def read_all(device, direction):
    for _ in range(256):
        try:
            direction.send(os.read(device, MTU + 100), time.monotonic())
        except BlockingIOError:
            return


def main():
    ns_a, address_a, ns_b, address_b = sys.argv[1:5]
    seed = int(sys.argv[5]) if len(sys.argv) > 5 else 1
    try:
        a, b = make_end(ns_a, address_a, address_b), make_end(ns_b, address_b, address_a)
        directions = {"a": Direction(a, random.Random(seed), SOURCE), "b": Direction(b, random.Random(seed + 1), DESTINATION)}
        print("ready", flush=True)
        run([a, b], directions)
        print(json.dumps({"seed": seed, **{f"to_{name}": one.counters for name, one in directions.items()}}), flush=True)
    finally:
        for namespace in (ns_a, ns_b):
            subprocess.run(["ip", "netns", "del", namespace], check=False)


main()
