//! Publishing client: sends numbered test frames, answers NACK and PLI.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use tongke_plane::Codec;
use tongke_plane::rtp::rtcp::{Rtcp, parse};

use crate::support::{Client, Packet, payload_type};

/// Packets history for retransmission.
const RESEND_HISTORY: usize = 1_000;

/// Content of a test packet, behind the codec's payload header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) frame: u32,
    pub(crate) part: u8,
    pub(crate) parts: u8,
    pub(crate) layer: u8,
    pub(crate) keyframe: bool,
}

/// Size in bytes of [`Content`].
const CONTENT_BYTES: usize = 8;

impl Content {
    fn bytes(self) -> [u8; CONTENT_BYTES] {
        let [a, b, c, d] = self.frame.to_be_bytes();
        [
            a,
            b,
            c,
            d,
            self.part,
            self.parts,
            self.layer,
            u8::from(self.keyframe),
        ]
    }

    /// Parses the content of a test payload.
    pub(crate) fn read(codec: Codec, payload: &[u8]) -> Content {
        let at = header_len(codec);
        let bytes: [u8; CONTENT_BYTES] = payload[at..at + CONTENT_BYTES]
            .try_into()
            .expect("a test payload");
        Content {
            frame: u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            part: bytes[4],
            parts: bytes[5],
            layer: bytes[6],
            keyframe: bytes[7] != 0,
        }
    }
}

fn header_len(codec: Codec) -> usize {
    match codec {
        Codec::Opus => 1,
        Codec::H264 => 3,
        Codec::Vp8 => 6,
        Codec::Vp9 | Codec::Av1 => panic!("no test sends {codec:?}"),
    }
}

struct Layer {
    ssrc: u32,
    seq: u64,
    rtx_seq: u64,
    picture_id: u16,
    keyframe_requested: bool,
    history: VecDeque<(u64, u32, bool, Vec<u8>)>,
    time_base: u32,
}

/// Kind of the published source.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceKind {
    /// Camera of a teacher or a room; with Opus, its microphone.
    Camera,
    /// Shared screen: a still page, replaced every [`PAGE_INTERVAL`].
    Screen,
}

/// Interval of page turns on a shared screen.
pub(crate) const PAGE_INTERVAL: Duration = Duration::from_secs(8);
const SCREEN_PERIOD: Duration = Duration::from_millis(200);

/// Publishing client.
pub(crate) struct Publisher {
    pub(crate) client: Client,
    pub(crate) codec: Codec,
    source_kind: SourceKind,
    pub(crate) imported: HashSet<usize>,
    layers: Vec<Layer>,
    frame: u32,
    next_frame: Instant,
    pub(crate) first_frame: Option<Instant>,
    twcc: u16,
}

impl Publisher {
    pub(crate) fn new(
        client: Client,
        codec: Codec,
        source_kind: SourceKind,
        layers: usize,
        now: Instant,
    ) -> Publisher {
        let layers = (0..layers as u32).map(|n| Layer {
            ssrc: 10 + 2 * n,
            seq: 65_500 + u64::from(n),
            rtx_seq: 100,
            picture_id: (0x7FF0 + 1_000 * n as u16) & 0x7FFF,
            keyframe_requested: true,
            history: VecDeque::new(),
            // Browsers start each layer at another timestamp.
            time_base: n * 1_000_000,
        });
        Publisher {
            client,
            codec,
            source_kind,
            imported: HashSet::new(),
            layers: layers.collect(),
            frame: 0,
            next_frame: now,
            first_frame: None,
            twcc: 0,
        }
    }

    /// Media and RTX SSRC of each layer.
    pub(crate) fn sources(&self) -> Vec<(u32, u32)> {
        self.layers
            .iter()
            .map(|layer| (layer.ssrc, layer.ssrc + 1))
            .collect()
    }

    /// Returns the datagrams to send now.
    pub(crate) fn poll(&mut self, now: Instant, start: Instant) -> Vec<Vec<u8>> {
        let mut out = self.client.poll(now);
        if self.client.session.is_none() || now < self.next_frame {
            return out;
        }
        self.first_frame.get_or_insert(now);
        self.next_frame = now + self.period();
        let ticks =
            ((now - start).as_micros() * u128::from(self.codec.clock_rate()) / 1_000_000) as u32;
        for layer in 0..self.layers.len() {
            self.send_frame(layer, ticks, &mut out);
        }
        self.frame += 1;
        out
    }

    /// Frame interval.
    pub(crate) fn period(&self) -> Duration {
        match (self.codec, self.source_kind) {
            (Codec::Opus, _) => Duration::from_millis(20),
            (_, SourceKind::Camera) => Duration::from_millis(40),
            (_, SourceKind::Screen) => SCREEN_PERIOD,
        }
    }

    /// Returns packet count and packet size of a frame. Camera layers have about 60, 250 and 1000
    /// kbit/s; audio has about 40.
    fn shape(&self, nth: usize, keyframe: bool) -> (u8, usize) {
        let frames_of_a_page = (PAGE_INTERVAL.as_millis() / SCREEN_PERIOD.as_millis()) as u32;
        let turned = keyframe || self.frame.is_multiple_of(frames_of_a_page);
        let (parts, size) = match (self.codec, self.source_kind, nth, self.layers.len()) {
            (Codec::Opus, ..) => return (1, 100),
            // A page has 13 kB in the low layer and 66 kB in the high layer; a still page is
            // repeated once a second.
            (_, SourceKind::Screen, 0, _) if turned => return (12, 1_100),
            (_, SourceKind::Screen, ..) if turned => return (60, 1_100),
            (_, SourceKind::Screen, ..) => return (u8::from(self.frame.is_multiple_of(5)), 200),
            (_, SourceKind::Camera, 0, 2..) => (1, 300),
            (_, SourceKind::Camera, 1, _) => (2, 600),
            _ => (4, 1_100),
        };
        (if keyframe { parts * 3 } else { parts }, size)
    }

    fn send_frame(&mut self, nth: usize, ticks: u32, out: &mut Vec<Vec<u8>>) {
        let keyframe =
            self.codec != Codec::Opus && std::mem::take(&mut self.layers[nth].keyframe_requested);
        let (parts, size) = self.shape(nth, keyframe);
        let layer = &mut self.layers[nth];
        layer.picture_id = (layer.picture_id + 1) & 0x7FFF;
        for part in 0..parts {
            let content = Content {
                frame: self.frame,
                part,
                parts,
                layer: nth as u8,
                keyframe,
            };
            let mut payload = codec_header(self.codec, content, layer.picture_id);
            payload.extend(content.bytes());
            payload.resize(size, 0x55);
            let (rtp_time, marker) = (ticks.wrapping_add(layer.time_base), part + 1 == parts);
            let packet = Packet {
                payload_type: payload_type(self.codec),
                ssrc: layer.ssrc,
                seq: layer.seq,
                rtp_time,
                marker,
                twcc: self.twcc,
                payload: &payload,
            };
            out.push(packet.seal(&mut self.client));
            self.twcc = self.twcc.wrapping_add(1);
            layer
                .history
                .push_back((layer.seq, rtp_time, marker, payload));
            if layer.history.len() > RESEND_HISTORY {
                layer.history.pop_front();
            }
            layer.seq += 1;
        }
    }

    /// Processes a datagram of the server. Retransmissions are sent with the next poll.
    pub(crate) fn handle(&mut self, now: Instant, mut datagram: Vec<u8>) {
        if datagram[0] < 64 {
            return self.client.handle(now, &datagram);
        }
        let Some(session) = &mut self.client.session else {
            return;
        };
        let Ok(len) = session.inbound.unprotect_rtcp(&mut datagram) else {
            return;
        };
        for packet in parse(&datagram[..len]) {
            match packet.expect("our own RTCP is well-formed") {
                Rtcp::Pli { media, .. } => {
                    let layer = self
                        .layers
                        .iter_mut()
                        .find(|layer| layer.ssrc == media.0)
                        .expect("a PLI for a layer");
                    layer.keyframe_requested = true;
                }
                Rtcp::Nack(nack) => {
                    let lost: Vec<u16> = nack.lost().collect();
                    self.resend(nack.media.0, &lost);
                }
                _ => {}
            }
        }
    }

    fn resend(&mut self, ssrc: u32, lost: &[u16]) {
        let layer = self
            .layers
            .iter_mut()
            .find(|layer| layer.ssrc == ssrc)
            .expect("a NACK for a layer");
        for wire in lost {
            let Some((_, rtp_time, marker, payload)) =
                layer.history.iter().find(|(seq, ..)| *seq as u16 == *wire)
            else {
                continue;
            };
            let mut repair = wire.to_be_bytes().to_vec();
            repair.extend_from_slice(payload);
            let packet = Packet {
                payload_type: payload_type(self.codec) + 1,
                ssrc: ssrc + 1,
                seq: layer.rtx_seq,
                rtp_time: *rtp_time,
                marker: *marker,
                twcc: self.twcc,
                payload: &repair,
            };
            let sealed = packet.seal(&mut self.client);
            self.client.pending.push(sealed);
            self.twcc = self.twcc.wrapping_add(1);
            layer.rtx_seq += 1;
        }
    }
}

fn codec_header(codec: Codec, content: Content, picture_id: u16) -> Vec<u8> {
    match codec {
        Codec::Opus => vec![0xFC],
        // FU-A of an IDR or a non-IDR slice that starts at macroblock 0 (RFC 6184 §5.8).
        Codec::H264 => {
            let (start, end) = (content.part == 0, content.part + 1 == content.parts);
            let kind = if content.keyframe { 5 } else { 1 };
            vec![0x7C, kind | u8::from(start) << 7 | u8::from(end) << 6, 0x88]
        }
        // Descriptor with 15-bit PictureID and TL0PICIDX (RFC 7741 §4.2), and the first byte of the
        // VP8 payload.
        Codec::Vp8 => {
            let [high, low] = picture_id.to_be_bytes();
            let start = if content.part == 0 { 0x10 } else { 0 };
            vec![
                0x80 | start,
                0xC0,
                high | 0x80,
                low,
                picture_id as u8,
                u8::from(!content.keyframe),
            ]
        }
        Codec::Vp9 | Codec::Av1 => panic!("no test sends {codec:?}"),
    }
}
