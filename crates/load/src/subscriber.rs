//! A receiving client: counts all packets, decrypts some, reads stamps, sends NACKs and reports.

use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tongke_plane::ids::Ssrc;
use tongke_plane::publish::twcc::FeedbackGenerator;
use tongke_plane::rtp::payload::rtx;
use tongke_plane::rtp::rtcp::{self, Compound, Rtcp};
use tongke_plane::rtp::{Extensions, RtpPacket};
use tongke_plane::sdp::ExtensionIds;
use tongke_plane::transport::srtp::{Outbound, SrtpSession};
use tongke_plane::units::SeqNo;

use super::args::MAX_LAYERS;
use super::h264::read_stamp;
use super::latency::Latencies;
use super::receive_stream::{FirstKeyframe, ReceiveStream, Reception};
use super::sdp::Answer;
use super::socket::Socket;

/// Share of packets within a frame that are decrypted although nobody reads them: one in 64, to
/// verify the keys.
const SPOT_CHECK_INTERVAL: u64 = 64;

/// Interval of receiver reports (RFC 3550 §6.2 requires no more in a small session).
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Interval of keyframe requests while one is needed.
const PLI_INTERVAL: Duration = Duration::from_millis(500);

/// Sequence numbers per NACK.
const NACK_BATCH: usize = 64;

/// Counters of a subscriber, of the window unless stated otherwise.
#[derive(Clone, Debug, Default)]
pub(crate) struct SubscriberStats {
    /// Time from the POST of the offer to the completed handshake.
    pub connected_after: Option<Duration>,
    /// Time from the POST of the offer to the first complete keyframe.
    pub keyframe_after: Option<Duration>,
    /// True if it joined during the measurement; then only its join times count.
    pub late: bool,
    /// Sequence numbers passed, packets received without a NACK, and those received after one.
    pub expected: u64,
    pub packets: u64,
    pub repaired: u64,
    pub bytes: u64,
    pub reordered: u64,
    /// Duplicates.
    pub duplicates: u64,
    /// Retransmissions received, and sequence numbers requested.
    pub retransmitted: u64,
    pub requested: u64,
    pub given_up: u64,
    /// Dropped by `--drop`.
    pub discarded: u64,
    /// Packets that failed authentication, in the whole run.
    pub refused: u64,
    /// Frames by layer, and changes of the layer.
    pub frames: [u64; MAX_LAYERS],
    pub layer_changes: u64,
}

/// Behaviour of a subscriber.
#[derive(Clone, Copy)]
pub(crate) struct Behaviour {
    /// Share of packets dropped on purpose.
    pub loss: f64,
    pub sends_nacks: bool,
}

pub(crate) struct Subscriber {
    behaviour: Behaviour,
    begun: Instant,
    ssrc: Ssrc,
    rtx: Option<u8>,
    extensions: ExtensionIds,
    feedback: Option<FeedbackGenerator>,
    stream: Option<ReceiveStream>,
    first_keyframe: FirstKeyframe,
    layer: Option<u8>,
    next_report: Instant,
    next_pli: Instant,
    /// True after an unrecoverable loss: a keyframe is needed.
    needs_keyframe: bool,
    rng: SmallRng,
    window: bool,
    stats: SubscriberStats,
}

/// A received datagram.
pub(crate) struct Datagram<'a> {
    pub bytes: &'a mut [u8],
    /// Arrival time by the kernel, in nanoseconds since 1970.
    pub arrived_ns: u64,
    pub now: Instant,
}

impl Subscriber {
    pub(crate) fn new(answer: &Answer, behaviour: Behaviour, begun: Instant) -> Subscriber {
        Subscriber {
            behaviour,
            begun,
            ssrc: Ssrc(rand::random()),
            rtx: answer.rtx,
            extensions: ExtensionIds {
                transport_cc: answer.transport_cc,
                ..ExtensionIds::default()
            },
            feedback: answer.transport_cc.map(|_| FeedbackGenerator::new(begun)),
            stream: None,
            first_keyframe: FirstKeyframe::default(),
            layer: None,
            next_report: begun + REPORT_INTERVAL,
            next_pli: begun + PLI_INTERVAL,
            needs_keyframe: false,
            rng: SmallRng::from_os_rng(),
            window: false,
            stats: SubscriberStats::default(),
        }
    }

    pub(crate) fn connected(&mut self, now: Instant) {
        self.stats.connected_after = Some(now - self.begun);
    }

    pub(crate) fn has_keyframe(&self) -> bool {
        self.stats.keyframe_after.is_some()
    }

    /// True while the first keyframe or a retransmission is awaited.
    pub(crate) fn awaits_packets(&self) -> bool {
        !self.has_keyframe() || self.needs_keyframe || self.next_nack().is_some()
    }

    /// Time of the next NACK.
    fn next_nack(&self) -> Option<Instant> {
        self.stream
            .as_ref()
            .filter(|_| self.behaviour.sends_nacks)
            .and_then(|stream| stream.missing.poll_timeout())
    }

    /// Time at which [`Subscriber::handle_timeout`] has something to send; `None` before the first
    /// media packet.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.stream.as_ref()?;
        let keyframe = (!self.has_keyframe() || self.needs_keyframe).then_some(self.next_pli);
        let feedback = self
            .feedback
            .as_ref()
            .and_then(FeedbackGenerator::poll_timeout);
        [Some(self.next_report), keyframe, feedback, self.next_nack()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Marks a subscriber that joined during the measurement.
    pub(crate) fn mark_late(&mut self) {
        self.stats.late = true;
    }

    pub(crate) fn open_window(&mut self) {
        let SubscriberStats {
            connected_after,
            keyframe_after,
            refused,
            ..
        } = self.stats;
        self.stats = SubscriberStats {
            connected_after,
            keyframe_after,
            refused,
            ..SubscriberStats::default()
        };
        self.window = true;
        if let Some(stream) = &mut self.stream {
            stream.open_window();
        }
    }

    /// Returns the counters since the window opened.
    pub(crate) fn close_window(&mut self) -> SubscriberStats {
        self.window = false;
        self.stats.expected = self.stream.as_ref().map_or(0, ReceiveStream::expected);
        self.stats.clone()
    }

    /// Handles an SRTP packet.
    pub(crate) fn handle_rtp(
        &mut self,
        datagram: Datagram<'_>,
        session: &mut SrtpSession,
        latencies: &mut Latencies,
    ) {
        if self.behaviour.loss > 0.0 && self.rng.random_bool(self.behaviour.loss) {
            self.stats.discarded += u64::from(self.window);
            return;
        }
        let now = datagram.now;
        if let Some((packet, seq)) = self.skip_decryption(datagram.bytes) {
            self.record_arrival(&packet, now);
            self.count(&packet, seq, now);
            return;
        }
        let unprotected = match session.inbound.unprotect_rtp(datagram.bytes) {
            Ok(unprotected) => unprotected,
            Err(_) => return self.stats.refused += 1,
        };
        let Ok(packet) = RtpPacket::parse(&datagram.bytes[..unprotected.len]) else {
            return self.stats.refused += 1;
        };
        self.record_arrival(&packet, now);
        if packet.payload_type() == Answer::PAYLOAD_TYPE {
            self.handle_media(
                &packet,
                unprotected.seq,
                datagram.arrived_ns,
                now,
                latencies,
            );
        } else if self.rtx == Some(packet.payload_type()) {
            self.handle_retransmission(&packet, now);
        }
    }

    /// Returns a packet that follows its predecessor within a frame. Its header, which SRTP leaves
    /// in clear (RFC 3711 §3.1), is all that counting needs. Skipping decryption keeps the
    /// generator cheaper than the server that it measures.
    fn skip_decryption<'p>(&self, datagram: &'p [u8]) -> Option<(RtpPacket<'p>, SeqNo)> {
        let stream = self.stream.as_ref().filter(|_| self.has_keyframe())?;
        // The padding length is encrypted.
        let packet = RtpPacket::parse(datagram)
            .ok()
            .filter(|_| datagram[0] & 0x20 == 0)?;
        let next = stream
            .next_in_frame(&packet)
            .filter(|_| packet.payload_type() == Answer::PAYLOAD_TYPE)?;
        (!next.0.is_multiple_of(SPOT_CHECK_INTERVAL)).then_some((packet, next))
    }

    fn record_arrival(&mut self, packet: &RtpPacket<'_>, now: Instant) {
        let extensions = Extensions::read(packet.elements(), &self.extensions);
        if let (Some(feedback), Some(number)) = (&mut self.feedback, extensions.transport_cc) {
            feedback.received(number, now);
        }
    }

    fn count(&mut self, packet: &RtpPacket<'_>, seq: SeqNo, now: Instant) {
        let same = self
            .stream
            .take()
            .filter(|stream| stream.ssrc == packet.ssrc());
        let mut stream = same.unwrap_or_else(|| ReceiveStream::new(packet.ssrc(), seq));
        let reception = stream.media(packet, seq, now);
        self.stream = Some(stream);
        self.needs_keyframe |= reception == Reception::Jump;
        if !self.window {
            return;
        }
        self.stats.bytes += packet.bytes().len() as u64;
        match reception {
            Reception::Newest | Reception::Jump => self.stats.packets += 1,
            Reception::OutOfOrder => {
                self.stats.packets += 1;
                self.stats.reordered += 1;
            }
            // Without RTX a server retransmits in the media stream.
            Reception::Recovered => self.stats.repaired += 1,
            Reception::Duplicate => self.stats.duplicates += 1,
        }
    }

    fn handle_media(
        &mut self,
        packet: &RtpPacket<'_>,
        seq: SeqNo,
        arrived_ns: u64,
        now: Instant,
        latencies: &mut Latencies,
    ) {
        self.count(packet, seq, now);
        self.watch_keyframe(packet, packet.payload(), seq, now);
        let Some(stamp) = read_stamp(packet.payload()) else {
            return;
        };
        if self.window && !self.stats.late {
            latencies.record(stamp, arrived_ns.saturating_sub(stamp.sent_ns));
            let changed = self.layer.is_some_and(|layer| layer != stamp.layer);
            self.stats.layer_changes += u64::from(changed);
            if let Some(frames) = self.stats.frames.get_mut(usize::from(stamp.layer)) {
                *frames += 1;
            }
        }
        self.layer = Some(stamp.layer);
    }

    /// Handles a retransmission (RFC 4588 §4). One without payload is probe padding.
    fn handle_retransmission(&mut self, packet: &RtpPacket<'_>, now: Instant) {
        let (Some((wire, payload)), Some(stream)) =
            (rtx::original(packet.payload()), &mut self.stream)
        else {
            return;
        };
        let (seq, reception) = stream.retransmission(wire, now);
        if self.window {
            self.stats.retransmitted += 1;
            match reception {
                Reception::Duplicate => self.stats.duplicates += 1,
                Reception::Newest
                | Reception::Jump
                | Reception::OutOfOrder
                | Reception::Recovered => self.stats.repaired += 1,
            }
        }
        self.watch_keyframe(packet, payload, seq, now);
    }

    /// Detects the first complete keyframe.
    fn watch_keyframe(&mut self, packet: &RtpPacket<'_>, payload: &[u8], seq: SeqNo, now: Instant) {
        if !self.has_keyframe() && self.first_keyframe.add(packet, payload, seq) {
            self.stats.keyframe_after = Some(now - self.begun);
            self.first_keyframe = FirstKeyframe::default();
        }
    }

    /// Records sender reports for the round-trip time that the server derives from our reports.
    pub(crate) fn handle_rtcp(&mut self, datagram: &[u8], now: Instant) {
        for packet in rtcp::parse(datagram).flatten() {
            if let (Rtcp::SenderReport(report), Some(stream)) = (packet, &mut self.stream)
                && report.ssrc == stream.ssrc
            {
                stream.reception.sender_report(report.ntp, now);
            }
        }
    }

    /// Sends due NACKs, keyframe requests, feedback and reports. Returns the number of requested
    /// packets.
    pub(crate) fn handle_timeout(
        &mut self,
        socket: &Socket,
        outbound: &mut Outbound,
        now: Instant,
    ) -> u64 {
        let Some(stream) = &self.stream else { return 0 };
        let (ours, media) = (self.ssrc, stream.ssrc);
        let requested = if self.behaviour.sends_nacks {
            self.send_nack(socket, outbound, now)
        } else {
            0
        };
        if (!self.has_keyframe() || self.needs_keyframe) && now >= self.next_pli {
            (self.next_pli, self.needs_keyframe) = (now + PLI_INTERVAL, false);
            send(socket, outbound, |compound| {
                compound.pli(ours, media).is_ok()
            });
        }
        if let Some(feedback) = self
            .feedback
            .as_mut()
            .filter(|feedback| feedback.is_due(now))
        {
            send(socket, outbound, |compound| {
                feedback.write(ours, media, compound, now).is_ok()
            });
        }
        if now >= self.next_report {
            self.next_report = now + REPORT_INTERVAL;
            let block = self
                .stream
                .as_mut()
                .and_then(|stream| stream.reception.report(now));
            send(socket, outbound, |compound| {
                compound.receiver_report(ours, block.as_slice()).is_ok()
            });
        }
        requested
    }

    fn send_nack(&mut self, socket: &Socket, outbound: &mut Outbound, now: Instant) -> u64 {
        let Some(stream) = &mut self.stream else {
            return 0;
        };
        let mut missing = [SeqNo(0); NACK_BATCH];
        let polled = stream.missing.poll(now, &mut missing);
        if polled.requested > 0 {
            let lost = missing[..polled.requested].iter().map(|seq| seq.wire());
            send(socket, outbound, |compound| {
                compound.nack(self.ssrc, stream.ssrc, lost).is_ok()
            });
        }
        self.needs_keyframe |= polled.given_up > 0;
        if self.window {
            self.stats.requested += polled.requested as u64;
            self.stats.given_up += polled.given_up as u64;
        }
        polled.requested as u64
    }
}

fn send(socket: &Socket, outbound: &mut Outbound, write: impl FnOnce(&mut Compound<'_>) -> bool) {
    let mut buffer = [0; 1400];
    // Leaves space for the SRTCP trailer.
    let mut compound = Compound::new(&mut buffer[..1300]);
    if !write(&mut compound) || compound.is_empty() {
        return;
    }
    let len = compound.len();
    if let Some(len) = outbound.rtcp.protect(&mut buffer, len) {
        socket.send(&buffer[..len]);
    }
}
