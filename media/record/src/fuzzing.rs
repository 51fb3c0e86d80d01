//! Entry points of the fuzz targets: no input may panic or use unbounded memory.

use crate::payload::{FrameAssembler, OrderedPacket};
use crate::{Codec, Duration};

/// Splits `data` into payloads and depacketizes them. The first byte selects the codec; each
/// payload has a control byte with flags and its length in units of four bytes.
pub fn depacketize(data: &[u8]) {
    let Some((choice, mut rest)) = data.split_first() else {
        return;
    };
    let codec =
        [Codec::Opus, Codec::H264, Codec::Vp8, Codec::Vp9, Codec::Av1][usize::from(*choice) % 5];
    let mut assembler = FrameAssembler::new(codec);
    let mut frames = Vec::new();
    while let Some((control, tail)) = rest.split_first() {
        let (payload, tail) = tail.split_at(tail.len().min(usize::from(control >> 2) * 4));
        rest = tail;
        if control & 3 == 3 {
            assembler.handle_loss();
        }
        let rtp_time = u32::from(control & 2) * 3000;
        assembler.push(
            OrderedPacket {
                rtp_time,
                marker: control & 1 == 1,
                arrival: Duration::ZERO,
                payload,
            },
            &mut frames,
        );
    }
    assembler.finish_frame(&mut frames);
    for format in frames.iter().filter_map(|frame| frame.format.as_ref()) {
        let _ = (crate::cmaf::init(format, 90_000), format.codec_string());
    }
}

/// Parses bytes as an SPS, an AV1 sequence header and a segment file.
pub fn headers(data: &[u8]) {
    let _ = crate::sps::Sps::parse(data);
    let _ = crate::av1_sequence_header::SequenceHeader::parse(data);
    let _ = crate::scan::cmaf_segment(data, 90_000);
    let _ = crate::scan::ivf_segment(data);
    let _ = crate::scan::split_file(data, 90_000);
}
