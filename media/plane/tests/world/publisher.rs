//! A teacher's page: encodes (numbers instead of pictures), answers NACK and PLI.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use tongke_plane::Codec;
use tongke_plane::rtp::rtcp::{Rtcp, parse};

use crate::support::{Client, Packet, payload_type};

/// Packets that can be sent again.
const KEPT: usize = 1_000;

/// The content that a test packet carries instead of a picture, behind the codec's own header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    pub frame: u32,
    pub part: u8,
    pub parts: u8,
    pub layer: u8,
    pub keyframe: bool,
}

/// Bytes of [`Content`].
const CONTENT: usize = 8;

impl Content {
    fn bytes(self) -> [u8; CONTENT] {
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

    /// Reads it back from a payload that this module made.
    pub fn read(codec: Codec, payload: &[u8]) -> Content {
        let at = header_len(codec);
        let bytes: [u8; CONTENT] = payload[at..at + CONTENT]
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
    keyframe_wanted: bool,
    kept: VecDeque<(u64, u32, bool, Vec<u8>)>,
    time_base: u32,
}

/// What is in front of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Motif {
    /// A teacher or a room; for Opus, a voice.
    Person,
    /// A shared screen: a page that stands, and is turned every [`PAGE`].
    Screen,
}

/// How long a page of a shared screen stands.
pub const PAGE: Duration = Duration::from_secs(8);
const SCREEN_PERIOD: Duration = Duration::from_millis(200);

/// See the module.
pub struct Publisher {
    pub client: Client,
    pub codec: Codec,
    motif: Motif,
    pub imported: HashSet<usize>,
    layers: Vec<Layer>,
    frame: u32,
    next_frame: Instant,
    pub first_frame: Option<Instant>,
    twcc: u16,
}

impl Publisher {
    pub fn new(
        client: Client,
        codec: Codec,
        motif: Motif,
        layers: usize,
        now: Instant,
    ) -> Publisher {
        let layers = (0..layers as u32).map(|n| Layer {
            ssrc: 10 + 2 * n,
            seq: 65_500 + u64::from(n),
            rtx_seq: 100,
            picture_id: (0x7FF0 + 1_000 * n as u16) & 0x7FFF,
            keyframe_wanted: true,
            kept: VecDeque::new(),
            // Browsers begin each layer at another timestamp.
            time_base: n * 1_000_000,
        });
        Publisher {
            client,
            codec,
            motif,
            imported: HashSet::new(),
            layers: layers.collect(),
            frame: 0,
            next_frame: now,
            first_frame: None,
            twcc: 0,
        }
    }

    /// Media and repair SSRC of each layer.
    pub fn sources(&self) -> Vec<(u32, u32)> {
        self.layers
            .iter()
            .map(|layer| (layer.ssrc, layer.ssrc + 1))
            .collect()
    }

    /// Everything it sends now.
    pub fn poll(&mut self, now: Instant, start: Instant) -> Vec<Vec<u8>> {
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

    /// From one frame to the next.
    pub fn period(&self) -> Duration {
        match (self.codec, self.motif) {
            (Codec::Opus, _) => Duration::from_millis(20),
            (_, Motif::Person) => Duration::from_millis(40),
            (_, Motif::Screen) => SCREEN_PERIOD,
        }
    }

    /// Packets of a frame and their size. A person's layers are about 60, 250 and 1000 kbit/s; a voice is about 40.
    fn shape(&self, nth: usize, keyframe: bool) -> (u8, usize) {
        let frames_of_a_page = (PAGE.as_millis() / SCREEN_PERIOD.as_millis()) as u32;
        let turned = keyframe || self.frame.is_multiple_of(frames_of_a_page);
        let (parts, size) = match (self.codec, self.motif, nth, self.layers.len()) {
            (Codec::Opus, ..) => return (1, 100),
            // A page is 13 kB small and 66 kB large; while it stands it is repeated once a second.
            (_, Motif::Screen, 0, _) if turned => return (12, 1_100),
            (_, Motif::Screen, ..) if turned => return (60, 1_100),
            (_, Motif::Screen, ..) => return (u8::from(self.frame.is_multiple_of(5)), 200),
            (_, Motif::Person, 0, 2..) => (1, 300),
            (_, Motif::Person, 1, _) => (2, 600),
            _ => (4, 1_100),
        };
        (if keyframe { parts * 3 } else { parts }, size)
    }

    fn send_frame(&mut self, nth: usize, ticks: u32, out: &mut Vec<Vec<u8>>) {
        let keyframe =
            self.codec != Codec::Opus && std::mem::take(&mut self.layers[nth].keyframe_wanted);
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
            layer.kept.push_back((layer.seq, rtp_time, marker, payload));
            if layer.kept.len() > KEPT {
                layer.kept.pop_front();
            }
            layer.seq += 1;
        }
    }

    /// Takes what the server sends. Retransmissions go out with the next frame's poll.
    pub fn handle(&mut self, now: Instant, mut datagram: Vec<u8>) {
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
                    layer.keyframe_wanted = true;
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
                layer.kept.iter().find(|(seq, ..)| *seq as u16 == *wire)
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
        // FU-A of an IDR or a P slice that begins with macroblock 0 (RFC 6184 §5.8).
        Codec::H264 => {
            let (start, end) = (content.part == 0, content.part + 1 == content.parts);
            let kind = if content.keyframe { 5 } else { 1 };
            vec![0x7C, kind | u8::from(start) << 7 | u8::from(end) << 6, 0x88]
        }
        // Descriptor with 15-bit picture id and TL0PICIDX (RFC 7741 §4.2), and the first byte of the frame.
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
