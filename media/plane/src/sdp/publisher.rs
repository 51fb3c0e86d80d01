//! Publishers: answers to our own client and to WHIP encoders (RFC 9725).

use super::attributes::PayloadFormat;
use super::description::Description;
use super::extension::Extension;
use super::media_section::MediaSection;
use super::write::Writer;
use super::{Codec, LocalParameters, MediaKind, NegotiationError, PublishedMedia, SsrcPair};
use crate::index::MAX_LAYERS;

/// Answers a publisher. `codecs` are the accepted video codecs, best first; exactly one codec per
/// m-section is accepted.
///
/// The answer has every m-section of the offer in its order; unusable ones get port 0. Fails if
/// none is usable.
pub fn answer_publisher(
    offer: &Description,
    local: &LocalParameters<'_>,
    codecs: &[Codec],
) -> Result<(String, Vec<PublishedMedia>), NegotiationError> {
    offer.check_setup()?;
    let usable = offer
        .usable_sections(|media| media.direction.sends() && select_codec(media, codecs).is_some());
    let published: Vec<_> = offer
        .media
        .iter()
        .enumerate()
        .filter(|(mline, _)| usable[*mline])
        .filter_map(|(mline, media)| {
            Some(published_media(mline, media, select_codec(media, codecs)?))
        })
        .collect();
    if published.is_empty() {
        return Err(NegotiationError::NothingUsable);
    }
    if let Some(media) = published
        .iter()
        .map(|media| &offer.media[media.mline])
        .find(|media| !media.has_rtcp_mux)
    {
        return Err(NegotiationError::NoRtcpMux(media.mid.clone()));
    }
    Ok((write(offer, local, &published), published))
}

/// Selects the codec of an m-section and its payload type.
fn select_codec<'a>(
    media: &'a MediaSection,
    codecs: &[Codec],
) -> Option<(Codec, &'a PayloadFormat)> {
    let candidates = match media.kind? {
        MediaKind::Audio => &[Codec::Opus],
        MediaKind::Video => codecs,
    };
    let of_kind = candidates
        .iter()
        .filter(|codec| Some(codec.kind()) == media.kind);
    of_kind
        .copied()
        .find_map(|codec| Some((codec, media.best_payload(codec)?)))
}

fn published_media(
    mline: usize,
    media: &MediaSection,
    (codec, payload): (Codec, &PayloadFormat),
) -> PublishedMedia {
    PublishedMedia {
        mid: media.mid.clone(),
        mline,
        kind: codec.kind(),
        codec,
        pt: payload.pt,
        rtx_pt: media.rtx_for(payload.pt).map(|rtx| rtx.pt),
        red_pt: media
            .red_for(payload.pt)
            .filter(|_| codec == Codec::Opus)
            .map(|red| red.pt),
        clock_rate: codec.clock_rate(),
        extensions: publisher_extensions(media),
        rids: media.rids.iter().take(MAX_LAYERS).cloned().collect(),
        sources: announced_ssrcs(media),
        stream: media.stream.clone(),
        track: media.track.clone(),
    }
}

/// Returns the extensions that the plane reads from a publisher's packets. The absolute send time
/// is the fallback without transport-wide sequence numbers.
fn publisher_extensions(media: &MediaSection) -> super::ExtensionIds {
    let mut ids = media.extensions.filtered(&[
        Extension::Mid,
        Extension::TransportCc,
        Extension::AbsCaptureTime,
    ]);
    match media.kind {
        Some(MediaKind::Audio) => ids.audio_level = media.extensions.audio_level,
        _ => {
            ids.rid = media.extensions.rid;
            ids.repaired_rid = media.extensions.repaired_rid;
        }
    }
    if ids.transport_cc.is_none() {
        ids.abs_send_time = media.extensions.abs_send_time;
    }
    ids
}

/// Returns the announced SSRCs: the layers of a SIM group, else the first that is not a
/// retransmission SSRC.
fn announced_ssrcs(media: &MediaSection) -> Vec<SsrcPair> {
    let rtx = |primary| {
        media
            .fid_groups
            .iter()
            .find(|(media, _)| *media == primary)
            .map(|(_, rtx)| *rtx)
    };
    let is_rtx = |ssrc| media.fid_groups.iter().any(|(_, rtx)| *rtx == ssrc);
    let layers: Vec<_> = if media.sim_group.is_empty() {
        media
            .ssrcs
            .iter()
            .copied()
            .filter(|ssrc| !is_rtx(*ssrc))
            .take(1)
            .collect()
    } else {
        media.sim_group.iter().copied().take(MAX_LAYERS).collect()
    };
    layers
        .into_iter()
        .map(|primary| SsrcPair {
            primary,
            rtx: rtx(primary),
        })
        .collect()
}

fn write(offer: &Description, local: &LocalParameters<'_>, published: &[PublishedMedia]) -> String {
    let mids: Vec<_> = published
        .iter()
        .map(|accepted| accepted.mid.as_str())
        .collect();
    let mut writer = Writer::session(
        offer.version,
        if offer.bundles.is_empty() { &[] } else { &mids },
    );
    for (mline, media) in offer.media.iter().enumerate() {
        match published.iter().find(|accepted| accepted.mline == mline) {
            Some(accepted) => write_media(&mut writer, local, media, accepted),
            None => writer.reject(media),
        }
    }
    writer.finish()
}

fn write_media(
    writer: &mut Writer,
    local: &LocalParameters<'_>,
    media: &MediaSection,
    accepted: &PublishedMedia,
) {
    // RED is first because Chromium sends with the first supported payload type of the answer.
    let pts: Vec<u8> = accepted
        .red_pt
        .into_iter()
        .chain([accepted.pt])
        .chain(accepted.rtx_pt)
        .collect();
    let mid = media.has_mid.then_some(accepted.mid.as_str());
    writer.media(local, accepted.kind.name(), &pts, mid, "passive");
    writer.line("a=recvonly");
    writer.extensions(&accepted.extensions);
    match accepted.kind {
        MediaKind::Audio => write_audio(writer, media, accepted),
        MediaKind::Video => write_video(writer, media, accepted),
    }
    for rid in &accepted.rids {
        writer.line(format_args!("a=rid:{rid} recv"));
    }
    if !accepted.rids.is_empty() {
        writer.line(format_args!("a=simulcast:recv {}", accepted.rids.join(";")));
    }
}

fn write_audio(writer: &mut Writer, media: &MediaSection, accepted: &PublishedMedia) {
    let Some(opus) = media.payload(accepted.pt) else {
        return;
    };
    if let Some(red) = accepted.red_pt {
        writer.payload(red, "red/48000/2", &[], &format!("{0}/{0}", accepted.pt));
    }
    // In-band FEC repairs one lost packet without retransmission (RFC 7587 §6.1). A music lesson
    // can offer stereo.
    let is_stereo =
        opus.parameter("sprop-stereo") == Some("1") || opus.parameter("stereo") == Some("1");
    let parameters = if is_stereo {
        "minptime=10;stereo=1;useinbandfec=1"
    } else {
        "minptime=10;useinbandfec=1"
    };
    writer.payload(
        accepted.pt,
        "opus/48000/2",
        &common_feedback(opus, &["transport-cc", "nack"]),
        parameters,
    );
    if let Some(ptime) = media.ptime {
        writer.line(format_args!("a=ptime:{ptime}"));
    }
}

fn write_video(writer: &mut Writer, media: &MediaSection, accepted: &PublishedMedia) {
    let Some(payload) = media.payload(accepted.pt) else {
        return;
    };
    let encoding = format!("{}/{}", accepted.codec.name(), accepted.clock_rate);
    let feedback = common_feedback(payload, &["transport-cc", "ccm fir", "nack", "nack pli"]);
    writer.payload(accepted.pt, encoding, &feedback, &payload.parameters);
    if let Some(rtx) = accepted.rtx_pt {
        writer.payload(rtx, "rtx/90000", &[], &format!("apt={}", accepted.pt));
    }
}

/// Returns the RTCP feedback that both sides support.
fn common_feedback<'a>(payload: &PayloadFormat, ours: &[&'a str]) -> Vec<&'a str> {
    ours.iter()
        .copied()
        .filter(|kind| payload.feedback.iter().any(|offered| offered == kind))
        .collect()
}
