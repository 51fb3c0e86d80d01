//! RTP header extensions (RFC 8285) by name and by number.

/// The one-byte ids (1–14) under which header extensions travel. `None`: not negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtensionIds {
    /// Which m-line (RFC 9143 §15).
    pub mid: Option<u8>,
    /// Which simulcast layer (RFC 8852).
    pub rid: Option<u8>,
    /// Which layer an RTX packet repairs (RFC 8852).
    pub repaired_rid: Option<u8>,
    /// Transport-wide sequence number (draft-holmer-rmcat-transport-wide-cc-extensions-01).
    pub transport_cc: Option<u8>,
    /// Audio level (RFC 6464).
    pub audio_level: Option<u8>,
    /// Absolute send time, the fallback where there is no transport-wide number.
    pub abs_send_time: Option<u8>,
    /// Absolute capture time.
    pub abs_capture_time: Option<u8>,
}

/// A header extension that we understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extension {
    Mid,
    Rid,
    RepairedRid,
    TransportCc,
    AudioLevel,
    AbsSendTime,
    AbsCaptureTime,
}

impl Extension {
    pub(super) const ALL: [Extension; 7] = [
        Extension::Mid,
        Extension::Rid,
        Extension::RepairedRid,
        Extension::TransportCc,
        Extension::AudioLevel,
        Extension::AbsSendTime,
        Extension::AbsCaptureTime,
    ];

    pub(super) fn uri(self) -> &'static str {
        match self {
            Extension::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
            Extension::Rid => "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            Extension::RepairedRid => "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
            Extension::TransportCc => {
                "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
            }
            Extension::AudioLevel => "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            Extension::AbsSendTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
            Extension::AbsCaptureTime => {
                "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
            }
        }
    }

    pub(super) fn from_uri(uri: &str) -> Option<Extension> {
        Extension::ALL
            .into_iter()
            .find(|extension| extension.uri() == uri)
    }
}

impl ExtensionIds {
    pub(super) fn get(&self, extension: Extension) -> Option<u8> {
        let mut copy = *self;
        *copy.slot(extension)
    }

    /// Takes the first id that is given for an extension; ids that need the two-byte form are not used.
    pub(super) fn offer(&mut self, extension: Extension, id: u8) {
        if (1..=14).contains(&id) {
            self.slot(extension).get_or_insert(id);
        }
    }

    /// Those of them that `wanted` names.
    pub(super) fn only(&self, wanted: &[Extension]) -> ExtensionIds {
        let mut kept = ExtensionIds::default();
        for extension in wanted {
            *kept.slot(*extension) = self.get(*extension);
        }
        kept
    }

    fn slot(&mut self, extension: Extension) -> &mut Option<u8> {
        match extension {
            Extension::Mid => &mut self.mid,
            Extension::Rid => &mut self.rid,
            Extension::RepairedRid => &mut self.repaired_rid,
            Extension::TransportCc => &mut self.transport_cc,
            Extension::AudioLevel => &mut self.audio_level,
            Extension::AbsSendTime => &mut self.abs_send_time,
            Extension::AbsCaptureTime => &mut self.abs_capture_time,
        }
    }
}
