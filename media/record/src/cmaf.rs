//! CMAF writer (ISO/IEC 23000-19): one init segment per format, fragments of one `moof` and one
//! `mdat`.

use mp4_atom::{
    Audio, Av01, Av1c, Avc1, Avcc, AvccExt, Codec, Dinf, Dops, Dref, Encode, Ftyp, Hdlr, Mdat,
    Mdhd, Mdia, Mfhd, Minf, Moof, Moov, Mvex, Mvhd, Opus, Smhd, Stbl, Stsd, Tfdt, Tfhd, Tkhd, Traf,
    Trak, Trex, Trun, TrunEntry, TrunSamples, Url, Visual, Vmhd, Vp09, VpcC,
};

use crate::Duration;
use crate::av1_sequence_header::SequenceHeader;
use crate::frame::Format;
use crate::sps::Sps;

/// Track id: every file holds one track.
const TRACK_ID: u32 = 1;

/// Sample flags of a sync sample: sample_depends_on = 2 (ISO/IEC 14496-12 §8.8.3.1).
const SYNC: u32 = 0x0200_0000;
/// Sample flag sample_is_non_sync_sample.
pub(crate) const NON_SYNC: u32 = 0x0001_0000;
/// Sample flags of a dependent frame: sample_depends_on = 1, not a sync sample.
const DEPENDENT: u32 = 0x0100_0000 | NON_SYNC;

/// One sample of a fragment. Times are in ticks of the track's timescale unless noted.
pub(crate) struct Sample {
    /// Presentation time since the start of the lesson; the time of an IVF frame.
    pub at: Duration,
    pub duration: u32,
    /// Presentation minus decode time; non-zero only with B-frames.
    pub composition_offset: i64,
    pub keyframe: bool,
    pub data: Vec<u8>,
}

/// Writes the init segment, `ftyp` and `moov`; `None` if ISOBMFF cannot carry the format (VP8).
pub(crate) fn init(format: &Format, timescale: u32) -> Option<Vec<u8>> {
    let entry = sample_entry(format)?;
    let ftyp = Ftyp {
        major_brand: b"iso6".into(),
        minor_version: 0,
        compatible_brands: vec![b"iso6".into(), b"cmfc".into(), b"mp41".into()],
    };
    let moov = Moov {
        mvhd: Mvhd {
            timescale,
            next_track_id: TRACK_ID + 1,
            rate: 1.into(),
            volume: 1.into(),
            ..Mvhd::default()
        },
        mvex: Some(Mvex {
            mehd: None,
            trex: vec![Trex {
                track_id: TRACK_ID,
                default_sample_description_index: 1,
                ..Trex::default()
            }],
        }),
        trak: vec![track(format, entry, timescale)],
        ..Moov::default()
    };
    let mut out = Vec::with_capacity(1024);
    ftyp.encode(&mut out)
        .and_then(|()| moov.encode(&mut out))
        .expect("our own boxes fit their fields");
    Some(out)
}

fn track(format: &Format, entry: Codec, timescale: u32) -> Trak {
    let size = format.size();
    let (width, height) = size.unwrap_or((0, 0));
    let stbl = Stbl {
        stsd: Stsd {
            codecs: vec![entry],
        },
        stco: Some(Default::default()),
        ..Stbl::default()
    };
    let dinf = Dinf {
        dref: Dref {
            entries: vec![mp4_atom::DrefEntry::Url(Url::default())],
        },
    };
    let (vmhd, smhd) = if size.is_some() {
        (Some(Vmhd::default()), None)
    } else {
        (None, Some(Smhd::default()))
    };
    Trak {
        tkhd: Tkhd {
            track_id: TRACK_ID,
            enabled: true,
            in_movie: true,
            volume: if size.is_some() { 0.into() } else { 1.into() },
            width: width.into(),
            height: height.into(),
            ..Tkhd::default()
        },
        mdia: Mdia {
            mdhd: Mdhd {
                timescale,
                language: "und".into(),
                ..Mdhd::default()
            },
            hdlr: Hdlr {
                handler: if size.is_some() {
                    b"vide".into()
                } else {
                    b"soun".into()
                },
                name: "tongke".into(),
            },
            minf: Minf {
                vmhd,
                smhd,
                dinf,
                stbl,
                ..Minf::default()
            },
        },
        ..Trak::default()
    }
}

fn sample_entry(format: &Format) -> Option<Codec> {
    let visual = |width, height| Visual {
        data_reference_index: 1,
        width,
        height,
        ..Visual::default()
    };
    Some(match format {
        Format::Vp8 { .. } => return None,
        Format::Opus => opus().into(),
        Format::H264 {
            sps,
            pps,
            width,
            height,
        } => Avc1 {
            visual: visual(*width, *height),
            avcc: avcc(sps, pps),
            ..Avc1::default()
        }
        .into(),
        Format::Vp9 {
            profile,
            bit_depth,
            subsampling,
            full_range,
            width,
            height,
        } => {
            let vpcc = VpcC {
                profile: *profile,
                level: 31,
                bit_depth: *bit_depth,
                chroma_subsampling: *subsampling,
                video_full_range_flag: *full_range,
                ..VpcC::default()
            };
            Vp09 {
                visual: visual(*width, *height),
                vpcc,
                ..Vp09::default()
            }
            .into()
        }
        Format::Av1 { sequence, obu } => {
            let visual = visual(sequence.width, sequence.height);
            Av01 {
                visual,
                av1c: av1c(sequence, obu),
                ..Av01::default()
            }
            .into()
        }
    })
}

/// Sample entry of Opus. RTP always signals 48 kHz stereo (RFC 7587 §7). There is no pre-skip
/// because the first recorded packet is not the first of the encoder.
fn opus() -> Opus {
    Opus {
        audio: Audio {
            data_reference_index: 1,
            channel_count: 2,
            sample_size: 16,
            sample_rate: 48_000.into(),
        },
        dops: Dops {
            output_channel_count: 2,
            pre_skip: 0,
            input_sample_rate: 48_000,
            output_gain: 0,
            channel_mapping: None,
        },
        btrt: None,
    }
}

fn avcc(sps: &[u8], pps: &[Vec<u8>]) -> Avcc {
    let parsed = Sps::parse(sps).expect("a Format holds only an SPS that was parsed");
    let ext = parsed.is_high().then(|| AvccExt {
        chroma_format: parsed.chroma_format,
        bit_depth_luma: parsed.bit_depth_luma,
        bit_depth_chroma: parsed.bit_depth_chroma,
        sequence_parameter_sets_ext: Vec::new(),
    });
    Avcc {
        configuration_version: 1,
        avc_profile_indication: parsed.profile,
        profile_compatibility: parsed.constraints,
        avc_level_indication: parsed.level,
        length_size: 4,
        sequence_parameter_sets: vec![sps.to_vec()],
        picture_parameter_sets: pps.to_vec(),
        ext,
    }
}

fn av1c(sequence: &SequenceHeader, obu: &[u8]) -> Av1c {
    Av1c {
        seq_profile: sequence.profile,
        seq_level_idx_0: sequence.level,
        seq_tier_0: sequence.tier,
        high_bitdepth: sequence.high_bitdepth,
        twelve_bit: sequence.twelve_bit,
        monochrome: sequence.monochrome,
        chroma_subsampling_x: sequence.subsampling_x,
        chroma_subsampling_y: sequence.subsampling_y,
        chroma_sample_position: sequence.chroma_sample_position,
        initial_presentation_delay: None,
        config_obus: obu.to_vec(),
    }
}

/// Writes one fragment. `number` counts up within the layer; `decode_time` is in ticks since the
/// start of the lesson.
pub(crate) fn fragment(number: u32, decode_time: u64, samples: &[Sample]) -> Vec<u8> {
    let mut moof = Moof {
        mfhd: Mfhd {
            sequence_number: number,
        },
        traf: vec![Traf {
            tfhd: Tfhd {
                track_id: TRACK_ID,
                default_base_is_moof: true,
                ..Tfhd::default()
            },
            tfdt: Some(Tfdt {
                base_media_decode_time: decode_time,
            }),
            trun: vec![Trun {
                data_offset: Some(0),
                samples: TrunSamples::Explicit(samples.iter().map(run_entry).collect()),
            }],
            ..Traf::default()
        }],
    };
    let mut out = Vec::new();
    moof.encode(&mut out)
        .expect("our own boxes fit their fields");
    // The data follows the moof and the 8-byte header of the mdat: write the moof a second time
    // with that offset.
    moof.traf[0].trun[0].data_offset = Some(out.len() as i32 + 8);
    out.clear();
    moof.encode(&mut out)
        .expect("our own boxes fit their fields");
    let data = samples
        .iter()
        .map(|sample| sample.data.as_slice())
        .collect::<Vec<_>>()
        .concat();
    Mdat { data }
        .encode(&mut out)
        .expect("a fragment stays far below 4 GB");
    out
}

fn run_entry(sample: &Sample) -> TrunEntry {
    TrunEntry {
        duration: Some(sample.duration),
        size: Some(sample.data.len() as u32),
        flags: Some(if sample.keyframe { SYNC } else { DEPENDENT }),
        cts: (sample.composition_offset != 0).then_some(sample.composition_offset),
    }
}

/// Converts lesson time to ticks, rounded to the nearest.
pub(crate) fn ticks(time: Duration, timescale: u32) -> u64 {
    ((time.as_micros() * u128::from(timescale) + 500_000) / 1_000_000) as u64
}
