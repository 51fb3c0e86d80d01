//! What is whole in a segment that a crash cut short: the fragments before the cut, and their times.

use std::time::Duration;

use mp4_atom::{Atom, DecodeAtom, Header, Mdat, Moof};

use crate::cmaf;
use crate::ivf;

/// The usable beginning of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Bytes that hold complete fragments; what follows them is to be cut off.
    pub length: usize,
    pub start: Duration,
    pub duration: Duration,
    pub keyframe_start: bool,
}

/// Finds the complete fragments of a CMAF segment; `None` when there is not one. `timescale` is the codec's clock rate.
pub fn cmaf_segment(bytes: &[u8], timescale: u32) -> Option<Scan> {
    let mut found: Option<Scan> = None;
    let mut rest = bytes;
    while let Some((fragment, tail)) = split_fragment(rest) {
        let length = bytes.len() - tail.len();
        let time = |ticks: u64| {
            Duration::from_micros((u128::from(ticks) * 1_000_000 / u128::from(timescale)) as u64)
        };
        let (start, end) = (time(fragment.start), time(fragment.end));
        let first = found.get_or_insert(Scan {
            length,
            start,
            duration: end,
            keyframe_start: fragment.keyframe,
        });
        first.length = length;
        first.duration = end.saturating_sub(first.start);
        rest = tail;
    }
    found
}

/// Finds the complete frames of an IVF segment (a VP8 segment has no header of its own).
pub fn ivf_segment(bytes: &[u8]) -> Option<Scan> {
    let mut found: Option<Scan> = None;
    let mut rest = bytes;
    while let Some((header, tail)) = rest.split_first_chunk::<{ ivf::FRAME_HEADER }>() {
        let [a, b, c, d, time @ ..] = *header;
        let Some(data) = tail.get(..u32::from_le_bytes([a, b, c, d]) as usize) else {
            break;
        };
        let at = Duration::from_millis(u64::from_le_bytes(time));
        rest = &tail[data.len()..];
        let length = bytes.len() - rest.len();
        let keyframe_start = data.first().is_some_and(|byte| byte & 1 == 0);
        let scan = found.get_or_insert(Scan {
            length,
            start: at,
            duration: Duration::ZERO,
            keyframe_start,
        });
        scan.length = length;
        scan.duration = at.saturating_sub(scan.start);
    }
    found
}

/// One fragment of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FragmentAt {
    pub bytes: std::ops::Range<usize>,
    pub start: Duration,
    pub duration: Duration,
    pub keyframe_start: bool,
}

/// Splits a whole fragmented file: the length of its init part, and its fragments. `None` when there is no fragment.
pub fn split_file(bytes: &[u8], timescale: u32) -> Option<(usize, Vec<FragmentAt>)> {
    let init = leading_boxes(bytes);
    let mut fragments = Vec::new();
    let mut at = init;
    while let Some((_, tail)) = split_fragment(&bytes[at..]) {
        let end = bytes.len() - tail.len();
        let Scan {
            start,
            duration,
            keyframe_start,
            ..
        } = cmaf_segment(&bytes[at..end], timescale)?;
        fragments.push(FragmentAt {
            bytes: at..end,
            start,
            duration,
            keyframe_start,
        });
        at = end;
    }
    (!fragments.is_empty()).then_some((init, fragments))
}

/// The length of the boxes before the first `moof`.
fn leading_boxes(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(header) = bytes.get(at..at + 8) {
        let size = u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize;
        if header[4..] == *b"moof" || size < 8 || size > bytes.len() - at {
            break;
        }
        at += size;
    }
    at
}

struct FragmentTimes {
    start: u64,
    end: u64,
    keyframe: bool,
}

/// One `moof` with its `mdat` off the front, if both are whole.
fn split_fragment(bytes: &[u8]) -> Option<(FragmentTimes, &[u8])> {
    let (moof, rest) = split_box(bytes, Moof::KIND)?;
    let (_, rest) = split_box(rest, Mdat::KIND)?;
    let header = Header {
        kind: Moof::KIND,
        size: Some(moof.len()),
    };
    let moof = Moof::decode_atom(&header, &mut &*moof).ok()?;
    let traf = moof.traf.first()?;
    let start = traf.tfdt.as_ref()?.base_media_decode_time;
    let samples = || traf.trun.iter().flat_map(|run| run.samples.iter());
    // What a sample does not say itself, the fragment's header says for all (ISO 14496-12 §8.8.7).
    let usual = traf.tfhd.default_sample_duration.unwrap_or(0);
    let length: u64 = samples()
        .map(|sample| u64::from(sample.duration.unwrap_or(usual)))
        .sum();
    let flags = samples().next()?.flags.or(traf.tfhd.default_sample_flags);
    let keyframe = flags.is_some_and(|flags| flags & cmaf::NON_SYNC == 0);
    Some((
        FragmentTimes {
            start,
            end: start.checked_add(length)?,
            keyframe,
        },
        rest,
    ))
}

/// The body of a box of this kind at the front, and what follows it.
fn split_box(bytes: &[u8], kind: mp4_atom::FourCC) -> Option<(&[u8], &[u8])> {
    let (size, rest) = bytes.split_first_chunk::<4>()?;
    let (name, rest) = rest.split_first_chunk::<4>()?;
    let body = (u32::from_be_bytes(*size) as usize).checked_sub(8)?;
    (mp4_atom::FourCC::from(name) == kind)
        .then(|| rest.split_at_checked(body))
        .flatten()
}
