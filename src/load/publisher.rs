//! What a publishing client does: a frame every 33 ms, keyframes when asked for, lost packets once more.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tongke_plane::ids::Ssrc;
use tongke_plane::rtp::NtpTime;
use tongke_plane::rtp::rtcp::{self, Compound, Rtcp};
use tongke_plane::transport::srtp::{Outbound, SrtpSession};
use tongke_plane::units::SeqNo;

use super::datagrams::Socket;
use super::http::{Answer, rtx_ssrc};
use super::measure;
use super::picture::{MAX_PAYLOAD, Picture};

/// Frames a second, and RTP ticks (90 kHz) between them.
const FRAME_RATE: u32 = 30;
const FRAME_TICKS: u32 = 90_000 / FRAME_RATE;
const FRAME_INTERVAL: Duration = Duration::from_nanos(1_000_000_000 / FRAME_RATE as u64);

/// Packets kept to be sent again: 5 s at 1.5 Mbit/s.
const HISTORY: usize = 1024;

/// A sender report a second: recorders need the first one to align tracks.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Header, payload, RTX number and SRTP trailer.
const BUFFER: usize = 64 + MAX_PAYLOAD + 2 + 32;

/// What a publisher did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    pub packets: u64,
    /// Of them, while it was measured.
    pub in_window: u64,
    pub resent: u64,
    pub keyframes: u64,
}

pub struct Publisher {
    picture: Picture,
    media: Line,
    rtx: Option<Line>,
    /// What every frame is allowed, and what earlier frames have left over: packets are full, so frames differ by one.
    frame_bytes: usize,
    saved_bytes: usize,
    rtp_time: u32,
    /// The transport-wide number, of media and retransmissions together.
    transport_seq: u16,
    history: VecDeque<(u16, u32, bool, Vec<u8>)>,
    next_frame: Option<Instant>,
    next_report: Instant,
    keyframe_wanted: bool,
    octets: u32,
    pub window: bool,
    pub sent: Sent,
}

/// One RTP stream.
struct Line {
    ssrc: Ssrc,
    payload_type: u8,
    /// The id under which packets carry their transport-wide number.
    transport_cc: Option<u8>,
    seq: SeqNo,
}

impl Line {
    fn new(ssrc: u32, payload_type: u8, transport_cc: Option<u8>) -> Line {
        let ssrc = Ssrc(ssrc);
        // RFC 3550 §5.1: a random start, in the lower half so that the rollover counter of the first packet is certain.
        let seq = SeqNo(u64::from(rand::random::<u16>() >> 1));
        Line { ssrc, payload_type, transport_cc, seq }
    }

    fn send(
        &mut self,
        socket: &Socket,
        seal: &mut Outbound,
        marker: bool,
        rtp_time: u32,
        transport_seq: u16,
        payload: &[&[u8]],
    ) {
        let mut buffer = [0; BUFFER];
        let header_len = self.write_header(&mut buffer, marker, rtp_time, transport_seq);
        let mut len = header_len;
        for part in payload {
            buffer[len..len + part.len()].copy_from_slice(part);
            len += part.len();
        }
        let len = seal.rtp.protect(&mut buffer, header_len, len, self.seq.rollover());
        socket.send(&buffer[..len]);
        self.seq = self.seq.next();
    }

    /// RFC 3550 §5.1, with the transport-wide number as a one-byte extension (RFC 8285 §4.2).
    fn write_header(&self, buffer: &mut [u8; BUFFER], marker: bool, rtp_time: u32, transport_seq: u16) -> usize {
        buffer[0] = 0x80;
        buffer[1] = u8::from(marker) << 7 | self.payload_type;
        buffer[2..4].copy_from_slice(&self.seq.wire().to_be_bytes());
        buffer[4..8].copy_from_slice(&rtp_time.to_be_bytes());
        buffer[8..12].copy_from_slice(&self.ssrc.0.to_be_bytes());
        let Some(id) = self.transport_cc else { return 12 };
        let [high, low] = transport_seq.to_be_bytes();
        buffer[0] |= 0x10;
        buffer[12..20].copy_from_slice(&[0xbe, 0xde, 0, 1, id << 4 | 1, high, low, 0]);
        20
    }
}

impl Publisher {
    pub fn new(answer: &Answer, ssrc: u32, bitrate_kbps: u32) -> Publisher {
        let rtx = answer.rtx.map(|payload_type| Line::new(rtx_ssrc(ssrc), payload_type, answer.transport_cc));
        Publisher {
            picture: Picture::new(),
            media: Line::new(ssrc, Answer::PAYLOAD_TYPE, answer.transport_cc),
            rtx,
            frame_bytes: (bitrate_kbps * 1000 / 8 / FRAME_RATE) as usize,
            saved_bytes: 0,
            rtp_time: rand::random(),
            transport_seq: 0,
            history: VecDeque::with_capacity(HISTORY),
            next_frame: None,
            next_report: Instant::now(),
            keyframe_wanted: true,
            octets: 0,
            window: false,
            sent: Sent::default(),
        }
    }

    /// Sends what is due.
    pub fn handle_timeout(&mut self, socket: &Socket, session: &mut SrtpSession, now: Instant) {
        let due = *self.next_frame.get_or_insert(now);
        if now < due {
            return;
        }
        // A thread that was held up catches up frame by frame, as a camera's queue does.
        self.next_frame = Some(due + FRAME_INTERVAL);
        self.send_frame(socket, &mut session.outbound);
        if now >= self.next_report {
            self.next_report = now + REPORT_EVERY;
            self.send_report(socket, &mut session.outbound);
        }
    }

    fn send_frame(&mut self, socket: &Socket, seal: &mut Outbound) {
        let keyframe = std::mem::take(&mut self.keyframe_wanted);
        self.sent.keyframes += u64::from(keyframe);
        self.saved_bytes += self.frame_bytes;
        let payloads = self.picture.frame(keyframe, self.saved_bytes / MAX_PAYLOAD, measure::clock_ns());
        self.saved_bytes = self.saved_bytes.saturating_sub(payloads.len() * MAX_PAYLOAD);
        let last = payloads.len() - 1;
        for (index, payload) in payloads.into_iter().enumerate() {
            let (seq, marker) = (self.media.seq.wire(), index == last);
            self.media.send(socket, seal, marker, self.rtp_time, self.transport_seq, &[&payload]);
            self.transport_seq = self.transport_seq.wrapping_add(1);
            self.sent.packets += 1;
            self.sent.in_window += u64::from(self.window);
            self.octets = self.octets.wrapping_add(payload.len() as u32);
            if self.history.len() == HISTORY {
                self.history.pop_front();
            }
            self.history.push_back((seq, self.rtp_time, marker, payload));
        }
        self.rtp_time = self.rtp_time.wrapping_add(FRAME_TICKS);
    }

    fn send_report(&mut self, socket: &Socket, seal: &mut Outbound) {
        let mut buffer = [0; 256];
        let mut compound = Compound::new(&mut buffer);
        let ntp = NtpTime::from_unix(measure::since_epoch());
        let (ssrc, packets) = (self.media.ssrc, self.sent.packets as u32);
        let written = compound
            .sender_report(ssrc, ntp, self.rtp_time, packets, self.octets, &[])
            .and_then(|()| compound.cname(ssrc, "load"));
        let len = compound.len();
        if let (Ok(()), Some(len)) = (written, seal.rtcp.protect(&mut buffer, len)) {
            socket.send(&buffer[..len]);
        }
    }

    /// What the server reports or asks for.
    pub fn handle_rtcp(&mut self, datagram: &[u8], socket: &Socket, seal: &mut Outbound) {
        for packet in rtcp::parse(datagram) {
            match packet {
                Ok(Rtcp::Pli { .. } | Rtcp::Fir(_)) => self.keyframe_wanted = true,
                Ok(Rtcp::Nack(nack)) => nack.lost().for_each(|seq| self.resend(seq, socket, seal)),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    /// RFC 4588 §4: the original number in front of the payload, on a stream of its own. A server that took no RTX asks in vain.
    fn resend(&mut self, seq: u16, socket: &Socket, seal: &mut Outbound) {
        let Some(rtx) = &mut self.rtx else { return };
        let Some((_, rtp_time, marker, payload)) = self.history.iter().find(|packet| packet.0 == seq) else { return };
        rtx.send(socket, seal, *marker, *rtp_time, self.transport_seq, &[&seq.to_be_bytes(), payload]);
        self.transport_seq = self.transport_seq.wrapping_add(1);
        self.sent.resent += 1;
    }
}
