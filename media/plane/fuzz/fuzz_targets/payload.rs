//! Arbitrary payload of each codec, selected by the first byte. Rewriting the picture IDs of a VP8
//! payload changes nothing else.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tongke_plane::rtp::payload::{self, FrameInfo, red, rtx, vp8};
use tongke_plane::sdp::Codec;

fuzz_target!(|data: &[u8]| {
    let Some((choice, payload)) = data.split_first() else { return };
    match choice % 7 {
        0 => drop(payload::describe(Codec::Opus, payload)),
        1 => drop(payload::describe(Codec::H264, payload)),
        2 => rewrite_picture_ids(payload),
        3 => drop(payload::describe(Codec::Vp9, payload)),
        4 => drop(payload::describe(Codec::Av1, payload)),
        5 => check_red(payload),
        _ => assert!(rtx::original(payload).is_none_or(|(_, original)| original.len() + 2 == payload.len())),
    }
});

fn rewrite_picture_ids(payload: &[u8]) {
    let described = payload::describe(Codec::Vp8, payload);
    let mut changed = payload.to_vec();
    let ids = vp8::PictureIds { picture_id: 0x2aaa, tl0picidx: 0x55 };
    vp8::rewrite(&mut changed, ids);
    let Some(before) = described else { return };
    let after = payload::describe(Codec::Vp8, &changed).expect("still well-formed");
    assert_eq!(FrameInfo { vp8: None, ..before }, FrameInfo { vp8: None, ..after });
    assert_eq!(before.vp8.is_some(), after.vp8.is_some());
    if let Some(after) = after.vp8 {
        assert_eq!(after.picture_id & 0x7f, ids.picture_id & 0x7f);
    }
    let Some(before) = before.vp8 else { return };
    vp8::rewrite(&mut changed, before);
    assert_eq!(changed, payload);
}

fn check_red(payload: &[u8]) {
    let inside: usize = red::blocks(payload).map(|block| block.payload.len()).sum();
    assert!(inside <= payload.len());
    let primaries = red::blocks(payload).filter(|block| block.primary).count();
    assert_eq!(primaries, usize::from(red::primary(payload).is_some()));
}
