#!/usr/bin/python3
"""Plays a lesson by WHEP with aiortc, an independent WebRTC implementation (Debian: python3-aiortc).

    whep_play.py URL TOKEN SECONDS

Prints one line of JSON: decoded frames, their size, audio samples, their peak amplitude, and response headers.
"""

import asyncio
import json
import sys
import urllib.request
from urllib.parse import urljoin

from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError


def request(method, url, token, body=None):
    headers = {"Authorization": f"Bearer {token}"}
    if body is not None:
        headers["Content-Type"] = "application/sdp"
    sent = urllib.request.Request(url, method=method, headers=headers, data=body.encode() if body else None)
    with urllib.request.urlopen(sent, timeout=10) as reply:
        return reply.status, reply.headers, reply.read().decode()


async def watch(track, seen):
    try:
        while True:
            frame = await track.recv()
            if track.kind == "video":
                seen["frames"] += 1
                seen["size"] = f"{frame.width}x{frame.height}"
            else:
                seen["samples"] += frame.samples
                seen["loudest"] = max(seen["loudest"], int(abs(frame.to_ndarray()).max()))
    except MediaStreamError:
        pass


async def play(url, token, seconds):
    seen = {"frames": 0, "size": None, "samples": 0, "loudest": 0}
    connection = RTCPeerConnection()
    watchers = []
    connection.on("track", lambda track: watchers.append(asyncio.ensure_future(watch(track, seen))))
    connection.addTransceiver("audio", direction="recvonly")
    connection.addTransceiver("video", direction="recvonly")
    await connection.setLocalDescription(await connection.createOffer())
    status, headers, answer = await asyncio.to_thread(request, "POST", url, token, connection.localDescription.sdp)
    seen["status"], seen["type"] = status, headers.get("Content-Type")
    session = urljoin(url, headers["Location"])
    await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    await asyncio.sleep(seconds)
    seen["state"] = connection.connectionState
    seen["deleted"] = (await asyncio.to_thread(request, "DELETE", session, token))[0]
    await connection.close()
    for one in watchers:
        one.cancel()
    return seen


url, token, seconds = sys.argv[1:]
print(json.dumps(asyncio.run(play(url, token, float(seconds)))))
