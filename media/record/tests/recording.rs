//! Tracks of real encoders through the recorder, over good and lossy links; libav decodes the
//! output.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tongke_record::testing::{Rng, SentPacket, lossy_link, packets, streams};
use tongke_record::{
    Codec, Event, Fragment, Gap, LayerStats, Packet, Recorder, SegmentEnd, SenderReport, scan,
};

const FRAME: Duration = Duration::from_nanos(66_666_667);
const MS: fn(u64) -> Duration = Duration::from_millis;

/// Events of one layer.
#[derive(Default)]
struct Recorded {
    inits: Vec<tongke_record::Init>,
    fragments: Vec<Fragment>,
    segments: Vec<SegmentEnd>,
    gaps: Vec<Gap>,
    keyframe_requests: usize,
    stats: BTreeMap<u8, LayerStats>,
}

impl Recorded {
    fn add(&mut self, event: Event) {
        match event {
            Event::Init(init) => self.inits.push(init),
            Event::Fragment(fragment) => self.fragments.push(fragment),
            Event::SegmentEnd(end) => self.segments.push(end),
            Event::Gap(gap) => self.gaps.push(gap),
            Event::KeyframeRequest => self.keyframe_requests += 1,
        }
    }

    fn bytes_of(&self, init: u32) -> Vec<u8> {
        let mut file = self.inits[init as usize].bytes.clone();
        self.fragments
            .iter()
            .filter(|f| f.init == init)
            .for_each(|f| file.extend_from_slice(&f.bytes));
        file
    }

    fn segment_bytes(&self, segment: u32) -> Vec<u8> {
        self.fragments
            .iter()
            .filter(|f| f.segment == segment)
            .flat_map(|f| f.bytes.clone())
            .collect()
    }
}

fn record(codec: Codec, arriving: &[SentPacket]) -> Recorded {
    let mut recorder = Recorder::new();
    recorder.add_track(1, 1, codec);
    let mut recorded = Recorded::default();
    for packet in arriving {
        let SentPacket {
            seq,
            rtp_time,
            marker,
            at,
            payload,
        } = packet;
        recorder.handle_timeout(*at);
        let (seq, rtp_time, marker, arrival) = (*seq, *rtp_time, *marker, *at);
        recorder.handle_packet(
            1,
            Packet {
                layer: 0,
                seq,
                rtp_time,
                marker,
                arrival,
                payload,
            },
        );
        while let Some(output) = recorder.poll_output() {
            recorded.add(output.event);
        }
    }
    recorded.stats = recorder.remove_track(1);
    while let Some(output) = recorder.poll_output() {
        recorded.add(output.event);
    }
    recorded
}

/// Presentation times in milliseconds of all frames that libav decodes; panics on any warning.
fn decoded(file: &[u8], extension: &str) -> Vec<i64> {
    decoded_above("warning", file, extension)
}

/// Same as [`decoded`], but panics only on messages from this log level on.
fn decoded_above(level: &str, file: &[u8], extension: &str) -> Vec<i64> {
    let path = write(file, extension);
    let output = Command::new("ffprobe")
        .args([
            "-v",
            level,
            "-show_entries",
            "frame=pts_time",
            "-of",
            "csv=p=0",
        ])
        .arg(&path)
        .output()
        .expect("ffprobe is installed by deploy/setup");
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && messages.is_empty(), "{messages}");
    std::fs::remove_file(path).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter_map(|line| line.trim_end_matches(',').parse::<f64>().ok())
        .map(|s| (s * 1000.0).round() as i64)
        .collect()
}

fn write(file: &[u8], extension: &str) -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "tongke-record-{}-{}.{extension}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    );
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, file).unwrap();
    path
}

#[test]
fn every_frame_of_every_video_codec_is_recorded_at_its_lesson_time() {
    let begin = MS(5_000);
    for (codec, frames, extension) in [
        (Codec::H264, streams::h264_baseline(), "mp4"),
        (Codec::Vp9, streams::vp9(), "mp4"),
        (Codec::Av1, streams::av1(), "mp4"),
        (Codec::Vp8, streams::vp8(), "ivf"),
    ] {
        let recorded = record(codec, &packets(&frames, 90_000, FRAME, begin));
        assert_eq!(recorded.inits.len(), 1, "{codec:?}");
        assert_eq!(recorded.inits[0].size, Some((192, 108)), "{codec:?}");
        let times = decoded(&recorded.bytes_of(0), extension);
        assert_eq!(times.len(), streams::FRAMES, "{codec:?}");
        for (index, time) in times.iter().enumerate() {
            let ideal = (begin + FRAME * index as u32).as_millis() as i64;
            assert!(
                (time - ideal).abs() <= 1,
                "{codec:?}: frame {index} at {time} instead of {ideal}"
            );
        }
        assert_eq!(recorded.segments.len(), 3, "{codec:?}");
        assert!(
            recorded
                .segments
                .iter()
                .all(|segment| segment.keyframe_start),
            "{codec:?}"
        );
        assert!(
            recorded.fragments.iter().all(|f| f.duration <= MS(600)),
            "{codec:?}"
        );
        assert!(recorded.gaps.is_empty(), "{codec:?}");
    }
}

#[test]
fn an_encoder_with_b_frames_is_recorded_in_the_right_order() {
    let frames = streams::h264_high();
    // A B-frame is sent after the frame that it precedes: x264 codes groups of "I P B B".
    let times = presentation_order();
    let mut sent = packets(&frames, 90_000, FRAME, MS(0));
    let mut index = 0;
    for packet in &mut sent {
        packet.rtp_time = (times[index] * 6000) as u32;
        index += usize::from(packet.marker);
    }
    let recorded = record(Codec::H264, &sent);
    // libav warns about uneven decode times: RTP carries presentation times only.
    let shown = decoded_above("error", &recorded.bytes_of(0), "mp4");
    assert_eq!(shown.len(), streams::FRAMES);
    assert!(shown.is_sorted(), "{shown:?}");
}

/// Display index of each frame in coding order, according to libav.
fn presentation_order() -> Vec<u64> {
    let fixture = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/testing/fixtures/high.h264"
    );
    let output = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-show_entries",
            "frame=coded_picture_number",
            "-of",
            "csv=p=0",
            fixture,
        ])
        .output()
        .expect("ffprobe is installed by deploy/setup");
    let coded: Vec<usize> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|l| l.trim_end_matches(',').parse().ok())
        .collect();
    let mut order = vec![0; coded.len()];
    coded
        .iter()
        .enumerate()
        .for_each(|(display, coding)| order[*coding] = display as u64);
    order
}

#[test]
fn audio_is_recorded_without_a_gap() {
    let frames = streams::opus();
    let recorded = record(Codec::Opus, &packets(&frames, 48_000, MS(20), MS(1_000)));
    let times = decoded(&recorded.bytes_of(0), "mp4");
    assert_eq!(times.len(), frames.len());
    assert_eq!(times[0], 1_000);
    assert!(
        times.windows(2).all(|pair| pair[1] - pair[0] == 20),
        "{times:?}"
    );
    assert_eq!(recorded.inits[0].codec_string, "opus");
    assert!(recorded.gaps.is_empty());
}

#[test]
fn a_link_that_retransmits_lost_packets_costs_no_frame() {
    for seed in 1..=5 {
        let sent = packets(&streams::h264_baseline(), 90_000, FRAME, MS(0));
        let recorded = record(Codec::H264, &lossy_link(&sent, &mut Rng(seed), 10));
        assert_eq!(
            decoded(&recorded.bytes_of(0), "mp4").len(),
            streams::FRAMES,
            "seed {seed}"
        );
        assert_eq!(recorded.stats[&0].lost, 0, "seed {seed}");
        assert!(recorded.gaps.is_empty(), "seed {seed}");
    }
}

#[test]
fn a_lost_packet_costs_the_frames_up_to_the_next_keyframe_and_is_reported_as_a_gap() {
    for (codec, frames, extension) in [
        (Codec::H264, streams::h264_baseline(), "mp4"),
        (Codec::Vp9, streams::vp9(), "mp4"),
        (Codec::Av1, streams::av1(), "mp4"),
        (Codec::Vp8, streams::vp8(), "ivf"),
    ] {
        let mut sent = packets(&frames, 90_000, FRAME, MS(0));
        let third = sent.iter().filter(|p| p.at < MS(700)).count();
        sent.remove(third);
        let recorded = record(codec, &sent);
        let times = decoded(&recorded.bytes_of(0), extension);
        assert!(
            times.len() < streams::FRAMES && times.len() >= 69,
            "{codec:?}: {}",
            times.len()
        );
        assert!(
            times.contains(&2_000) && times.contains(&5_933),
            "{codec:?}: {times:?}"
        );
        assert!(recorded.keyframe_requests > 0, "{codec:?}");
        assert_eq!(recorded.stats[&0].lost, 1, "{codec:?}");
        let [gap] = recorded.gaps[..] else {
            panic!("{codec:?}: {:?}", recorded.gaps)
        };
        assert!(
            gap.lost && gap.from >= MS(650) && gap.from <= MS(800) && gap.to == MS(2_000),
            "{codec:?}: {gap:?}"
        );
    }
}

#[test]
fn a_short_gap_in_audio_is_concealed_and_a_long_one_stays_a_gap() {
    let mut sent = packets(&streams::opus(), 48_000, MS(20), MS(0));
    sent.retain(|packet| {
        !(MS(1_000)..MS(1_200)).contains(&packet.at) && !(MS(3_000)..MS(5_000)).contains(&packet.at)
    });
    let recorded = record(Codec::Opus, &sent);
    let gaps: Vec<_> = recorded
        .gaps
        .iter()
        .map(|gap| (gap.from.as_millis(), gap.to.as_millis()))
        .collect();
    assert_eq!(gaps, [(1_000, 1_200), (3_000, 5_000)]);
    let times = decoded(&recorded.bytes_of(0), "mp4");
    assert!(
        (1_000..1_200).step_by(20).all(|time| times.contains(&time)),
        "{times:?}"
    );
    assert!(
        !times.iter().any(|time| (3_000..5_000).contains(time)),
        "{times:?}"
    );
}

#[test]
fn a_new_resolution_starts_a_new_init_segment_and_a_new_segment() {
    let mut sent = packets(&streams::h264_baseline(), 90_000, FRAME, MS(0));
    let second = packets(&streams::h264_high(), 90_000, FRAME, MS(6_000));
    let (seq, time) = (
        sent.last().unwrap().seq + 1,
        sent.last().unwrap().rtp_time.wrapping_add(6_000),
    );
    let base = second[0].clone();
    sent.extend(second.into_iter().map(|p| SentPacket {
        seq: p.seq - base.seq + seq,
        rtp_time: p.rtp_time.wrapping_sub(base.rtp_time).wrapping_add(time),
        ..p
    }));
    let recorded = record(Codec::H264, &sent);
    assert_eq!(
        recorded
            .inits
            .iter()
            .map(|init| init.index)
            .collect::<Vec<_>>(),
        [0, 1]
    );
    assert!(
        recorded
            .segments
            .iter()
            .all(|segment| segment.init == u32::from(segment.start >= MS(5_990)))
    );
    assert_eq!(decoded(&recorded.bytes_of(0), "mp4").len(), streams::FRAMES);
}

#[test]
fn a_stream_that_ignores_keyframe_requests_is_segmented_without_keyframes() {
    // The frames between the first and the second keyframe, repeated: 30 s without a keyframe.
    let frames = streams::h264_baseline();
    let looped: Vec<_> = frames[..1]
        .iter()
        .chain(frames[1..29].iter().cycle().take(450))
        .cloned()
        .collect();
    let recorded = record(Codec::H264, &packets(&looped, 90_000, FRAME, MS(0)));
    assert!(
        recorded
            .segments
            .iter()
            .all(|segment| segment.duration <= MS(6_100)),
        "{:?}",
        recorded.segments
    );
    assert!(recorded.keyframe_requests >= 20);
}

#[test]
fn after_a_crash_the_complete_fragments_are_found_at_every_truncation() {
    for (codec, frames) in [
        (Codec::H264, streams::h264_baseline()),
        (Codec::Vp8, streams::vp8()),
    ] {
        let recorded = record(codec, &packets(&frames, 90_000, FRAME, MS(0)));
        let bytes = recorded.segment_bytes(1);
        let read = |bytes: &[u8]| match codec {
            Codec::Vp8 => scan::ivf_segment(bytes),
            _ => scan::cmaf_segment(bytes, 90_000),
        };
        let whole = read(&bytes).unwrap();
        assert_eq!((whole.valid_bytes, whole.start), (bytes.len(), MS(2_000)));
        assert!(whole.keyframe_start && whole.duration >= MS(1_900));
        for cut in 0..bytes.len() {
            let Some(found) = read(&bytes[..cut]) else {
                continue;
            };
            assert!(found.valid_bytes <= cut && found.duration <= whole.duration);
        }
    }
}

#[test]
fn audio_and_video_of_one_sender_share_one_clock() {
    let video = packets(&streams::h264_baseline(), 90_000, FRAME, MS(0));
    let audio = packets(&streams::opus(), 48_000, MS(20), MS(0));
    let mut recorder = Recorder::new();
    recorder.add_track(1, 7, Codec::H264);
    recorder.add_track(2, 7, Codec::Opus);
    // Video has 120 ms more delay than audio; both start at sender time 1000 s.
    let mut all: Vec<(u64, SentPacket)> = video
        .into_iter()
        .map(|p| {
            (
                1,
                SentPacket {
                    at: p.at + MS(160),
                    ..p
                },
            )
        })
        .collect();
    all.extend(audio.into_iter().map(|p| {
        (
            2,
            SentPacket {
                at: p.at + MS(40),
                ..p
            },
        )
    }));
    all.sort_by_key(|(_, packet)| packet.at);
    for (track, delay, rate) in [(1, 160, 90u32), (2, 40, 48)] {
        let rtp_time = (500 * rate).wrapping_sub(5000);
        let report = SenderReport {
            layer: 0,
            ntp: (1000 << 32) + (1 << 31),
            rtp_time,
            arrival: MS(500 + delay),
        };
        recorder.handle_sender_report(track, report);
    }
    let mut starts: BTreeMap<u64, Vec<Duration>> = BTreeMap::new();
    for (track, packet) in &all {
        let SentPacket {
            seq,
            rtp_time,
            marker,
            at,
            payload,
        } = packet;
        let (seq, rtp_time, marker, arrival) = (*seq, *rtp_time, *marker, *at);
        recorder.handle_packet(
            *track,
            Packet {
                layer: 0,
                seq,
                rtp_time,
                marker,
                arrival,
                payload,
            },
        );
        while let Some(output) = recorder.poll_output() {
            if let Event::SegmentEnd(end) = output.event {
                starts.entry(output.track).or_default().push(end.start);
            }
        }
    }
    // The report with the least delay took 40 ms and determines the time of both tracks.
    for track in [1, 2] {
        assert!(starts[&track][1].abs_diff(MS(2_040)) < MS(2), "{starts:?}");
    }
}
