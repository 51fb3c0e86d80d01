#!/usr/bin/python3
"""Publishes test video and a ticking sound by WHIP with GStreamer's webrtcbin (libnice, OpenSSL), an independent implementation.

    whip_publish.py URL TOKEN [h264|vp8]      (Debian: python3-gi gir1.2-gst-plugins-bad-1.0 gstreamer1.0-nice -plugins-ugly)

Runs until SIGINT or SIGTERM, then sends the WHIP DELETE. Prints a line of JSON per event.
(Debian 12's whip-client aborts at start: it links libsoup 2, while webrtcbin's libnice links libsoup 3.)
"""

import json
import signal
import sys
import urllib.request
from urllib.parse import urljoin

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

SOURCE = "videotestsrc is-live=true pattern=ball ! video/x-raw,width=640,height=360,framerate=20/1 ! videoconvert ! queue"
VIDEO = {
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast bitrate=800 key-int-max=40 ! video/x-h264,profile=constrained-baseline"
    " ! rtph264pay config-interval=-1 aggregate-mode=zero-latency"
    " ! application/x-rtp,media=video,encoding-name=H264,payload=96",
    "vp8": "vp8enc deadline=1 target-bitrate=800000 keyframe-max-dist=40 ! rtpvp8pay picture-id-mode=15-bit"
    " ! application/x-rtp,media=video,encoding-name=VP8,payload=96",
}
AUDIO = (
    "audiotestsrc is-live=true wave=ticks ! audioconvert ! audioresample ! queue ! opusenc inband-fec=true ! rtpopuspay"
    " ! application/x-rtp,media=audio,encoding-name=OPUS,payload=97"
)


def tell(**what):
    print(json.dumps(what), flush=True)


def request(method, url, token, body=None):
    headers = {"Authorization": f"Bearer {token}"}
    if body is not None:
        headers["Content-Type"] = "application/sdp"
    sent = urllib.request.Request(url, method=method, headers=headers, data=body.encode() if body else None)
    with urllib.request.urlopen(sent, timeout=10) as reply:
        return reply.status, reply.headers, reply.read().decode()


class Publisher:
    def __init__(self, url, token, codec):
        self.url, self.token, self.session = url, token, None
        self.loop = GLib.MainLoop()
        self.pipeline = Gst.parse_launch(
            f"webrtcbin name=peer bundle-policy=max-bundle {SOURCE} ! {VIDEO[codec]} ! peer. {AUDIO} ! peer."
        )
        self.peer = self.pipeline.get_by_name("peer")
        self.peer.connect("on-negotiation-needed", lambda peer: peer.emit("create-offer", None, Gst.Promise.new_with_change_func(self.offer_made, None)))
        self.peer.connect("notify::ice-gathering-state", self.gathering)
        self.peer.connect("notify::ice-connection-state", lambda peer, _: tell(ice=peer.get_property("ice-connection-state").value_nick))
        self.peer.connect("notify::connection-state", lambda peer, _: tell(connection=peer.get_property("connection-state").value_nick))

        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self.failed)

    def failed(self, _, message):
        tell(error=message.parse_error().gerror.message)
        self.loop.quit()

    def offer_made(self, promise, _):
        # The reply owns the offer and must outlive the call.
        reply = promise.get_reply()
        self.peer.emit("set-local-description", reply.get_value("offer"), Gst.Promise.new())

    def gathering(self, peer, _):
        # The offer contains all candidates; no trickle ICE.
        if peer.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            GLib.idle_add(self.post)

    def post(self):
        offer = self.peer.get_property("local-description").sdp.as_text()
        status, headers, answer = request("POST", self.url, self.token, offer)
        self.session = urljoin(self.url, headers["Location"])
        tell(status=status, type=headers.get("Content-Type"), location=headers["Location"], etag=headers.get("ETag"))
        _, parsed = GstSdp.SDPMessage.new_from_text(answer)
        described = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, parsed)
        self.peer.emit("set-remote-description", described, Gst.Promise.new())
        return GLib.SOURCE_REMOVE

    def run(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            GLib.unix_signal_add(GLib.PRIORITY_HIGH, number, self.loop.quit)
        self.pipeline.set_state(Gst.State.PLAYING)
        self.loop.run()
        if self.session:
            tell(deleted=request("DELETE", self.session, self.token)[0])
        self.pipeline.set_state(Gst.State.NULL)


Gst.init(None)
Publisher(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "h264").run()
