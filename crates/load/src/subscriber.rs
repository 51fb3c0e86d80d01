//! What a receiving client does: counts every packet, opens some, reads the stamps, asks for what was lost, and reports to the server.

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
use super::arrivals::{Arrivals, Came, FirstPicture};
use super::datagrams::Socket;
use super::picture::stamp_in;
use super::sdp::Answer;
use super::sightings::Sightings;

/// Of the packets within a frame, whose content nobody reads, one in so many is opened all the same: the keys must still be right.
const SPOT_CHECK: u64 = 64;

/// A receiver report a second (RFC 3550 §6.2 asks for no more of a small session).
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// A keyframe is asked for this often while one is needed.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Numbers that one NACK asks for.
const NACK_BATCH: usize = 64;

/// What a subscriber saw. Counters are of the window unless they say otherwise.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// From the offer's POST until the keys were there.
    pub joined_after: Option<Duration>,
    /// From the offer's POST until a whole keyframe was there.
    pub showed_after: Option<Duration>,
    /// It joined while the others were measured; then only its joining counts.
    pub late: bool,
    /// Sequence numbers that passed; how many came by themselves, and how many only after they had been asked for.
    pub expected: u64,
    pub packets: u64,
    pub repaired: u64,
    pub bytes: u64,
    pub reordered: u64,
    /// Packets that came once more than they were needed.
    pub in_vain: u64,
    /// Retransmissions that came, and numbers that were asked for.
    pub retransmitted: u64,
    pub asked_again: u64,
    pub given_up: u64,
    /// Thrown away as if the line had lost them.
    pub discarded: u64,
    /// Of the whole run: packets that could not be authenticated.
    pub refused: u64,
    /// Frames of each layer, and how often one followed another's.
    pub frames: [u64; MAX_LAYERS],
    pub layer_changes: u64,
}

/// How a subscriber behaves.
#[derive(Clone, Copy)]
pub struct Manner {
    /// The share of packets that its line loses.
    pub loss: f64,
    pub asks_again: bool,
}

pub struct Subscriber {
    manner: Manner,
    begun: Instant,
    ssrc: Ssrc,
    rtx: Option<u8>,
    extensions: ExtensionIds,
    feedback: Option<FeedbackGenerator>,
    stream: Option<Arrivals>,
    first_picture: FirstPicture,
    layer: Option<u8>,
    next_report: Instant,
    next_ask: Instant,
    /// Something was lost for good: only a keyframe mends the picture.
    broken: bool,
    chance: SmallRng,
    window: bool,
    seen: Seen,
}

/// A datagram as it came.
pub struct Datagram<'a> {
    pub bytes: &'a mut [u8],
    /// When the kernel had it, in nanoseconds since 1970.
    pub arrived_ns: u64,
    pub now: Instant,
}

impl Subscriber {
    pub fn new(answer: &Answer, manner: Manner, begun: Instant) -> Subscriber {
        Subscriber {
            manner,
            begun,
            ssrc: Ssrc(rand::random()),
            rtx: answer.rtx,
            extensions: ExtensionIds {
                transport_cc: answer.transport_cc,
                ..ExtensionIds::default()
            },
            feedback: answer.transport_cc.map(|_| FeedbackGenerator::new(begun)),
            stream: None,
            first_picture: FirstPicture::default(),
            layer: None,
            next_report: begun + REPORT_EVERY,
            next_ask: begun + ASK_EVERY,
            broken: false,
            chance: SmallRng::from_os_rng(),
            window: false,
            seen: Seen::default(),
        }
    }

    pub fn connected(&mut self, now: Instant) {
        self.seen.joined_after = Some(now - self.begun);
    }

    pub fn shows(&self) -> bool {
        self.seen.showed_after.is_some()
    }

    /// For those of its first picture, or for those that it has asked for or soon will.
    pub fn waits_for_packets(&self) -> bool {
        !self.shows() || self.broken || self.asks_again_at().is_some()
    }

    /// When a number that is missing is to be asked for.
    fn asks_again_at(&self) -> Option<Instant> {
        self.stream
            .as_ref()
            .filter(|_| self.manner.asks_again)
            .and_then(|stream| stream.missing.poll_timeout())
    }

    /// When [`Subscriber::handle_timeout`] has something to send; none before media comes.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.stream.as_ref()?;
        let keyframe = (!self.shows() || self.broken).then_some(self.next_ask);
        let feedback = self
            .feedback
            .as_ref()
            .and_then(FeedbackGenerator::poll_timeout);
        [
            Some(self.next_report),
            keyframe,
            feedback,
            self.asks_again_at(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// It came while the others were already being measured.
    pub fn comes_late(&mut self) {
        self.seen.late = true;
    }

    pub fn open_window(&mut self) {
        let Seen {
            joined_after,
            showed_after,
            refused,
            ..
        } = self.seen;
        self.seen = Seen {
            joined_after,
            showed_after,
            refused,
            ..Seen::default()
        };
        self.window = true;
        if let Some(stream) = &mut self.stream {
            stream.open_window();
        }
    }

    /// What was seen since the window opened.
    pub fn close_window(&mut self) -> Seen {
        self.window = false;
        self.seen.expected = self.stream.as_ref().map_or(0, Arrivals::expected);
        self.seen.clone()
    }

    /// One sealed RTP packet.
    pub fn handle_rtp(
        &mut self,
        datagram: Datagram<'_>,
        session: &mut SrtpSession,
        sightings: &mut Sightings,
    ) {
        if self.manner.loss > 0.0 && self.chance.random_bool(self.manner.loss) {
            self.seen.discarded += u64::from(self.window);
            return;
        }
        let now = datagram.now;
        if let Some((packet, seq)) = self.passes_unopened(datagram.bytes) {
            self.note_arrival(&packet, now);
            self.count(&packet, seq, now);
            return;
        }
        let opened = match session.inbound.unprotect_rtp(datagram.bytes) {
            Ok(opened) => opened,
            Err(_) => return self.seen.refused += 1,
        };
        let Ok(packet) = RtpPacket::parse(&datagram.bytes[..opened.len]) else {
            return self.seen.refused += 1;
        };
        self.note_arrival(&packet, now);
        if packet.payload_type() == Answer::PAYLOAD_TYPE {
            self.handle_media(&packet, opened.seq, datagram.arrived_ns, now, sightings);
        } else if self.rtx == Some(packet.payload_type()) {
            self.handle_retransmission(&packet, now);
        }
    }

    /// A packet that goes on where the one before ended, within a frame: all that is counted of it stands in its header, which SRTP leaves
    /// readable (RFC 3711 §3.1). So the generator spends less than the server that it measures.
    fn passes_unopened<'p>(&self, datagram: &'p [u8]) -> Option<(RtpPacket<'p>, SeqNo)> {
        let stream = self.stream.as_ref().filter(|_| self.shows())?;
        // The length of padding is encrypted.
        let packet = RtpPacket::parse(datagram)
            .ok()
            .filter(|_| datagram[0] & 0x20 == 0)?;
        let next = stream
            .going_on(&packet)
            .filter(|_| packet.payload_type() == Answer::PAYLOAD_TYPE)?;
        (!next.0.is_multiple_of(SPOT_CHECK)).then_some((packet, next))
    }

    fn note_arrival(&mut self, packet: &RtpPacket<'_>, now: Instant) {
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
        let mut stream = same.unwrap_or_else(|| Arrivals::beginning(packet.ssrc(), seq));
        let came = stream.media(packet, seq, now);
        self.stream = Some(stream);
        self.broken |= came == Came::Jumped;
        if !self.window {
            return;
        }
        self.seen.bytes += packet.bytes().len() as u64;
        match came {
            Came::Ahead | Came::Jumped => self.seen.packets += 1,
            Came::Late => {
                self.seen.packets += 1;
                self.seen.reordered += 1;
            }
            // A server without a retransmission format sends the packet itself again.
            Came::Repaired => self.seen.repaired += 1,
            Came::InVain => self.seen.in_vain += 1,
        }
    }

    fn handle_media(
        &mut self,
        packet: &RtpPacket<'_>,
        seq: SeqNo,
        arrived_ns: u64,
        now: Instant,
        sightings: &mut Sightings,
    ) {
        self.count(packet, seq, now);
        self.watch(packet, packet.payload(), seq, now);
        let Some(stamp) = stamp_in(packet.payload()) else {
            return;
        };
        if self.window && !self.seen.late {
            sightings.saw(stamp, arrived_ns.saturating_sub(stamp.sent_ns));
            let changed = self.layer.is_some_and(|layer| layer != stamp.layer);
            self.seen.layer_changes += u64::from(changed);
            if let Some(frames) = self.seen.frames.get_mut(usize::from(stamp.layer)) {
                *frames += 1;
            }
        }
        self.layer = Some(stamp.layer);
    }

    /// RFC 4588 §4. One without content probes the line.
    fn handle_retransmission(&mut self, packet: &RtpPacket<'_>, now: Instant) {
        let (Some((wire, payload)), Some(stream)) =
            (rtx::original(packet.payload()), &mut self.stream)
        else {
            return;
        };
        let (seq, came) = stream.retransmission(wire, now);
        if self.window {
            self.seen.retransmitted += 1;
            match came {
                Came::InVain => self.seen.in_vain += 1,
                Came::Ahead | Came::Jumped | Came::Late | Came::Repaired => self.seen.repaired += 1,
            }
        }
        self.watch(packet, payload, seq, now);
    }

    /// Whether the first keyframe has become whole.
    fn watch(&mut self, packet: &RtpPacket<'_>, payload: &[u8], seq: SeqNo, now: Instant) {
        if !self.shows() && self.first_picture.take(packet, payload, seq) {
            self.seen.showed_after = Some(now - self.begun);
            self.first_picture = FirstPicture::default();
        }
    }

    /// The server's clock, for the round trip that it reads from our reports.
    pub fn handle_rtcp(&mut self, datagram: &[u8], now: Instant) {
        for packet in rtcp::parse(datagram).flatten() {
            if let (Rtcp::SenderReport(report), Some(stream)) = (packet, &mut self.stream)
                && report.ssrc == stream.ssrc
            {
                stream.reception.sender_report(report.ntp, now);
            }
        }
    }

    /// Sends what is due: NACKs, requests for a keyframe, feedback, reports. How many packets it asked for again.
    pub fn handle_timeout(&mut self, socket: &Socket, seal: &mut Outbound, now: Instant) -> u64 {
        let Some(stream) = &self.stream else { return 0 };
        let (ours, media) = (self.ssrc, stream.ssrc);
        let asked = if self.manner.asks_again {
            self.ask_again(socket, seal, now)
        } else {
            0
        };
        if (!self.shows() || self.broken) && now >= self.next_ask {
            (self.next_ask, self.broken) = (now + ASK_EVERY, false);
            send(socket, seal, |compound| compound.pli(ours, media).is_ok());
        }
        if let Some(feedback) = self
            .feedback
            .as_mut()
            .filter(|feedback| feedback.is_due(now))
        {
            send(socket, seal, |compound| {
                feedback.write(ours, media, compound, now).is_ok()
            });
        }
        if now >= self.next_report {
            self.next_report = now + REPORT_EVERY;
            let block = self
                .stream
                .as_mut()
                .and_then(|stream| stream.reception.report(now));
            send(socket, seal, |compound| {
                compound.receiver_report(ours, block.as_slice()).is_ok()
            });
        }
        asked
    }

    fn ask_again(&mut self, socket: &Socket, seal: &mut Outbound, now: Instant) -> u64 {
        let Some(stream) = &mut self.stream else {
            return 0;
        };
        let mut missing = [SeqNo(0); NACK_BATCH];
        let polled = stream.missing.poll(now, &mut missing);
        if polled.requested > 0 {
            let lost = missing[..polled.requested].iter().map(|seq| seq.wire());
            send(socket, seal, |compound| {
                compound.nack(self.ssrc, stream.ssrc, lost).is_ok()
            });
        }
        self.broken |= polled.given_up > 0;
        if self.window {
            self.seen.asked_again += polled.requested as u64;
            self.seen.given_up += polled.given_up as u64;
        }
        polled.requested as u64
    }
}

fn send(socket: &Socket, seal: &mut Outbound, write: impl FnOnce(&mut Compound<'_>) -> bool) {
    let mut buffer = [0; 1400];
    // The trailer of SRTCP needs its room behind what is written.
    let mut compound = Compound::new(&mut buffer[..1300]);
    if !write(&mut compound) || compound.is_empty() {
        return;
    }
    let len = compound.len();
    if let Some(len) = seal.rtcp.protect(&mut buffer, len) {
        socket.send(&buffer[..len]);
    }
}
