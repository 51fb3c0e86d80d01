//! `tongke-av` on recorder output and on invalid files.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use tongke_record::testing::{SentPacket, packets, streams};
use tongke_record::{Codec, Event, Packet, Recorder};

const FRAME: Duration = Duration::from_nanos(66_666_667);
const MS: fn(u64) -> Duration = Duration::from_millis;

/// Temporary folder that is removed with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("tongke-av-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Records a track; returns its init segment and all fragments.
fn recorded(codec: Codec, sent: &[SentPacket]) -> Vec<u8> {
    let mut recorder = Recorder::new();
    recorder.add_track(1, 1, codec);
    for SentPacket {
        seq,
        rtp_time,
        marker,
        at,
        payload,
    } in sent
    {
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
    }
    recorder.remove_track(1);
    let mut file = Vec::new();
    while let Some(output) = recorder.poll_output() {
        match output.event {
            Event::Init(init) => file.extend(init.bytes),
            Event::Fragment(fragment) => file.extend(fragment.bytes),
            _ => {}
        }
    }
    file
}

fn av(arguments: &[&str], folder: &Folder) -> Output {
    let program = env!("CARGO_BIN_EXE_tongke-av");
    Command::new(program)
        .args(arguments)
        .current_dir(&folder.0)
        .output()
        .unwrap()
}

fn last_line(output: &Output) -> serde_json::Value {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    serde_json::from_str(text.lines().last().expect("there is always a last line")).unwrap()
}

/// Runs ffmpeg filters; returns their output on standard error.
fn analyse(file: &Path, filters: &[&str]) -> String {
    let output = Command::new("ffmpeg")
        .args(["-hide_banner", "-i"])
        .arg(file)
        .args(filters)
        .args(["-f", "null", "-"])
        .output();
    let output = output.expect("ffmpeg is installed by deploy/setup");
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn seconds_after(text: &str, label: &str) -> Vec<f64> {
    let parts = text.split(label).skip(1);
    parts
        .filter_map(|rest| {
            rest.trim_start()
                .split([' ', '\n', '\r'])
                .next()?
                .parse()
                .ok()
        })
        .collect()
}

/// Writes a lesson of 12 s: camera from 2 s on, audio from 3 s on, a room's VP8 camera from 4 s on.
fn write_lesson(folder: &Folder) {
    let camera = packets(&streams::h264_baseline(), 90_000, FRAME, MS(2_000));
    folder.file("camera.mp4", &recorded(Codec::H264, &camera));
    let audio = packets(&streams::opus(), 48_000, MS(20), MS(3_000));
    folder.file("voice.mp4", &recorded(Codec::Opus, &audio));
    let room = packets(&streams::vp8(), 90_000, FRAME, MS(4_000));
    folder.file("room.ivf", &recorded(Codec::Vp8, &room));
}

const ONE_CAMERA: &str = r#"{"duration_ms":12000,"pictures":{"lead":[{"path":"camera.mp4"}]},"sounds":{"voice":[{"path":"voice.mp4"}]},
    "scenes":[{"from_ms":0,"main":"lead"}]}"#;
const STAGE: &str = r#"{"duration_ms":12000,"pictures":{"lead":[{"path":"camera.mp4"}],"room":[{"path":"room.ivf"}]},
    "sounds":{"voice":[{"path":"voice.mp4"}]},
    "scenes":[{"from_ms":0,"main":"lead"},{"from_ms":5000,"main":"lead","beside":"room"},{"from_ms":8000,"main":"room","inset":"lead"}]}"#;

#[test]
fn a_lesson_becomes_one_mp4_with_video_and_audio_in_sync() {
    for (name, manifest, video) in [
        ("copied", ONE_CAMERA, "copied"),
        ("composed", STAGE, "composed"),
    ] {
        let folder = Folder::new(name);
        write_lesson(&folder);
        folder.file("manifest.json", manifest.as_bytes());
        let output = av(
            &[
                "mp4",
                "--manifest",
                "manifest.json",
                "--output",
                "lesson.mp4",
            ],
            &folder,
        );
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(last_line(&output)["done"]["video"], video);
        let file = folder.0.join("lesson.mp4");
        let report = analyse(&file, &["-af", "silencedetect=n=-40dB:d=0.5"]);
        let (silences, sounds) = (
            seconds_after(&report, "silence_start:"),
            seconds_after(&report, "silence_end:"),
        );
        assert!(
            silences[0].abs() < 0.1 && (sounds[0] - 3.0).abs() < 0.05,
            "{silences:?} {sounds:?}"
        );
        assert!(
            (silences[1] - 9.0).abs() < 0.1 && (sounds[1] - 12.0).abs() < 0.1,
            "{silences:?} {sounds:?}"
        );
        let start = first_visible_frame(&file);
        assert!((start - 2.0).abs() < 0.05, "the camera starts at {start}");
    }
}

/// Time in seconds of the first frame that is not black.
fn first_visible_frame(file: &Path) -> f64 {
    let report = analyse(file, &["-vf", "blackdetect=d=0.5"]);
    let black = seconds_after(&report, "black_end:");
    let output = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-select_streams",
            "v",
            "-show_entries",
            "packet=pts_time",
            "-of",
            "csv=p=0",
        ])
        .arg(file)
        .output()
        .unwrap();
    let first: f64 = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    black.first().copied().unwrap_or(first)
}

/// Two pages of a deck, the second with the camera as inset; the image of a third is missing.
const PAGES: &str = r#"{"duration_ms":8000,"pictures":{"lead":[{"path":"camera.mp4"}]},"sounds":{"voice":[{"path":"voice.mp4"}]},
    "stills":{"page-1":"page-1.webp","page-2":"page-2.webp","page-3":"page-3.webp"},
    "scenes":[{"from_ms":0},{"from_ms":1000,"main":"page-1"},{"from_ms":3000,"main":"page-2","inset":"lead"},{"from_ms":6000,"main":"page-3"},{"from_ms":7000,"main":"page-1"}]}"#;

#[test]
fn pages_of_a_deck_fill_the_video_while_they_are_shown() {
    let folder = Folder::new("pages");
    write_lesson(&folder);
    for (name, colour) in [("page-1.webp", "white"), ("page-2.webp", "yellow")] {
        let source = format!("color={colour}:size=1600x900");
        let made = Command::new("ffmpeg")
            .args([
                "-v",
                "error",
                "-f",
                "lavfi",
                "-i",
                &source,
                "-frames:v",
                "1",
                name,
            ])
            .current_dir(&folder.0)
            .status();
        assert!(made.expect("ffmpeg is installed by deploy/setup").success());
    }
    folder.file("manifest.json", PAGES.as_bytes());
    let output = av(
        &[
            "mp4",
            "--manifest",
            "manifest.json",
            "--output",
            "lesson.mp4",
        ],
        &folder,
    );
    assert!(output.status.success(), "{}", last_line(&output));
    let file = folder.0.join("lesson.mp4");
    let report = analyse(&file, &["-vf", "blackdetect=d=0.3:pix_th=0.05"]);
    let edges = [
        seconds_after(&report, "black_start:"),
        seconds_after(&report, "black_end:"),
    ]
    .concat();
    let wanted = [0.0, 6.0, 1.0, 7.0];
    assert!(
        edges.len() == 4
            && edges
                .iter()
                .zip(wanted)
                .all(|(edge, wanted)| (edge - wanted).abs() < 0.1),
        "black before the first page and in place of the missing page: {edges:?}"
    );
    // Mean blue-difference chroma (U): 128 for white, low for yellow.
    let blue = |from: &str| {
        let report = analyse(
            &file,
            &[
                "-vf",
                &format!(
                    "fps=25,trim={from},signalstats,metadata=print:key=lavfi.signalstats.UAVG"
                ),
            ],
        );
        seconds_after(&report.replace('=', " "), "lavfi.signalstats.UAVG")[0]
    };
    assert!(
        (blue("start=1.5:end=2.5") - 128.0).abs() < 3.0,
        "the first page is white"
    );
    assert!(
        blue("start=4:end=5") < 60.0,
        "the second is yellow with the camera as inset"
    );
}

#[test]
fn the_moov_box_precedes_the_media_data() {
    let folder = Folder::new("faststart");
    write_lesson(&folder);
    folder.file("manifest.json", ONE_CAMERA.as_bytes());
    av(
        &[
            "mp4",
            "--manifest",
            "manifest.json",
            "--output",
            "lesson.mp4",
        ],
        &folder,
    );
    let bytes = std::fs::read(folder.0.join("lesson.mp4")).unwrap();
    let find = |name: &[u8]| bytes.windows(4).position(|window| window == name).unwrap();
    assert!(find(b"moov") < find(b"mdat"));
}

#[test]
fn a_vp8_camera_is_transcoded_with_its_timestamps() {
    let folder = Folder::new("rendition");
    write_lesson(&folder);
    let output = av(
        &["rendition", "--input", "room.ivf", "--output", "room.mp4"],
        &folder,
    );
    assert!(output.status.success());
    assert_eq!(last_line(&output)["done"]["start_ms"], 4_000);
    let bytes = std::fs::read(folder.0.join("room.mp4")).unwrap();
    let (init, fragments) = tongke_record::scan::split_file(&bytes, 90_000).unwrap();
    assert!(init > 0 && fragments.len() >= 3, "{fragments:?}");
    assert_eq!(fragments[0].start.as_millis(), 4_000);
    assert!(
        fragments
            .iter()
            .all(|fragment| fragment.keyframe_start && fragment.duration <= MS(2_200)),
        "{fragments:?}"
    );
}

#[test]
fn the_audio_tracks_of_a_lesson_are_mixed_to_one_in_lesson_time() {
    let folder = Folder::new("voices");
    write_lesson(&folder);
    folder.file("manifest.json", STAGE.as_bytes());
    let output = av(
        &[
            "voices",
            "--manifest",
            "manifest.json",
            "--output",
            "voices.mp4",
        ],
        &folder,
    );
    assert!(output.status.success(), "{}", last_line(&output));
    let bytes = std::fs::read(folder.0.join("voices.mp4")).unwrap();
    let (_, fragments) = tongke_record::scan::split_file(&bytes, 48_000).unwrap();
    assert_eq!(fragments[0].start, MS(0));
    assert!(
        fragments.len() >= 3
            && fragments
                .iter()
                .all(|fragment| fragment.duration <= MS(4_100)),
        "{fragments:?}"
    );
    let total: Duration = fragments.iter().map(|fragment| fragment.duration).sum();
    assert!(
        total.abs_diff(MS(12_000)) < MS(50)
            && fragments.iter().all(|fragment| fragment.keyframe_start),
        "{fragments:?}"
    );
    let report = analyse(
        &folder.0.join("voices.mp4"),
        &["-af", "silencedetect=n=-40dB:d=0.5"],
    );
    let sounds = seconds_after(&report, "silence_end:");
    assert!((sounds[0] - 3.0).abs() < 0.02, "{sounds:?}");
}

#[test]
fn a_poster_is_a_jpeg() {
    let folder = Folder::new("poster");
    write_lesson(&folder);
    let output = av(
        &[
            "poster",
            "--input",
            "camera.mp4",
            "--output",
            "poster.jpg",
            "--at",
            "2.5",
        ],
        &folder,
    );
    assert!(output.status.success());
    assert!(
        std::fs::read(folder.0.join("poster.jpg"))
            .unwrap()
            .starts_with(&[0xff, 0xd8, 0xff])
    );
}

#[test]
fn a_truncated_recording_is_used_up_to_the_truncation() {
    let folder = Folder::new("cut");
    write_lesson(&folder);
    let whole = std::fs::read(folder.0.join("camera.mp4")).unwrap();
    for part in 3..8 {
        folder.file("camera.mp4", &whole[..whole.len() * part / 8]);
        folder.file("manifest.json", ONE_CAMERA.as_bytes());
        let output = av(
            &[
                "mp4",
                "--manifest",
                "manifest.json",
                "--output",
                "lesson.mp4",
            ],
            &folder,
        );
        assert!(output.status.success(), "{part}/8: {}", last_line(&output));
        analyse(&folder.0.join("lesson.mp4"), &[]);
    }
}

#[test]
fn invalid_input_is_rejected_with_an_error_code_and_never_crashes() {
    let folder = Folder::new("broken");
    write_lesson(&folder);
    let camera = std::fs::read(folder.0.join("camera.mp4")).unwrap();
    folder.file("empty", b"");
    folder.file("text", b"this is no film");
    folder.file("header", &camera[..200]);
    folder.file(
        "playlist.m3u8",
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    );
    let noise: Vec<u8> = (0..100_000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    folder.file("noise", &noise);
    folder.file(
        "voice-only.mp4",
        &std::fs::read(folder.0.join("voice.mp4")).unwrap(),
    );
    for name in [
        "empty",
        "text",
        "header",
        "playlist.m3u8",
        "noise",
        "voice-only.mp4",
        "missing",
    ] {
        for job in ["poster", "rendition"] {
            let output = av(&[job, "--input", name, "--output", "out.mp4"], &folder);
            assert_eq!(
                output.status.code(),
                Some(2),
                "{job} {name}: {}",
                last_line(&output)
            );
            assert!(last_line(&output)["error"]["code"].is_string());
        }
    }
    for manifest in [
        "{}",
        "no json",
        r#"{"duration_ms":5,"pictures":{"a":[{"path":"missing.mp4"}]},"scenes":[{"from_ms":0,"main":"a"}]}"#,
    ] {
        folder.file("manifest.json", manifest.as_bytes());
        let output = av(
            &["mp4", "--manifest", "manifest.json", "--output", "out.mp4"],
            &folder,
        );
        assert_eq!(output.status.code(), Some(2), "{manifest}");
    }
}
