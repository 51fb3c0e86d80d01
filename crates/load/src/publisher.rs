//! A publishing client: a frame every 33 ms per layer, keyframes on request, retransmissions.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tongke_plane::ids::Ssrc;
use tongke_plane::rtp::NtpTime;
use tongke_plane::rtp::rtcp::{self, Compound, Rtcp};
use tongke_plane::transport::srtp::{Outbound, SrtpSession};

use super::args::MAX_LAYERS;
use super::clock;
use super::h264::{FrameGenerator, MAX_PAYLOAD, Stamp};
use super::percentiles::latency_histogram;
use super::sdp::{Answer, RIDS, rtx_ssrc};
use super::send_stream::{Packet, SendExtensions, SendStream};
use super::socket::Socket;

/// Frame rate, and RTP ticks (90 kHz) per frame.
const FRAME_RATE: u32 = 30;
const FRAME_TICKS: u32 = 90_000 / FRAME_RATE;
const FRAME_INTERVAL: Duration = Duration::from_nanos(1_000_000_000 / FRAME_RATE as u64);

/// Packets kept for retransmission: 5 s at 1.5 Mbit/s.
const HISTORY_PACKETS: usize = 1024;

/// Interval of sender reports; recorders need the first one to align tracks.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Counters of one layer of a publisher.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LayerStats {
    pub publisher: usize,
    /// Layer index among [`MAX_LAYERS`].
    pub layer: usize,
    pub packets: u64,
    /// Packets sent during the measurement.
    pub in_window: u64,
    pub resent: u64,
    pub keyframes: u64,
}

pub(crate) struct Publisher {
    number: usize,
    /// Layers, lowest first.
    layers: Vec<Layer>,
    rtp_time: u32,
    /// Transport-wide sequence number, shared by media and retransmissions of all layers.
    transport_seq: u16,
    next_frame: Option<Instant>,
    next_report: Instant,
    window: bool,
    /// Delay of frames behind their due time during the measurement, in nanoseconds.
    lateness: Histogram<u64>,
}

struct Layer {
    generator: FrameGenerator,
    media: SendStream,
    rtx: Option<SendStream>,
    /// Byte budget per frame, and the unused budget of earlier frames: packets are full, so frames
    /// differ by one packet.
    frame_bytes: usize,
    unused_bytes: usize,
    history: VecDeque<SentPacket>,
    keyframe_requested: bool,
    octets: u32,
    stats: LayerStats,
}

struct SentPacket {
    seq: u16,
    rtp_time: u32,
    marker: bool,
    payload: Vec<u8>,
}

impl Publisher {
    /// `ssrcs` are those of the offer, one per offered layer, lowest first. Without simulcast only
    /// the best layer is sent.
    pub(crate) fn new(
        number: usize,
        answer: &Answer,
        ssrcs: &[u32],
        bitrate_kbps: u32,
    ) -> Publisher {
        let offered = MAX_LAYERS - ssrcs.len()..MAX_LAYERS;
        let best_only = [MAX_LAYERS - 1];
        let accepted = if ssrcs.len() > 1 && !answer.layers.is_empty() {
            &answer.layers[..]
        } else {
            &best_only[..]
        };
        let layers = offered
            .zip(ssrcs)
            .filter(|(layer, _)| accepted.contains(layer));
        Publisher {
            number,
            layers: layers
                .map(|(layer, ssrc)| Layer::new(number, layer, answer, *ssrc, bitrate_kbps))
                .collect(),
            rtp_time: rand::random(),
            transport_seq: 0,
            next_frame: None,
            next_report: Instant::now(),
            window: false,
            lateness: latency_histogram(),
        }
    }

    pub(crate) fn open_window(&mut self) {
        self.window = true;
        self.lateness.reset();
        self.layers
            .iter_mut()
            .for_each(|layer| layer.stats.in_window = 0);
    }

    /// Counters by layer, and the delay of frames.
    pub(crate) fn close_window(&mut self) -> (Vec<LayerStats>, &Histogram<u64>) {
        self.window = false;
        (
            self.layers.iter().map(|layer| layer.stats).collect(),
            &self.lateness,
        )
    }

    /// Time of the next frame; `None` before the first call of [`Publisher::handle_timeout`].
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.next_frame
    }

    /// Sends due frames and reports. Returns the number of media packets.
    pub(crate) fn handle_timeout(
        &mut self,
        socket: &Socket,
        session: &mut SrtpSession,
        now: Instant,
    ) -> u64 {
        let due = *self.next_frame.get_or_insert(now);
        if now < due {
            return 0;
        }
        if self.window {
            self.lateness
                .saturating_record((now - due).as_nanos() as u64);
        }
        // A delayed thread catches up frame by frame, like the queue of a camera.
        self.next_frame = Some(due + FRAME_INTERVAL);
        let sent = self.send_frame(socket, &mut session.outbound);
        if now >= self.next_report {
            self.next_report = now + REPORT_INTERVAL;
            self.layers
                .iter()
                .for_each(|layer| layer.report(self.rtp_time, socket, &mut session.outbound));
        }
        sent
    }

    fn send_frame(&mut self, socket: &Socket, outbound: &mut Outbound) -> u64 {
        let (sent_ns, publisher) = (clock::now_ns(), self.number as u16);
        let mut sent = 0;
        for layer in &mut self.layers {
            let stamp = Stamp {
                sent_ns,
                publisher,
                layer: layer.stats.layer as u8,
            };
            let packets = layer.send_frame(
                stamp,
                self.rtp_time,
                &mut self.transport_seq,
                socket,
                outbound,
            );
            layer.stats.packets += packets;
            layer.stats.in_window += if self.window { packets } else { 0 };
            sent += packets;
        }
        self.rtp_time = self.rtp_time.wrapping_add(FRAME_TICKS);
        sent
    }

    /// Handles PLI, FIR and NACK.
    pub(crate) fn handle_rtcp(
        &mut self,
        datagram: &[u8],
        socket: &Socket,
        outbound: &mut Outbound,
    ) {
        for packet in rtcp::parse(datagram) {
            match packet {
                Ok(Rtcp::Pli { media, .. }) => self.request_keyframe(media),
                Ok(Rtcp::Fir(fir)) => fir
                    .entries()
                    .for_each(|entry| self.request_keyframe(entry.media)),
                Ok(Rtcp::Nack(nack)) => {
                    let Some(layer) = self
                        .layers
                        .iter_mut()
                        .find(|layer| layer.media.ssrc == nack.media)
                    else {
                        continue;
                    };
                    nack.lost().for_each(|seq| {
                        layer.retransmit(seq, &mut self.transport_seq, socket, outbound)
                    });
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    fn request_keyframe(&mut self, media: Ssrc) {
        let layers = self
            .layers
            .iter_mut()
            .filter(|layer| layer.media.ssrc == media);
        layers.for_each(|layer| layer.keyframe_requested = true);
    }
}

impl Layer {
    fn new(publisher: usize, layer: usize, answer: &Answer, ssrc: u32, bitrate_kbps: u32) -> Layer {
        let halvings = (MAX_LAYERS - 1 - layer) as u32;
        let named = |id: Option<u8>| id.map(|id| (id, RIDS[layer]));
        let extensions = SendExtensions {
            transport_cc: answer.transport_cc,
            mid: answer.mid,
            rid: named(answer.rid),
        };
        let repair = SendExtensions {
            rid: named(answer.repaired_rid),
            ..extensions
        };
        Layer {
            generator: FrameGenerator::new(halvings),
            media: SendStream::new(ssrc, Answer::PAYLOAD_TYPE, extensions),
            rtx: answer
                .rtx
                .map(|payload_type| SendStream::new(rtx_ssrc(ssrc), payload_type, repair)),
            frame_bytes: (bitrate_kbps * 1000 / 8 / FRAME_RATE) as usize >> (2 * halvings),
            unused_bytes: 0,
            history: VecDeque::with_capacity(HISTORY_PACKETS),
            keyframe_requested: true,
            octets: 0,
            stats: LayerStats {
                publisher,
                layer,
                ..LayerStats::default()
            },
        }
    }

    /// Sends a frame; returns its number of packets.
    fn send_frame(
        &mut self,
        stamp: Stamp,
        rtp_time: u32,
        transport_seq: &mut u16,
        socket: &Socket,
        outbound: &mut Outbound,
    ) -> u64 {
        let keyframe = std::mem::take(&mut self.keyframe_requested);
        self.stats.keyframes += u64::from(keyframe);
        self.unused_bytes += self.frame_bytes;
        let payloads = self
            .generator
            .frame(keyframe, self.unused_bytes / MAX_PAYLOAD, stamp);
        self.unused_bytes = self
            .unused_bytes
            .saturating_sub(payloads.len() * MAX_PAYLOAD);
        let count = payloads.len();
        for (index, payload) in payloads.into_iter().enumerate() {
            let (seq, marker) = (self.media.seq.wire(), index + 1 == count);
            let packet = Packet {
                marker,
                rtp_time,
                transport_seq: next_transport_seq(transport_seq),
                original: None,
                payload: &payload,
            };
            self.media.send(socket, outbound, &packet);
            self.octets = self.octets.wrapping_add(payload.len() as u32);
            if self.history.len() == HISTORY_PACKETS {
                self.history.pop_front();
            }
            self.history.push_back(SentPacket {
                seq,
                rtp_time,
                marker,
                payload,
            });
        }
        count as u64
    }

    fn report(&self, rtp_time: u32, socket: &Socket, outbound: &mut Outbound) {
        let mut buffer = [0; 256];
        let mut compound = Compound::new(&mut buffer);
        let ntp = NtpTime::from_unix(clock::since_epoch());
        let (ssrc, packets) = (self.media.ssrc, self.stats.packets as u32);
        let written = compound
            .sender_report(ssrc, ntp, rtp_time, packets, self.octets, &[])
            .and_then(|()| compound.cname(ssrc, "load"));
        let len = compound.len();
        if let (Ok(()), Some(len)) = (written, outbound.rtcp.protect(&mut buffer, len)) {
            socket.send(&buffer[..len]);
        }
    }

    /// Without RTX in the answer, NACKs are ignored.
    fn retransmit(
        &mut self,
        seq: u16,
        transport_seq: &mut u16,
        socket: &Socket,
        outbound: &mut Outbound,
    ) {
        let Some(rtx) = &mut self.rtx else { return };
        let Some(packet) = self.history.iter().find(|packet| packet.seq == seq) else {
            return;
        };
        let SentPacket {
            rtp_time,
            marker,
            ref payload,
            ..
        } = *packet;
        rtx.send(
            socket,
            outbound,
            &Packet {
                marker,
                rtp_time,
                transport_seq: next_transport_seq(transport_seq),
                original: Some(seq),
                payload,
            },
        );
        self.stats.resent += 1;
    }
}

/// Returns the next transport-wide sequence number.
fn next_transport_seq(transport_seq: &mut u16) -> u16 {
    let taken = *transport_seq;
    *transport_seq = taken.wrapping_add(1);
    taken
}
