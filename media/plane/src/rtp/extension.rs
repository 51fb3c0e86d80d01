//! RTP header extensions (RFC 8285), resolved from negotiated IDs to their meaning.

use crate::sdp::ExtensionIds;
use std::str;

/// Profile value of an extension with one-byte element headers (RFC 8285 §4.2).
pub const ONE_BYTE: u16 = 0xbede;

/// Client-to-mixer audio level (RFC 6464 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioLevel {
    /// Voice activity: the sender's voice detection reports speech.
    pub voice_activity: bool,
    /// Level in −dBov: 0 is the loudest, 127 is silence.
    pub level_dbov: u8,
}

/// Header extensions of one packet; `None` if absent, not negotiated or malformed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions<'a> {
    /// SDES MID: the m-section of the packet (RFC 9143 §15).
    pub mid: Option<&'a str>,
    /// SDES RtpStreamId: the simulcast layer of the packet (RFC 8852).
    pub rid: Option<&'a str>,
    /// SDES RepairedRtpStreamId: the simulcast layer that an RTX packet repairs (RFC 8852).
    pub repaired_rid: Option<&'a str>,
    /// Transport-wide sequence number (draft-holmer-rmcat-transport-wide-cc-extensions-01 §2).
    pub transport_cc: Option<u16>,
    /// Client-to-mixer audio level (RFC 6464).
    pub audio_level: Option<AudioLevel>,
    /// Send time in seconds of the sender's clock modulo 64, as 6.18-bit fixed point.
    pub abs_send_time: Option<u32>,
    /// Capture time of the first sample or frame: 64-bit NTP timestamp of the capturer's clock.
    pub abs_capture_time: Option<u64>,
}

impl<'a> Extensions<'a> {
    /// Reads all elements in one pass.
    pub fn read(elements: Elements<'a>, ids: &ExtensionIds) -> Extensions<'a> {
        let mut found = Extensions::default();
        for (id, data) in elements {
            found.read_element(Some(id), data, ids);
        }
        found
    }

    /// Reads one element. Comparisons are ordered by frequency: every packet has the transport-wide
    /// number, few have a RID.
    fn read_element(&mut self, id: Option<u8>, data: &'a [u8], ids: &ExtensionIds) {
        if id == ids.transport_cc {
            self.transport_cc = data.try_into().ok().map(u16::from_be_bytes);
        } else if id == ids.audio_level {
            self.audio_level = data.first().map(|&byte| AudioLevel {
                voice_activity: byte & 0x80 != 0,
                level_dbov: byte & 0x7f,
            });
        } else if id == ids.abs_send_time {
            self.abs_send_time = <[u8; 3]>::try_from(data)
                .ok()
                .map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]));
        } else if id == ids.mid {
            self.mid = sdp_token(data);
        } else if id == ids.rid {
            self.rid = sdp_token(data);
        } else if id == ids.repaired_rid {
            self.repaired_rid = sdp_token(data);
        } else if id == ids.abs_capture_time {
            self.abs_capture_time = data.first_chunk().map(|ntp| u64::from_be_bytes(*ntp));
        }
    }
}

/// Validates a MID or RID: an SDP token, so non-empty printable ASCII.
fn sdp_token(data: &[u8]) -> Option<&str> {
    str::from_utf8(data)
        .ok()
        .filter(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()))
}

/// Iterator over `(id, data)` of a header extension. A malformed element ends the iteration;
/// earlier elements stay valid.
#[derive(Clone, Copy, Debug)]
pub struct Elements<'a> {
    form: HeaderForm,
    rest: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeaderForm {
    OneByte,
    TwoByte,
}

impl<'a> Elements<'a> {
    /// Creates an iterator without elements.
    pub fn empty() -> Elements<'a> {
        Elements {
            form: HeaderForm::OneByte,
            rest: &[],
        }
    }

    /// Creates an iterator over `body`, the extension without its 4-byte header. A profile that is
    /// not of RFC 8285 has no elements.
    pub fn new(profile: u16, body: &'a [u8]) -> Elements<'a> {
        match profile {
            ONE_BYTE => Elements {
                form: HeaderForm::OneByte,
                rest: body,
            },
            // RFC 8285 §4.3: 0x100 followed by four application bits.
            0x1000..=0x100f => Elements {
                form: HeaderForm::TwoByte,
                rest: body,
            },
            _ => Elements::empty(),
        }
    }

    /// ID, header length and data length of the first element.
    fn head(&self) -> Option<(u8, usize, usize)> {
        match (self.form, self.rest) {
            // RFC 8285 §4.2: ID 15 is reserved and ends the processing.
            (HeaderForm::OneByte, [head, ..]) if head >> 4 != 15 => {
                Some((head >> 4, 1, usize::from(head & 0x0f) + 1))
            }
            (HeaderForm::TwoByte, [id, len, ..]) => Some((*id, 2, usize::from(*len))),
            _ => None,
        }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        // RFC 8285 §4.1.2: a zero byte between elements is padding in both forms.
        while let [0, rest @ ..] = self.rest {
            self.rest = rest;
        }
        let Some((id, head_len, len)) = self.head() else {
            self.rest = &[];
            return None;
        };
        let Some(data) = self.rest.get(head_len..head_len + len) else {
            self.rest = &[];
            return None;
        };
        self.rest = &self.rest[head_len + len..];
        Some((id, data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: ExtensionIds = ExtensionIds {
        mid: Some(4),
        rid: Some(10),
        repaired_rid: Some(11),
        transport_cc: Some(3),
        audio_level: Some(1),
        abs_send_time: Some(2),
        abs_capture_time: None,
    };

    #[test]
    fn the_first_packets_of_a_camera_carry_mid_and_rid() {
        let body = [
            0x31, 0x12, 0x34, 0x40, b'0', 0, 0, 0xa0, b'q', 0x22, 1, 2, 3, 0,
        ];
        let found = Extensions::read(Elements::new(ONE_BYTE, &body), &IDS);
        assert_eq!(
            (found.mid, found.rid, found.repaired_rid),
            (Some("0"), Some("q"), None)
        );
        assert_eq!(found.transport_cc, Some(0x1234));
        assert_eq!(found.abs_send_time, Some(0x01_0203));
    }

    #[test]
    fn audio_level_is_read_from_one_byte_and_two_byte_headers() {
        let loud = Some(AudioLevel {
            voice_activity: true,
            level_dbov: 12,
        });
        let one_byte = Elements::new(ONE_BYTE, &[0x10, 0x8c, 0, 0]);
        let two_byte = Elements::new(0x1000, &[0, 1, 1, 0x8c, 0, 0]);
        assert_eq!(Extensions::read(one_byte, &IDS).audio_level, loud);
        assert_eq!(Extensions::read(two_byte, &IDS).audio_level, loud);
    }

    #[test]
    fn a_malformed_element_ends_the_list_but_keeps_earlier_elements() {
        let overlong = Elements::new(ONE_BYTE, &[0x31, 0, 7, 0x4f, b'0', 0, 0, 0]);
        let found = Extensions::read(overlong, &IDS);
        assert_eq!((found.transport_cc, found.mid), (Some(7), None));
        let reserved = Elements::new(ONE_BYTE, &[0xf0, 0, 0x31, 0, 7]);
        assert_eq!(reserved.count(), 0);
    }

    #[test]
    fn a_mid_that_is_not_an_sdp_token_is_ignored() {
        for body in [
            &[0x41, 0xff, 0xfe][..],
            &[0x41, b'a', 0][..],
            &[0x40, b' '][..],
        ] {
            assert_eq!(
                Extensions::read(Elements::new(ONE_BYTE, body), &IDS).mid,
                None
            );
        }
    }

    #[test]
    fn an_extension_of_another_kind_has_no_elements() {
        assert_eq!(Elements::new(0x1234, &[0x31, 0, 7]).count(), 0);
    }

    #[test]
    fn an_id_that_was_not_negotiated_is_ignored() {
        let none = ExtensionIds::default();
        let found = Extensions::read(Elements::new(ONE_BYTE, &[0x31, 0, 7]), &none);
        assert_eq!(found, Extensions::default());
    }
}
