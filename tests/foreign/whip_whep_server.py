#!/usr/bin/python3
"""A WHIP and WHEP server based on aiortc, an independent WebRTC implementation (Debian: python3-aiortc), to test `tongke load` against.

    whip_whep_server.py

Prints its port. `POST /whip` publishes, `POST /whep` plays the latest publisher; a DELETE of its `Location` ends a session. It transcodes,
so SEI messages do not reach the players; it is a full ICE agent and the DTLS client.
"""

import asyncio

from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaBlackhole, MediaRelay


class Server:
    def __init__(self):
        self.relay, self.published, self.sessions = MediaRelay(), None, {}

    async def begin(self, path, offer):
        connection = RTCPeerConnection()
        if path == "/whip":
            connection.on("track", self.take)
        elif self.published:
            connection.addTrack(self.relay.subscribe(self.published))
        else:
            return 409, {}, "nothing is published"
        await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await connection.setLocalDescription(await connection.createAnswer())
        session = f"/sessions/{len(self.sessions)}"
        self.sessions[session] = connection
        headers = {"Location": session, "Content-Type": "application/sdp"}
        return 201, headers, connection.localDescription.sdp

    def take(self, track):
        self.published = track
        # Consumes frames while there are no viewers.
        sink = MediaBlackhole()
        sink.addTrack(self.relay.subscribe(track))
        asyncio.ensure_future(sink.start())

    async def end(self, path):
        connection = self.sessions.pop(path, None)
        if connection is None:
            return 404, {}, ""
        await connection.close()
        return 200, {}, ""

    async def serve(self, reader, writer):
        """One request of a connection, as much of HTTP/1.1 as that takes."""
        method, path, _ = (await reader.readline()).decode().split(" ", 2)
        length = 0
        while (line := (await reader.readline()).decode().strip()) != "":
            name, value = line.split(":", 1)
            length = int(value) if name.lower() == "content-length" else length
        body = (await reader.readexactly(length)).decode()
        status, headers, answer = await (self.end(path) if method == "DELETE" else self.begin(path, body))
        headers |= {"Content-Length": len(answer.encode()), "Connection": "close"}
        lines = [f"HTTP/1.1 {status} {'Created' if status == 201 else 'So'}", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write(("\r\n".join(lines) + "\r\n\r\n" + answer).encode())
        await writer.drain()
        writer.close()


async def main():
    server = await asyncio.start_server(Server().serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
