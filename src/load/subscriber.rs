//! What a receiving client does: opens every packet, counts, reads the stamps, and reports arrival to the server.

use std::time::{Duration, Instant};

use tongke_plane::ids::Ssrc;
use tongke_plane::publish::twcc::FeedbackGenerator;
use tongke_plane::rtp::rtcp::{Compound, ReportBlock};
use tongke_plane::rtp::{Extensions, RtpPacket};
use tongke_plane::sdp::ExtensionIds;
use tongke_plane::transport::srtp::{Outbound, SrtpSession};
use tongke_plane::units::SeqNo;

use super::datagrams::Socket;
use super::http::Answer;
use super::measure;
use super::picture::stamp_in;

/// Of the packets within a frame, whose content nobody reads, one in so many is opened all the same: the keys must still be right.
const SPOT_CHECK: u64 = 64;

/// A receiver report a second (RFC 3550 §6.2 asks for no more of a small session).
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// One frame's first packet as one subscriber saw it.
#[derive(Clone, Copy, Debug)]
pub struct Sighting {
    pub stamp_ns: u64,
    pub seen_ns: u64,
}

/// What a subscriber saw. Counters are of the window unless they say otherwise.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// From the offer's POST until the keys were there.
    pub joined_after: Option<Duration>,
    /// From the offer's POST until a whole keyframe was there.
    pub showed_after: Option<Duration>,
    pub packets: u64,
    pub bytes: u64,
    /// It joined while the others were measured; then only its joining counts.
    pub late: bool,
    /// Sequence numbers that passed, and how many packets came with them.
    pub expected: u64,
    pub reordered: u64,
    pub retransmitted: u64,
    /// Of the whole run: packets that could not be authenticated, or came twice.
    pub refused: u64,
    pub sightings: Vec<Sighting>,
}

pub struct Subscriber {
    begun: Instant,
    ssrc: Ssrc,
    extensions: ExtensionIds,
    feedback: Option<FeedbackGenerator>,
    stream: Option<Stream>,
    next_report: Instant,
    window: bool,
    pub seen: Seen,
}

/// The media stream that comes in.
struct Stream {
    ssrc: Ssrc,
    highest: SeqNo,
    /// The highest number before the window opened.
    window_start: Option<SeqNo>,
    /// Of the whole run, for receiver reports.
    first: SeqNo,
    received: u64,
    reported_expected: u64,
    reported_received: u64,
    /// The last packet was the last of its frame.
    frame_over: bool,
    /// The next number of a keyframe that has been whole so far.
    keyframe_next: Option<SeqNo>,
}

impl Subscriber {
    pub fn new(answer: &Answer, begun: Instant) -> Subscriber {
        Subscriber {
            begun,
            ssrc: Ssrc(rand::random()),
            extensions: ExtensionIds { transport_cc: answer.transport_cc, ..ExtensionIds::default() },
            feedback: answer.transport_cc.map(|_| FeedbackGenerator::new(begun)),
            stream: None,
            next_report: begun + REPORT_EVERY,
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

    pub fn open_window(&mut self) {
        self.window = true;
        if let Some(stream) = &mut self.stream {
            stream.window_start = Some(stream.highest);
        }
    }

    pub fn close_window(&mut self) {
        if let Some(stream) = self.stream.as_ref().filter(|_| self.window) {
            self.seen.expected = stream.window_start.map_or(0, |start| stream.highest - start);
        }
        self.window = false;
    }

    /// One sealed RTP packet.
    pub fn handle_rtp(&mut self, datagram: &mut [u8], session: &mut SrtpSession, now: Instant) {
        if let Some((packet, seq)) = self.passes_unopened(datagram) {
            self.note_arrival(&packet, now);
            return self.count(&packet, seq, datagram_len(&packet));
        }
        let opened = match session.inbound.unprotect_rtp(datagram) {
            Ok(opened) => opened,
            Err(_) => return self.seen.refused += 1,
        };
        let Ok(packet) = RtpPacket::parse(&datagram[..opened.len]) else { return self.seen.refused += 1 };
        self.note_arrival(&packet, now);
        if packet.payload_type() != Answer::PAYLOAD_TYPE {
            self.seen.retransmitted += u64::from(self.window && !packet.payload().is_empty());
            return;
        }
        self.count(&packet, opened.seq, datagram_len(&packet));
        self.read(&packet, opened.seq, now);
    }

    /// A packet that goes on where the one before ended, within a frame: all that is counted of it stands in its header, which SRTP leaves
    /// readable (RFC 3711 §3.1). So the generator spends less than the server that it measures.
    fn passes_unopened<'p>(&self, datagram: &'p [u8]) -> Option<(RtpPacket<'p>, SeqNo)> {
        let stream = self.stream.as_ref().filter(|stream| self.shows() && !stream.frame_over)?;
        // The length of padding is encrypted.
        let packet = RtpPacket::parse(datagram).ok().filter(|_| datagram[0] & 0x20 == 0)?;
        let next = stream.highest.next();
        let goes_on = packet.ssrc() == stream.ssrc && packet.payload_type() == Answer::PAYLOAD_TYPE;
        (goes_on && packet.seq() == next.wire() && !next.0.is_multiple_of(SPOT_CHECK)).then_some((packet, next))
    }

    fn note_arrival(&mut self, packet: &RtpPacket<'_>, now: Instant) {
        let extensions = Extensions::read(packet.elements(), &self.extensions);
        if let (Some(feedback), Some(number)) = (&mut self.feedback, extensions.transport_cc) {
            feedback.received(number, now);
        }
    }

    fn count(&mut self, packet: &RtpPacket<'_>, seq: SeqNo, bytes: u64) {
        let same = self.stream.take().filter(|stream| stream.ssrc == packet.ssrc());
        let mut stream = same.unwrap_or_else(|| Stream::starting(packet.ssrc(), seq));
        stream.received += 1;
        if self.window && seq < stream.highest {
            self.seen.reordered += 1;
        }
        if seq >= stream.highest {
            (stream.highest, stream.frame_over) = (seq, packet.marker());
        }
        if self.window {
            self.seen.packets += 1;
            self.seen.bytes += bytes;
            stream.window_start.get_or_insert(SeqNo(seq.0.saturating_sub(1)));
        }
        self.stream = Some(stream);
    }

    /// The stamp of a frame's first packet, and whether the first keyframe has become whole.
    fn read(&mut self, packet: &RtpPacket<'_>, seq: SeqNo, now: Instant) {
        let stamp = stamp_in(packet.payload());
        if let (true, Some((stamp_ns, _))) = (self.window, stamp) {
            self.seen.sightings.push(Sighting { stamp_ns, seen_ns: measure::clock_ns() });
        }
        let Some(stream) = self.stream.as_mut().filter(|_| self.seen.showed_after.is_none()) else { return };
        let goes_on = matches!(stamp, Some((_, true))) || stream.keyframe_next == Some(seq);
        stream.keyframe_next = goes_on.then(|| seq.next());
        if goes_on && packet.marker() {
            self.seen.showed_after = Some(now - self.begun);
        }
    }

    /// Sends feedback and reports that are due.
    pub fn handle_timeout(&mut self, socket: &Socket, seal: &mut Outbound, now: Instant) {
        let Some(media) = self.stream.as_ref().map(|stream| stream.ssrc) else { return };
        if let Some(feedback) = self.feedback.as_mut().filter(|feedback| feedback.is_due(now)) {
            send(socket, seal, |compound| feedback.write(self.ssrc, media, compound, now).is_ok());
        }
        if now >= self.next_report {
            self.next_report = now + REPORT_EVERY;
            let block = self.stream.as_mut().map(Stream::report);
            send(socket, seal, |compound| compound.receiver_report(self.ssrc, block.as_slice()).is_ok());
        }
    }

    /// A publisher's keyframe may have gone by before this subscriber was there: asks for one.
    pub fn ask_for_keyframe(&self, socket: &Socket, seal: &mut Outbound) {
        if let Some(stream) = &self.stream {
            send(socket, seal, |compound| compound.pli(self.ssrc, stream.ssrc).is_ok());
        }
    }
}

impl Stream {
    fn starting(ssrc: Ssrc, seq: SeqNo) -> Stream {
        Stream {
            ssrc,
            highest: seq,
            window_start: None,
            first: seq,
            received: 0,
            reported_expected: 0,
            reported_received: 0,
            frame_over: false,
            keyframe_next: None,
        }
    }

    /// RFC 3550 §6.4.1 and A.3.
    fn report(&mut self) -> ReportBlock {
        let expected = self.highest - self.first + 1;
        let (passed, came) = (expected - self.reported_expected, self.received - self.reported_received);
        (self.reported_expected, self.reported_received) = (expected, self.received);
        let lost = passed.saturating_sub(came);
        ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: (lost * 256).checked_div(passed).unwrap_or(0).min(255) as u8,
            cumulative_lost: expected.saturating_sub(self.received) as i32,
            highest_seq: self.highest.0 as u32,
            ..ReportBlock::default()
        }
    }
}

fn datagram_len(packet: &RtpPacket<'_>) -> u64 {
    packet.bytes().len() as u64
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
