//! What a publishing client does: a frame every 33 ms on each layer, keyframes when asked for, lost packets once more.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tongke_plane::ids::Ssrc;
use tongke_plane::rtp::NtpTime;
use tongke_plane::rtp::rtcp::{self, Compound, Rtcp};
use tongke_plane::transport::srtp::{Outbound, SrtpSession};

use super::args::MAX_LAYERS;
use super::clock;
use super::datagrams::Socket;
use super::percentiles::latencies;
use super::picture::{MAX_PAYLOAD, Picture, Stamp};
use super::sdp::{Answer, RIDS, rtx_ssrc};
use super::stream::{Labels, Packet, Stream};

/// Frames a second, and RTP ticks (90 kHz) between them.
const FRAME_RATE: u32 = 30;
const FRAME_TICKS: u32 = 90_000 / FRAME_RATE;
const FRAME_INTERVAL: Duration = Duration::from_nanos(1_000_000_000 / FRAME_RATE as u64);

/// Packets kept to be sent again: 5 s at 1.5 Mbit/s.
const HISTORY: usize = 1024;

/// A sender report a second: recorders need the first one to align tracks.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// What one layer of a publisher did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    pub publisher: usize,
    /// Its place among all layers that there can be.
    pub layer: usize,
    pub packets: u64,
    /// Of them, while it was measured.
    pub in_window: u64,
    pub resent: u64,
    pub keyframes: u64,
}

pub struct Publisher {
    number: usize,
    /// Lowest first.
    layers: Vec<Layer>,
    rtp_time: u32,
    /// The transport-wide number, of media and retransmissions of all layers together.
    transport_seq: u16,
    next_frame: Option<Instant>,
    next_report: Instant,
    window: bool,
    /// How late frames left after they were due, while it was measured, in nanoseconds.
    lateness: Histogram<u64>,
}

struct Layer {
    picture: Picture,
    media: Stream,
    rtx: Option<Stream>,
    /// What every frame is allowed, and what earlier frames have left over: packets are full, so frames differ by one.
    frame_bytes: usize,
    saved_bytes: usize,
    history: VecDeque<Kept>,
    keyframe_wanted: bool,
    octets: u32,
    sent: Sent,
}

struct Kept {
    seq: u16,
    rtp_time: u32,
    marker: bool,
    payload: Vec<u8>,
}

impl Publisher {
    /// `ssrcs` are those of the offer, one for each layer that was offered, lowest first. Without simulcast the best layer goes alone.
    pub fn new(number: usize, answer: &Answer, ssrcs: &[u32], bitrate_kbps: u32) -> Publisher {
        let offered = MAX_LAYERS - ssrcs.len()..MAX_LAYERS;
        let best_alone = [MAX_LAYERS - 1];
        let taken = if ssrcs.len() > 1 && !answer.layers.is_empty() {
            &answer.layers[..]
        } else {
            &best_alone[..]
        };
        let layers = offered
            .zip(ssrcs)
            .filter(|(layer, _)| taken.contains(layer));
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
            lateness: latencies(),
        }
    }

    pub fn open_window(&mut self) {
        self.window = true;
        self.lateness.reset();
        self.layers
            .iter_mut()
            .for_each(|layer| layer.sent.in_window = 0);
    }

    /// What was sent, by layer, and how late frames left.
    pub fn close_window(&mut self) -> (Vec<Sent>, &Histogram<u64>) {
        self.window = false;
        (
            self.layers.iter().map(|layer| layer.sent).collect(),
            &self.lateness,
        )
    }

    /// When [`Publisher::handle_timeout`] has a frame to send; none before it was first asked.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_frame
    }

    /// Sends what is due; how many media packets that were.
    pub fn handle_timeout(
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
        // A thread that was held up catches up frame by frame, as a camera's queue does.
        self.next_frame = Some(due + FRAME_INTERVAL);
        let sent = self.send_frame(socket, &mut session.outbound);
        if now >= self.next_report {
            self.next_report = now + REPORT_EVERY;
            self.layers
                .iter()
                .for_each(|layer| layer.report(self.rtp_time, socket, &mut session.outbound));
        }
        sent
    }

    fn send_frame(&mut self, socket: &Socket, seal: &mut Outbound) -> u64 {
        let (sent_ns, publisher) = (clock::now_ns(), self.number as u16);
        let mut sent = 0;
        for layer in &mut self.layers {
            let stamp = Stamp {
                sent_ns,
                publisher,
                layer: layer.sent.layer as u8,
            };
            let packets =
                layer.send_frame(stamp, self.rtp_time, &mut self.transport_seq, socket, seal);
            layer.sent.packets += packets;
            layer.sent.in_window += if self.window { packets } else { 0 };
            sent += packets;
        }
        self.rtp_time = self.rtp_time.wrapping_add(FRAME_TICKS);
        sent
    }

    /// What the server reports or asks for.
    pub fn handle_rtcp(&mut self, datagram: &[u8], socket: &Socket, seal: &mut Outbound) {
        for packet in rtcp::parse(datagram) {
            match packet {
                Ok(Rtcp::Pli { media, .. }) => self.want_keyframe(media),
                Ok(Rtcp::Fir(fir)) => fir
                    .entries()
                    .for_each(|entry| self.want_keyframe(entry.media)),
                Ok(Rtcp::Nack(nack)) => {
                    let Some(layer) = self
                        .layers
                        .iter_mut()
                        .find(|layer| layer.media.ssrc == nack.media)
                    else {
                        continue;
                    };
                    nack.lost()
                        .for_each(|seq| layer.resend(seq, &mut self.transport_seq, socket, seal));
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    fn want_keyframe(&mut self, media: Ssrc) {
        let asked = self
            .layers
            .iter_mut()
            .filter(|layer| layer.media.ssrc == media);
        asked.for_each(|layer| layer.keyframe_wanted = true);
    }
}

impl Layer {
    fn new(publisher: usize, layer: usize, answer: &Answer, ssrc: u32, bitrate_kbps: u32) -> Layer {
        let halvings = (MAX_LAYERS - 1 - layer) as u32;
        let named = |id: Option<u8>| id.map(|id| (id, RIDS[layer]));
        let labels = Labels {
            transport_cc: answer.transport_cc,
            mid: answer.mid,
            rid: named(answer.rid),
        };
        let repair = Labels {
            rid: named(answer.repaired_rid),
            ..labels
        };
        Layer {
            picture: Picture::new(halvings),
            media: Stream::new(ssrc, Answer::PAYLOAD_TYPE, labels),
            rtx: answer
                .rtx
                .map(|payload_type| Stream::new(rtx_ssrc(ssrc), payload_type, repair)),
            frame_bytes: (bitrate_kbps * 1000 / 8 / FRAME_RATE) as usize >> (2 * halvings),
            saved_bytes: 0,
            history: VecDeque::with_capacity(HISTORY),
            keyframe_wanted: true,
            octets: 0,
            sent: Sent {
                publisher,
                layer,
                ..Sent::default()
            },
        }
    }

    /// How many packets the frame had.
    fn send_frame(
        &mut self,
        stamp: Stamp,
        rtp_time: u32,
        transport_seq: &mut u16,
        socket: &Socket,
        seal: &mut Outbound,
    ) -> u64 {
        let keyframe = std::mem::take(&mut self.keyframe_wanted);
        self.sent.keyframes += u64::from(keyframe);
        self.saved_bytes += self.frame_bytes;
        let payloads = self
            .picture
            .frame(keyframe, self.saved_bytes / MAX_PAYLOAD, stamp);
        self.saved_bytes = self
            .saved_bytes
            .saturating_sub(payloads.len() * MAX_PAYLOAD);
        let count = payloads.len();
        for (index, payload) in payloads.into_iter().enumerate() {
            let (seq, marker) = (self.media.seq.wire(), index + 1 == count);
            let packet = Packet {
                marker,
                rtp_time,
                transport_seq: take(transport_seq),
                original: None,
                payload: &payload,
            };
            self.media.send(socket, seal, &packet);
            self.octets = self.octets.wrapping_add(payload.len() as u32);
            if self.history.len() == HISTORY {
                self.history.pop_front();
            }
            self.history.push_back(Kept {
                seq,
                rtp_time,
                marker,
                payload,
            });
        }
        count as u64
    }

    fn report(&self, rtp_time: u32, socket: &Socket, seal: &mut Outbound) {
        let mut buffer = [0; 256];
        let mut compound = Compound::new(&mut buffer);
        let ntp = NtpTime::from_unix(clock::since_epoch());
        let (ssrc, packets) = (self.media.ssrc, self.sent.packets as u32);
        let written = compound
            .sender_report(ssrc, ntp, rtp_time, packets, self.octets, &[])
            .and_then(|()| compound.cname(ssrc, "load"));
        let len = compound.len();
        if let (Ok(()), Some(len)) = (written, seal.rtcp.protect(&mut buffer, len)) {
            socket.send(&buffer[..len]);
        }
    }

    /// A server that took no RTX asks in vain.
    fn resend(&mut self, seq: u16, transport_seq: &mut u16, socket: &Socket, seal: &mut Outbound) {
        let Some(rtx) = &mut self.rtx else { return };
        let Some(kept) = self.history.iter().find(|kept| kept.seq == seq) else {
            return;
        };
        let Kept {
            rtp_time,
            marker,
            ref payload,
            ..
        } = *kept;
        rtx.send(
            socket,
            seal,
            &Packet {
                marker,
                rtp_time,
                transport_seq: take(transport_seq),
                original: Some(seq),
                payload,
            },
        );
        self.sent.resent += 1;
    }
}

/// The next transport-wide number.
fn take(transport_seq: &mut u16) -> u16 {
    let taken = *transport_seq;
    *transport_seq = taken.wrapping_add(1);
    taken
}
