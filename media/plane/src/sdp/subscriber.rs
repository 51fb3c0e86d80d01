//! Subscribers: answers to WHEP players, offers to our own client and its answers.

use super::description::Description;
use super::extension::Extension;
use super::media_section::MediaSection;
use super::write::Writer;
use super::{
    AcceptedCodec, Codec, ExtensionIds, LocalParameters, MediaKind, NegotiationError, OfferedSlot,
    OutgoingStream, SubscribedMedia,
};

/// Payload types of the server's offers, equal for all subscribers, so that packets need no
/// rewriting per subscriber.
pub mod payload_types {
    /// Opus.
    pub const OPUS: u8 = 111;
    /// RED around Opus.
    pub const RED: u8 = 63;
    /// H264 constrained baseline, packetization-mode 1; RTX.
    pub const H264: (u8, u8) = (102, 103);
    /// VP8; RTX.
    pub const VP8: (u8, u8) = (96, 97);
    /// VP9 profile 0; RTX.
    pub const VP9: (u8, u8) = (98, 99);
    /// AV1; RTX.
    pub const AV1: (u8, u8) = (45, 46);
}

/// Header extensions of the server's offers, equal for all subscribers and m-sections.
pub const OFFERED_EXTENSIONS: ExtensionIds = ExtensionIds {
    mid: Some(1),
    transport_cc: Some(2),
    rid: None,
    repaired_rid: None,
    audio_level: None,
    abs_send_time: None,
    abs_capture_time: None,
};

/// Video codecs of the server's offers: payload types (codec, RTX), codec, format parameters.
const OFFERED_VIDEO: [((u8, u8), Codec, &str); 4] = [
    (
        payload_types::H264,
        Codec::H264,
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
    ),
    (payload_types::VP8, Codec::Vp8, ""),
    (payload_types::VP9, Codec::Vp9, "profile-id=0"),
    (
        payload_types::AV1,
        Codec::Av1,
        "level-idx=5;profile=0;tier=0",
    ),
];

const VIDEO_FEEDBACK: [&str; 4] = ["transport-cc", "ccm fir", "nack", "nack pli"];

/// Answers the offer of a player with the player's payload types and extension IDs.
///
/// `outgoing` has one entry per m-section of the offer ([`Description::mlines`]); entries of
/// rejected m-sections stay unused. Every common codec is accepted, because the sent one depends on
/// the publisher.
pub fn answer_subscriber(
    offer: &Description,
    local: &LocalParameters<'_>,
    outgoing: &[OutgoingStream],
) -> Result<(String, Vec<SubscribedMedia>), NegotiationError> {
    offer.check_setup()?;
    let usable = offer.usable_sections(|media| {
        media.direction.receives() && !media.supported_codecs().is_empty()
    });
    let sections = offer
        .media
        .iter()
        .zip(outgoing)
        .enumerate()
        .filter(|(mline, _)| usable[*mline]);
    let subscribed: Vec<_> = sections
        .filter_map(|(mline, (media, sent))| subscribed_media(mline, media, sent.clone()))
        .collect();
    if subscribed.is_empty() {
        return Err(NegotiationError::NothingUsable);
    }
    if let Some(media) = subscribed
        .iter()
        .map(|media| &offer.media[media.mline])
        .find(|media| !media.has_rtcp_mux)
    {
        return Err(NegotiationError::NoRtcpMux(media.mid.clone()));
    }
    let mids: Vec<_> = subscribed
        .iter()
        .map(|accepted| accepted.mid.as_str())
        .collect();
    let mut writer = Writer::session(
        offer.version,
        if offer.bundles.is_empty() { &[] } else { &mids },
    );
    for (mline, media) in offer.media.iter().enumerate() {
        match subscribed.iter().find(|accepted| accepted.mline == mline) {
            Some(accepted) => write_answer(&mut writer, local, media, accepted),
            None => writer.reject(media),
        }
    }
    Ok((writer.finish(), subscribed))
}

fn subscribed_media(
    mline: usize,
    media: &MediaSection,
    outgoing: OutgoingStream,
) -> Option<SubscribedMedia> {
    let codecs = media.supported_codecs();
    let opus = codecs.iter().find(|accepted| accepted.codec == Codec::Opus);
    Some(SubscribedMedia {
        mid: media.mid.clone(),
        mline,
        kind: media.kind?,
        red_pt: opus
            .and_then(|opus| media.red_for(opus.pt))
            .map(|red| red.pt),
        codecs,
        extensions: subscriber_extensions(media),
        outgoing,
    })
}

/// Returns the extensions that the server writes into a subscriber's packets.
fn subscriber_extensions(media: &MediaSection) -> ExtensionIds {
    let mut ids = media
        .extensions
        .filtered(&[Extension::Mid, Extension::TransportCc]);
    if ids.transport_cc.is_none() {
        ids.abs_send_time = media.extensions.abs_send_time;
    }
    ids
}

fn write_answer(
    writer: &mut Writer,
    local: &LocalParameters<'_>,
    media: &MediaSection,
    accepted: &SubscribedMedia,
) {
    let codecs = accepted
        .codecs
        .iter()
        .flat_map(|codec| [Some(codec.pt), codec.rtx_pt]);
    let pts: Vec<u8> = std::iter::once(accepted.red_pt)
        .chain(codecs)
        .flatten()
        .collect();
    let mid = media.has_mid.then_some(accepted.mid.as_str());
    writer.media(local, accepted.kind.name(), &pts, mid, "passive");
    writer.line("a=sendonly");
    writer.extensions(&accepted.extensions);
    for pt in &pts {
        let Some(payload) = media.payload(*pt) else {
            continue;
        };
        let feedback: Vec<_> = payload
            .feedback
            .iter()
            .map(String::as_str)
            .filter(|kind| VIDEO_FEEDBACK.contains(kind))
            .collect();
        let channels = if payload.channels == 2 { "/2" } else { "" };
        let encoding = match accepted.codecs.iter().find(|codec| codec.pt == *pt) {
            Some(codec) => format!("{}/{}{channels}", codec.codec.name(), payload.clock_rate),
            None => format!("{}/{}{channels}", payload.name, payload.clock_rate),
        };
        writer.payload(*pt, encoding, &feedback, &payload.parameters);
    }
    let has_rtx = accepted.codecs.iter().any(|codec| codec.rtx_pt.is_some());
    writer.outgoing(&accepted.outgoing, has_rtx);
}

/// Writes an offer of `slots` with the payload types and extension IDs common to all subscribers
/// ([`payload_types`], [`OFFERED_EXTENSIONS`]). A later offer to the same subscriber repeats all
/// earlier slots, appends new ones, and has a greater `version`.
pub fn offer_subscriber(
    local: &LocalParameters<'_>,
    version: u64,
    slots: &[OfferedSlot],
) -> String {
    let mids: Vec<String> = (0..slots.len()).map(|index| index.to_string()).collect();
    let mids: Vec<&str> = mids.iter().map(String::as_str).collect();
    let mut writer = Writer::session(version, &mids);
    for (slot, mid) in slots.iter().zip(&mids) {
        let pts: Vec<u8> = match slot.kind {
            MediaKind::Audio => vec![payload_types::RED, payload_types::OPUS],
            MediaKind::Video => OFFERED_VIDEO
                .iter()
                .flat_map(|((pt, rtx), ..)| [*pt, *rtx])
                .collect(),
        };
        writer.media(local, slot.kind.name(), &pts, Some(mid), "actpass");
        writer.line("a=sendonly");
        writer.extensions(&OFFERED_EXTENSIONS);
        match slot.kind {
            MediaKind::Audio => offer_audio(&mut writer),
            MediaKind::Video => offer_video(&mut writer),
        }
        writer.outgoing(&slot.outgoing, slot.kind == MediaKind::Video);
    }
    writer.finish()
}

fn offer_audio(writer: &mut Writer) {
    let opus = payload_types::OPUS;
    writer.payload(
        payload_types::RED,
        "red/48000/2",
        &[],
        &format!("{opus}/{opus}"),
    );
    writer.payload(
        opus,
        "opus/48000/2",
        &["transport-cc"],
        "minptime=10;useinbandfec=1",
    );
}

fn offer_video(writer: &mut Writer) {
    for ((pt, rtx), codec, parameters) in OFFERED_VIDEO {
        writer.payload(
            pt,
            format_args!("{}/90000", codec.name()),
            &VIDEO_FEEDBACK,
            parameters,
        );
        writer.payload(rtx, "rtx/90000", &[], &format!("apt={pt}"));
    }
}

/// Reads the answer to [`offer_subscriber`] for the same slots: the accepted codecs of each. The
/// peer's transport parameters are in [`Description::remote`].
pub fn parse_answer(
    answer: &Description,
    slots: &[OfferedSlot],
) -> Result<Vec<SubscribedMedia>, NegotiationError> {
    answer.check_setup()?;
    if answer.media.len() != slots.len() {
        return Err(NegotiationError::AnswerMismatch(
            "it has another number of media sections",
        ));
    }
    let sections = answer.media.iter().zip(slots).enumerate();
    sections
        .map(|(mline, (media, slot))| parse_slot(mline, media, slot))
        .collect()
}

fn parse_slot(
    mline: usize,
    media: &MediaSection,
    slot: &OfferedSlot,
) -> Result<SubscribedMedia, NegotiationError> {
    if media.kind != Some(slot.kind) || media.mid != mline.to_string() {
        return Err(NegotiationError::AnswerMismatch(
            "its media sections have another kind or mid",
        ));
    }
    let is_refused = media.is_rejected || !media.direction.receives();
    if !is_refused && !media.has_rtcp_mux {
        return Err(NegotiationError::NoRtcpMux(media.mid.clone()));
    }
    let mut read = subscribed_media(mline, media, slot.outgoing.clone())
        .ok_or(NegotiationError::NothingUsable)?;
    // RFC 3264 §6.1 allows other payload types in the answer. No known client uses them, and
    // forwarded packets carry only the offered ones.
    read.codecs
        .retain(|accepted| !is_refused && has_offered_payload_types(accepted));
    read.red_pt = read
        .red_pt
        .filter(|pt| !read.codecs.is_empty() && *pt == payload_types::RED);
    Ok(read)
}

fn has_offered_payload_types(accepted: &AcceptedCodec) -> bool {
    match accepted.codec {
        Codec::Opus => accepted.pt == payload_types::OPUS,
        codec => OFFERED_VIDEO.iter().any(|((pt, rtx), offered, _)| {
            *offered == codec
                && *pt == accepted.pt
                && accepted.rtx_pt.is_none_or(|rtx_pt| rtx_pt == *rtx)
        }),
    }
}
