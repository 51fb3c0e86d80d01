//! Scanner for segment files truncated by a crash: complete fragments and their times.

use std::time::Duration;

use mp4_atom::{Atom, DecodeAtom, Header, Mdat, Moof};

use crate::cmaf;
use crate::ivf;

/// Complete leading part of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScannedSegment {
    /// Length of the complete fragments in bytes; the caller truncates the file to it.
    pub valid_bytes: usize,
    /// Decode time of the first frame, since the start of the lesson.
    pub start: Duration,
    /// Sum of the durations of the complete fragments.
    pub duration: Duration,
    /// True if the first frame is a keyframe.
    pub keyframe_start: bool,
}

/// Finds the complete fragments of a CMAF segment; `None` if there is none.
///
/// `timescale` is the clock rate of the codec in Hz.
pub fn cmaf_segment(bytes: &[u8], timescale: u32) -> Option<ScannedSegment> {
    let mut found: Option<ScannedSegment> = None;
    let mut rest = bytes;
    while let Some((fragment, tail)) = split_fragment(rest) {
        let valid_bytes = bytes.len() - tail.len();
        let time = |ticks: u64| {
            Duration::from_micros((u128::from(ticks) * 1_000_000 / u128::from(timescale)) as u64)
        };
        let (start, end) = (time(fragment.start), time(fragment.end));
        let first = found.get_or_insert(ScannedSegment {
            valid_bytes,
            start,
            duration: end,
            keyframe_start: fragment.keyframe,
        });
        first.valid_bytes = valid_bytes;
        first.duration = end.saturating_sub(first.start);
        rest = tail;
    }
    found
}

/// Finds the complete frames of an IVF segment, which begins without a file header; `None` if there
/// is none.
pub fn ivf_segment(bytes: &[u8]) -> Option<ScannedSegment> {
    let mut found: Option<ScannedSegment> = None;
    let mut rest = bytes;
    while let Some((header, tail)) = rest.split_first_chunk::<{ ivf::FRAME_HEADER }>() {
        let [a, b, c, d, time @ ..] = *header;
        let Some(data) = tail.get(..u32::from_le_bytes([a, b, c, d]) as usize) else {
            break;
        };
        let at = Duration::from_millis(u64::from_le_bytes(time));
        rest = &tail[data.len()..];
        let valid_bytes = bytes.len() - rest.len();
        let keyframe_start = data.first().is_some_and(|byte| byte & 1 == 0);
        let scan = found.get_or_insert(ScannedSegment {
            valid_bytes,
            start: at,
            duration: Duration::ZERO,
            keyframe_start,
        });
        scan.valid_bytes = valid_bytes;
        scan.duration = at.saturating_sub(scan.start);
    }
    found
}

/// One fragment of a fragmented MP4 file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FragmentRange {
    /// Byte range of `moof` and `mdat` in the file.
    pub bytes: std::ops::Range<usize>,
    /// Decode time of the first frame, since the start of the lesson.
    pub start: Duration,
    /// Sum of the frame durations.
    pub duration: Duration,
    /// True if the first frame is a keyframe.
    pub keyframe_start: bool,
}

/// Splits a fragmented MP4 file (ISO/IEC 14496-12 §8.8) into its init part and its fragments.
///
/// Returns the length of the init part in bytes and the fragments; `None` if there is no fragment.
pub fn split_file(bytes: &[u8], timescale: u32) -> Option<(usize, Vec<FragmentRange>)> {
    let init = leading_boxes(bytes);
    let mut fragments = Vec::new();
    let mut at = init;
    while let Some((_, tail)) = split_fragment(&bytes[at..]) {
        let end = bytes.len() - tail.len();
        let ScannedSegment {
            start,
            duration,
            keyframe_start,
            ..
        } = cmaf_segment(&bytes[at..end], timescale)?;
        fragments.push(FragmentRange {
            bytes: at..end,
            start,
            duration,
            keyframe_start,
        });
        at = end;
    }
    (!fragments.is_empty()).then_some((init, fragments))
}

/// Length in bytes of the boxes before the first `moof`.
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

/// Splits one `moof` and its `mdat` off the front; `None` if either is incomplete.
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
    // `tfhd` has the defaults of fields that a sample omits (ISO/IEC 14496-12 §8.8.7).
    let default_duration = traf.tfhd.default_sample_duration.unwrap_or(0);
    let length: u64 = samples()
        .map(|sample| u64::from(sample.duration.unwrap_or(default_duration)))
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

/// Splits a box of this type off the front. Returns its body and the remaining bytes.
fn split_box(bytes: &[u8], kind: mp4_atom::FourCC) -> Option<(&[u8], &[u8])> {
    let (size, rest) = bytes.split_first_chunk::<4>()?;
    let (name, rest) = rest.split_first_chunk::<4>()?;
    let body = (u32::from_be_bytes(*size) as usize).checked_sub(8)?;
    (mp4_atom::FourCC::from(name) == kind)
        .then(|| rest.split_at_checked(body))
        .flatten()
}
