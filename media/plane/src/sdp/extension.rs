//! RTP header extensions (RFC 8285): URIs and negotiated IDs.

/// Negotiated one-byte IDs (1–14) of header extensions; `None` if not negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtensionIds {
    /// SDES MID: identifies the m-section (RFC 9143 §15).
    pub mid: Option<u8>,
    /// SDES RtpStreamId: identifies the simulcast layer (RFC 8852).
    pub rid: Option<u8>,
    /// SDES RepairedRtpStreamId: the layer that an RTX packet repairs (RFC 8852).
    pub repaired_rid: Option<u8>,
    /// Transport-wide sequence number (draft-holmer-rmcat-transport-wide-cc-extensions-01).
    pub transport_cc: Option<u8>,
    /// Audio level (RFC 6464).
    pub audio_level: Option<u8>,
    /// Absolute send time; the fallback without transport-wide sequence numbers.
    pub abs_send_time: Option<u8>,
    /// Absolute capture time.
    pub abs_capture_time: Option<u8>,
}

/// Supported header extension.
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
        *copy.id_mut(extension)
    }

    /// Stores the first ID of an extension; IDs that need the two-byte form are ignored.
    pub(super) fn set_first(&mut self, extension: Extension, id: u8) {
        if (1..=14).contains(&id) {
            self.id_mut(extension).get_or_insert(id);
        }
    }

    /// Copies the IDs of the `wanted` extensions.
    pub(super) fn filtered(&self, wanted: &[Extension]) -> ExtensionIds {
        let mut kept = ExtensionIds::default();
        for extension in wanted {
            *kept.id_mut(*extension) = self.get(*extension);
        }
        kept
    }

    fn id_mut(&mut self, extension: Extension) -> &mut Option<u8> {
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
