//! Recording tests with a real disk, database and object store, and packets of real encoders.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tongke_plane::ids::{PeerId, TrackId};
use tongke_record::testing::{SentPacket, packets, streams};
use tongke_record::{Packet, Recorder};
use uuid::Uuid;

use super::Recordings;
use super::catalogue::{Codec, MediaKind, Recorded};
use super::media_files::MediaFile;
use super::packet_source::{PacketSource, PacketTap, PublishedTrack};
use crate::bus::{ParticipantKind, ParticipantRef, Purpose, TimelineChat, TimelineEntry};
use crate::config::{self, Config};
use crate::db::{Db, sqlite_url};
use crate::ids::LessonId;
use crate::jobs::{JobState, Jobs};
use crate::storage::{Key, Storage};
use crate::worker::Worker;

const FRAME: Duration = Duration::from_nanos(66_666_667);
/// Duration of a test lesson.
const TAUGHT: Duration = Duration::from_secs(7);
const MS: fn(u64) -> Duration = Duration::from_millis;

/// Packet source whose packets are all available at once, each with its own arrival time.
#[derive(Default)]
struct TestSource {
    tracks: Mutex<HashMap<TrackId, Vec<SentPacket>>>,
}

impl PacketSource for TestSource {
    fn tap(&self, track: TrackId) -> Option<Box<dyn PacketTap>> {
        let waiting = self.tracks.lock().unwrap().get(&track)?.clone().into();
        Some(Box::new(TestTap { track, waiting }))
    }

    fn request_keyframe(&self, _: TrackId) {}
}

struct TestTap {
    track: TrackId,
    waiting: VecDeque<SentPacket>,
}

impl PacketTap for TestTap {
    fn drain(&mut self, recorder: &mut Recorder, _: Instant) {
        for SentPacket {
            seq,
            rtp_time,
            marker,
            at,
            payload,
        } in self.waiting.drain(..)
        {
            let packet = Packet {
                layer: 0,
                seq,
                rtp_time,
                marker,
                arrival: at,
                payload: &payload,
            };
            recorder.handle_packet(self.track.0, packet);
        }
    }

    fn overrun(&self) -> u64 {
        0
    }
}

/// Recording half of a server, on a folder that a test can copy and reopen.
struct TestServer {
    recordings: Recordings,
    source: Arc<TestSource>,
    db: Db,
    lesson: LessonId,
    lead: Uuid,
    folder: TempDir,
}

impl TestServer {
    async fn open() -> TestServer {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::local(folder.path().join("objects")).unwrap();
        TestServer::open_with(folder, storage).await
    }

    async fn open_with(folder: TempDir, storage: Storage) -> TestServer {
        let db = database(folder.path()).await;
        TestServer::open_on(db, folder, storage).await
    }

    async fn open_on(db: Db, folder: TempDir, storage: Storage) -> TestServer {
        let (lesson, lead) = plan_lesson(&db).await;
        let source = Arc::new(TestSource::default());
        let recordings = recordings(&db, folder.path(), storage, source.clone(), &[]).await;
        TestServer {
            recordings,
            source,
            db,
            lesson,
            lead,
            folder,
        }
    }

    /// Simulates SIGKILL: copies the spool and the database as they are and opens the copy.
    async fn crash(&self, live: &[LessonId]) -> TestServer {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(self.folder.path(), copy.path());
        let db = database(copy.path()).await;
        let storage = Storage::local(copy.path().join("objects")).unwrap();
        let source = Arc::new(TestSource::default());
        let recordings = recordings(&db, copy.path(), storage, source.clone(), live).await;
        TestServer {
            recordings,
            source,
            db,
            lesson: self.lesson,
            lead: self.lead,
            folder: copy,
        }
    }

    /// Adds the worker. Its program must be built before the tests run.
    async fn with_worker(self) -> TestServer {
        let here = std::env::current_exe().unwrap();
        let program = here.parent().unwrap().parent().unwrap().join("tongke-av");
        assert!(
            program.exists(),
            "{} is missing: cargo build -p tongke-av",
            program.display()
        );
        let limits = config::Worker {
            program: program.to_str().unwrap().into(),
            ..config::Worker::default()
        };
        self.recordings
            .register_exports(&Worker::media(&limits), &self.folder.path().join("scratch"));
        self.recordings.inner.jobs.start().await.unwrap();
        self
    }

    async fn job_done(&self, key: &str) {
        for _ in 0..600 {
            let job = self.recordings.inner.jobs.by_key(key).await.unwrap();
            match job.as_ref().map(|job| job.state) {
                Some(JobState::Done) => return,
                Some(JobState::Failed) => panic!("{key}: {:?}", job.unwrap().error),
                _ => tokio::time::sleep(MS(100)).await,
            }
        }
        panic!("{key} was not done within a minute");
    }

    /// Publishes six seconds of the lead's audio, and of the camera from 200 ms on.
    fn teach(&self) {
        self.recordings
            .start_recording(self.lesson, Timestamp::now());
        self.teach_from(MS(0));
    }

    fn teach_from(&self, begin: Duration) {
        let camera = packets(&streams::h264_baseline(), 90_000, FRAME, begin + MS(200));
        let audio = packets(&streams::opus(), 48_000, MS(20), begin);
        self.source
            .tracks
            .lock()
            .unwrap()
            .extend([(TrackId(1), camera), (TrackId(2), audio)]);
        self.publish(1, Codec::H264, self.lead);
        self.publish(2, Codec::Opus, self.lead);
    }

    fn publish(&self, track: u64, codec: Codec, who: Uuid) {
        let participant = ParticipantRef {
            id: who,
            name: "王雪梅".into(),
            kind: ParticipantKind::Person,
        };
        let (track, peer, purpose) = (TrackId(track), PeerId(1), Purpose::Camera);
        self.recordings.add_track(
            self.lesson,
            PublishedTrack {
                track,
                peer,
                codec,
                participant,
                purpose,
            },
        );
    }

    async fn end(&self) {
        self.end_at(Timestamp::now() + TAUGHT).await;
    }

    async fn end_at(&self, end: Timestamp) {
        self.recordings.end_recording(self.lesson, end);
        self.recordings.inner.finishing.close();
        self.recordings.inner.finishing.wait().await;
    }

    async fn recorded(&self) -> Recorded {
        Recorded::read(&self.db, self.lesson)
            .await
            .unwrap()
            .expect("there is a recording")
    }

    async fn file(&self, path: &str) -> Vec<u8> {
        let file = MediaFile::parse(path).unwrap_or_else(|| panic!("{path} names a file"));
        let response = self
            .recordings
            .serve_file(self.lesson, file, &HeaderMap::new())
            .await;
        let response = response.unwrap_or_else(|error| panic!("{path}: {error}"));
        axum::body::to_bytes(response.into_body(), usize::MAX)
            .await
            .unwrap()
            .to_vec()
    }

    async fn text(&self, path: &str) -> String {
        String::from_utf8(self.file(path).await).unwrap()
    }

    /// Concatenates the files of a playlist.
    async fn play(&self, playlist: &str) -> Vec<u8> {
        let base = playlist.rsplit_once('/').map_or("", |(base, _)| base);
        let mut whole = Vec::new();
        for line in self.text(playlist).await.lines() {
            let uri = line
                .strip_prefix("#EXT-X-MAP:URI=\"")
                .map_or(line, |rest| rest.trim_end_matches('"'));
            if !uri.starts_with('#') {
                whole.extend(self.file(&resolve(base, uri)).await);
            }
        }
        whole
    }

    /// Waits until a condition on the catalogue holds.
    async fn until(&self, what: &str, holds: impl Fn(&Recorded) -> bool) -> Recorded {
        for _ in 0..200 {
            if let Some(recorded) = Recorded::read(&self.db, self.lesson).await.unwrap()
                && holds(&recorded)
            {
                return recorded;
            }
            tokio::time::sleep(MS(50)).await;
        }
        panic!("{what} did not happen within 10 s");
    }
}

fn resolve(base: &str, uri: &str) -> String {
    let mut parts: Vec<&str> = base.split('/').filter(|part| !part.is_empty()).collect();
    for part in uri.split('/') {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

async fn database(folder: &Path) -> Db {
    Db::connect(&sqlite_url(&folder.join("test.db")), 4)
        .await
        .unwrap()
}

async fn recordings(
    db: &Db,
    folder: &Path,
    storage: Storage,
    source: Arc<TestSource>,
    live: &[LessonId],
) -> Recordings {
    let mut config = Config::default();
    config.server.data_dir = folder.into();
    let jobs = Jobs::new(db.clone(), 1, 1);
    Recordings::start(
        &config,
        db.clone(),
        storage,
        jobs,
        source,
        Arc::new(|_, _| {}),
        live,
    )
    .await
    .unwrap()
}

async fn plan_lesson(db: &Db) -> (LessonId, Uuid) {
    let (lesson, lead) = (LessonId::fresh(), Uuid::now_v7());
    sqlx::query("INSERT INTO people (id, name, login, role, password_hash, created_at) VALUES ($1, '王雪梅', 'w', 'teacher', '', 0)")
        .bind(lead.to_string())
        .execute(db.pool())
        .await
        .unwrap();
    sqlx::query(
        "INSERT INTO lessons (id, title, subject, grade, starts_at, ends_at, phase, recording, lead_id, created_at)
         VALUES ($1, '荷花', '语文', '三年级', 0, 1, 'live', 'none', $2, 0)",
    )
    .bind(lesson)
    .bind(lead.to_string())
    .execute(db.pool())
    .await
    .unwrap();
    (lesson, lead)
}

/// Presentation times, in milliseconds, of the frames that libav decodes.
fn frame_times(file: &[u8]) -> Vec<i64> {
    let path = std::env::temp_dir().join(format!("tongke-recording-{}.mp4", Uuid::now_v7()));
    std::fs::write(&path, file).unwrap();
    let output = std::process::Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-show_entries",
            "frame=pts_time",
            "-of",
            "csv=p=0",
        ])
        .arg(&path)
        .output()
        .expect("ffprobe is installed by deploy/setup");
    std::fs::remove_file(path).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter_map(|line| line.trim_end_matches(',').parse::<f64>().ok())
        .map(|s| (s * 1000.0).round() as i64)
        .collect()
}

#[tokio::test]
async fn a_lesson_can_be_watched_while_it_is_on_and_when_the_bell_rings() {
    let server = TestServer::open().await;
    let begun = Instant::now();
    server.teach();
    let on = server.until("two segments of both", |recorded| {
        recorded.tracks.len() == 2
            && recorded
                .tracks
                .iter()
                .all(|track| track.layers[0].segments.len() >= 2)
    });
    assert!(!on.await.is_over());
    let playlist = server.text("main/video-0.m3u8").await;
    assert!(
        playlist.contains("#EXTINF") && !playlist.contains("ENDLIST"),
        "{playlist}"
    );

    server.end().await;
    assert!(
        server
            .text("main/video-0.m3u8")
            .await
            .contains("#EXT-X-ENDLIST")
    );
    let master = server.text("master.m3u8").await;
    assert!(
        master.contains("main/video-0.m3u8") && master.contains("RESOLUTION=192x108"),
        "{master}"
    );
    let recorded = server.recorded().await;
    let (least, waited) = (
        TAUGHT.as_millis() as i64,
        begun.elapsed().as_millis() as i64,
    );
    let duration_ms = recorded.duration_ms.unwrap();
    assert!(
        (least..=least + waited).contains(&duration_ms),
        "{duration_ms} ms, of which at most {waited} waiting"
    );
    let camera = recorded
        .tracks
        .iter()
        .find(|track| track.kind == MediaKind::Video)
        .unwrap();
    let seen = frame_times(&server.play(&format!("{}/0/playlist.m3u8", camera.id)).await);
    assert_eq!((seen.len(), seen[0]), (streams::FRAMES, 200));
}

#[tokio::test]
async fn recorded_files_move_from_the_spool_to_the_object_store() {
    let server = TestServer::open().await;
    server.teach();
    server.end().await;
    let before = server.recorded().await;
    let track = before
        .tracks
        .iter()
        .find(|track| track.kind == MediaKind::Video)
        .unwrap();
    let playlist = format!("{}/0/playlist.m3u8", track.id);
    let spooled = server.play(&playlist).await;
    server
        .until("storing", |recorded| {
            segments(recorded).all(|segment| segment.stored)
        })
        .await;
    // A file is removed shortly after its row is marked as stored.
    let spool = server.folder.path().join("spool");
    server
        .until("leaving", |_| media_files(&spool).is_empty())
        .await;
    assert_eq!(server.play(&playlist).await, spooled);
}

fn segments(recorded: &Recorded) -> impl Iterator<Item = &super::catalogue::Segment> {
    recorded
        .tracks
        .iter()
        .flat_map(|track| &track.layers)
        .flat_map(|layer| &layer.segments)
}

fn media_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(media_files(&path));
        } else if path
            .extension()
            .is_some_and(|extension| extension != "json")
        {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn while_the_camera_is_off_the_programme_has_placeholders_and_the_track_a_gap() {
    let server = TestServer::open().await;
    let mut camera = packets(&streams::h264_baseline(), 90_000, FRAME, MS(200));
    // The camera is off for ten seconds before the second keyframe.
    let later = 150 * 6000;
    for packet in camera.iter_mut().filter(|packet| packet.at >= MS(2_150)) {
        packet.at += MS(10_000);
        packet.rtp_time = packet.rtp_time.wrapping_add(later);
    }
    server
        .source
        .tracks
        .lock()
        .unwrap()
        .insert(TrackId(1), camera);
    server
        .recordings
        .start_recording(server.lesson, Timestamp::now());
    server.publish(1, Codec::H264, server.lead);
    server
        .until("a track", |recorded| !recorded.tracks.is_empty())
        .await;
    server.end().await;
    let track = server.recorded().await.tracks[0].id;
    let own = server.text(&format!("{track}/0/playlist.m3u8")).await;
    assert!(own.contains("#EXT-X-GAP"), "{own}");
    let main = server.text("main/video-0.m3u8").await;
    assert!(
        main.contains("fill/v-") && !main.contains("EXT-X-GAP"),
        "{main}"
    );
    let length = |playlist: &str| -> f64 {
        playlist
            .lines()
            .filter_map(|line| {
                line.strip_prefix("#EXTINF:")?
                    .strip_suffix(',')?
                    .parse::<f64>()
                    .ok()
            })
            .sum()
    };
    assert!((length(&own) - 16.0).abs() < 0.1, "{own}");
    let seen = frame_times(&server.play("main/video-0.m3u8").await);
    assert!(seen.windows(2).all(|pair| pair[1] > pair[0]), "{seen:?}");
}

fn chat(text: &str) -> TimelineEntry {
    TimelineEntry::Chat(TimelineChat {
        at_ms: None,
        id: "p1".into(),
        name: "王老师".into(),
        text: text.into(),
    })
}

#[tokio::test]
async fn a_crash_at_any_moment_costs_at_most_the_open_fragment() {
    let server = TestServer::open().await;
    server.teach();
    server
        .recordings
        .record_event(server.lesson, Timestamp::now(), &chat("你好"));
    server
        .until("segments", |recorded| segments(recorded).count() >= 4)
        .await;
    let revived = server.crash(&[]).await;
    let recorded = revived.recorded().await;
    assert!(recorded.is_over() && recorded.tracks.iter().all(|track| track.to_ms.is_some()));
    // Of the six seconds, a fragment of half a second and the frame being assembled may be lost.
    for track in &recorded.tracks {
        let end = track.layers[0].segments.last().unwrap().end_us();
        assert!(end > 5_000_000, "{:?} ends at {end}", track.kind);
    }
    let camera = recorded
        .tracks
        .iter()
        .find(|track| track.kind == MediaKind::Video)
        .unwrap();
    let seen = frame_times(
        &revived
            .play(&format!("{}/0/playlist.m3u8", camera.id))
            .await,
    );
    assert!(
        seen.len() >= 75 && seen.windows(2).all(|pair| pair[1] - pair[0] < 70),
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_lesson_resumed_after_a_crash_has_one_recording_with_a_gap() {
    let server = TestServer::open().await;
    let began = Timestamp::now();
    server.teach();
    server
        .recordings
        .record_event(server.lesson, Timestamp::now(), &chat("你好"));
    server
        .until("segments", |recorded| segments(recorded).count() >= 4)
        .await;
    let server = server.crash(&[server.lesson]).await;
    let cut = server.recorded().await;
    assert!(
        !cut.is_over()
            && cut.duration_ms.is_none()
            && cut.tracks.iter().all(|track| track.to_ms.is_some())
    );
    assert!(
        cut.tracks
            .iter()
            .all(|track| track.layers[0].gaps.len() == 1),
        "{:?}",
        cut.tracks
    );

    server
        .recordings
        .resume_recording(server.lesson, began)
        .await
        .unwrap();
    server.teach_from(MS(12_000));
    server
        .recordings
        .record_event(server.lesson, Timestamp::now(), &chat("接着讲"));
    server
        .until("both parts", |recorded| recorded.tracks.len() == 4)
        .await;
    server.end_at(began + SignedDuration::from_secs(19)).await;
    let whole = server.recorded().await;
    assert_eq!(whole.started_at, began.as_millisecond());
    assert_eq!(whole.duration_ms.map(|ms| ms / 1000), Some(19));
    let said = server.recordings.timeline(server.lesson).await.unwrap();
    assert_eq!(
        said.iter()
            .map(|event| event.entry.clone())
            .collect::<Vec<_>>(),
        [chat("你好"), chat("接着讲")]
    );
    let seen = frame_times(&server.play("main/video-0.m3u8").await);
    assert!(seen.windows(2).all(|pair| pair[1] > pair[0]), "{seen:?}");
    let within = |from, to| seen.iter().filter(|at| (from..to).contains(*at)).count();
    // 15 frames per second before and after the gap, which has placeholder frames.
    assert!(
        within(0, 5_000) >= 70 && within(12_200, 18_200) >= streams::FRAMES - 1,
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_lesson_not_resumed_after_a_crash_keeps_its_recording() {
    let server = TestServer::open().await;
    let began = Timestamp::now();
    server.teach();
    server
        .until("segments", |recorded| segments(recorded).count() >= 4)
        .await;
    let server = server.crash(&[server.lesson]).await;
    let recorded_ms = server.recorded().await.recorded_ms();
    server
        .recordings
        .resume_recording(server.lesson, began)
        .await
        .unwrap();
    // The timetable's end of the lesson is accurate to the minute and may precede the last segment.
    server.end_at(began).await;
    assert!(recorded_ms > 5_000);
    assert_eq!(server.recorded().await.duration_ms, Some(recorded_ms));
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else if std::fs::copy(entry.path(), target).is_err() {
            continue; // renamed or removed meanwhile, as in a crash
        }
    }
}

#[tokio::test]
async fn an_unfinished_segment_truncated_at_any_byte_is_recovered() {
    let server = TestServer::open().await;
    server.teach();
    server
        .until("segments", |recorded| segments(recorded).count() >= 4)
        .await;
    let spool = server.folder.path().join("spool");
    let open = media_files(&spool)
        .into_iter()
        .find(|path| path.extension().is_some_and(|e| e == "part"));
    let open = open.expect("a segment is growing");
    let whole = std::fs::read(&open).unwrap();
    for cut in [0, 1, 7, 100, whole.len() / 2, whole.len() - 1] {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(server.folder.path(), copy.path());
        let same = copy
            .path()
            .join(open.strip_prefix(server.folder.path()).unwrap());
        std::fs::write(&same, &whole[..cut]).unwrap();
        let db = database(copy.path()).await;
        let storage = Storage::local(copy.path().join("objects")).unwrap();
        recordings(&db, copy.path(), storage, Arc::default(), &[]).await;
        let recorded = Recorded::read(&db, server.lesson).await.unwrap().unwrap();
        assert!(recorded.is_over(), "cut at {cut}");
        assert!(
            segments(&recorded).all(|segment| segment.duration_us > 0 && segment.size_bytes > 0),
            "cut at {cut}"
        );
    }
}

#[tokio::test]
async fn both_databases_hold_the_same_catalogue() {
    for (db, folder) in crate::testing::databases().await {
        let storage = Storage::local(folder.path().join("objects")).unwrap();
        let server = TestServer::open_on(db, folder, storage).await;
        server.teach();
        let stage = TimelineEntry::Stage {
            on_stage: vec![server.lead.to_string()],
        };
        server
            .recordings
            .record_event(server.lesson, Timestamp::now(), &stage);
        server.end().await;
        let recorded = server
            .until("storing", |recorded| {
                segments(recorded).all(|segment| segment.stored)
            })
            .await;
        assert!(recorded.is_over() && recorded.tracks.len() == 2);
        let events = super::timeline::read(&server.db, server.lesson)
            .await
            .unwrap();
        assert_eq!((events.len(), &events[0].entry), (1, &stage));
        // Recovery changes nothing in a finished recording.
        let spool =
            super::spool::Spool::open(server.folder.path().join("spool"), u64::MAX).unwrap();
        assert!(
            super::recovery::run(&server.db, &spool, &[])
                .await
                .unwrap()
                .lessons
                .is_empty()
        );
        assert_eq!(server.recorded().await.tracks, recorded.tracks);
    }
}

#[tokio::test]
async fn unreadable_rows_of_the_timeline_are_skipped_and_the_others_kept() {
    for (db, folder) in crate::testing::databases().await {
        let storage = Storage::local(folder.path().join("objects")).unwrap();
        let server = TestServer::open_on(db, folder, storage).await;
        server.teach();
        server
            .recordings
            .record_event(server.lesson, Timestamp::now(), &chat("你好"));
        server.end().await;
        for (number, kind, body) in [
            (101, "quiz", "{}"),
            (102, "page", "{"),
            (103, "page", "null"),
        ] {
            sqlx::query("INSERT INTO timeline_events (lesson_id, number, at_ms, kind, body) VALUES ($1, $2, 0, $3, $4)")
                .bind(server.lesson)
                .bind(number)
                .bind(kind)
                .bind(body)
                .execute(server.db.pool())
                .await
                .unwrap();
        }
        let events = super::timeline::read(&server.db, server.lesson)
            .await
            .unwrap();
        assert_eq!(
            events
                .into_iter()
                .map(|event| event.entry)
                .collect::<Vec<_>>(),
            [chat("你好")]
        );
    }
}

#[tokio::test]
async fn an_outage_of_the_object_store_fills_the_spool_and_loses_nothing() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let port = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let store = tempfile::tempdir().unwrap();
    std::fs::create_dir(store.path().join("lessons")).unwrap();
    let server = TestServer::open_with(tempfile::tempdir().unwrap(), s3(port)).await;
    server.teach();
    server.end().await;
    let track = server
        .recorded()
        .await
        .tracks
        .iter()
        .find(|track| track.kind == MediaKind::Video)
        .unwrap()
        .id;
    let playlist = format!("{track}/0/playlist.m3u8");
    let spooled = server.play(&playlist).await;
    assert_eq!(frame_times(&spooled).len(), streams::FRAMES);
    assert!(!segments(&server.recorded().await).any(|segment| segment.stored));
    serve_s3(port, store.path()).await;
    for _ in 0..6 {
        let stored = Recorded::read(&server.db, server.lesson)
            .await
            .unwrap()
            .unwrap();
        if segments(&stored).all(|segment| segment.stored) {
            break;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    server
        .until("storing after the outage", |recorded| {
            segments(recorded).all(|segment| segment.stored)
        })
        .await;
    assert!(media_files(&server.folder.path().join("spool")).is_empty());
    assert_eq!(server.play(&playlist).await, spooled);
}

fn s3(address: std::net::SocketAddr) -> Storage {
    let mut config = Config::default();
    config.storage.url = "s3://lessons/one".into();
    config.storage.endpoint = format!("http://{address}");
    config.storage.allow_http = true;
    config.storage.access_key = "key".into();
    config.storage.secret_key = "secret".into();
    Storage::open(&config).unwrap()
}

/// S3 service that verifies signatures.
async fn serve_s3(address: std::net::SocketAddr, folder: &Path) {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let mut builder = s3s::service::S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder).unwrap());
    builder.set_auth(s3s::auth::SimpleAuth::from_single("key", "secret"));
    let service = builder.build();
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
}

#[tokio::test]
async fn a_finished_lesson_gets_a_poster_an_audio_mix_and_an_mp4() {
    let server = TestServer::open().await.with_worker().await;
    server.teach();
    server.end().await;
    server.job_done(&format!("poster:{}", server.lesson)).await;
    server.job_done(&format!("mp4:{}", server.lesson)).await;
    server.job_done(&format!("voices:{}", server.lesson)).await;
    let voices = server.text("main/audio.m3u8").await;
    assert!(
        voices.contains("BYTERANGE") && server.text("master.m3u8").await.contains("mp4a.40.2"),
        "{voices}"
    );
    assert_eq!(
        frame_times(&server.file("voices.mp4").await).first(),
        Some(&0)
    );
    assert!(server.file("poster.jpg").await.starts_with(&[0xff, 0xd8]));
    let mp4 = server.file("lesson.mp4").await;
    assert_eq!(server.recorded().await.mp4_bytes, Some(mp4.len() as i64));
    // All video frames, and AAC frames of 1024 samples for slightly more than seven seconds.
    assert!(frame_times(&mp4).len() > streams::FRAMES + 7 * 48_000 / 1024);
    let headers = HeaderMap::from_iter([(axum::http::header::RANGE, "bytes=4-7".parse().unwrap())]);
    let part = server
        .recordings
        .serve_file(server.lesson, MediaFile::Mp4, &headers)
        .await
        .unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(
        axum::body::to_bytes(part.into_body(), 10).await.unwrap(),
        "ftyp"
    );
    assert!(
        std::fs::read_dir(server.folder.path().join("scratch"))
            .unwrap()
            .next()
            .is_none()
    );
}

#[tokio::test]
async fn a_vp8_camera_is_recorded_as_is_and_playable_after_the_rendition_job() {
    let server = TestServer::open().await.with_worker().await;
    let camera = packets(&streams::vp8(), 90_000, FRAME, MS(0));
    server
        .source
        .tracks
        .lock()
        .unwrap()
        .insert(TrackId(1), camera);
    server
        .recordings
        .start_recording(server.lesson, Timestamp::now());
    server.publish(1, Codec::Vp8, server.lead);
    server
        .until("a track", |recorded| !recorded.tracks.is_empty())
        .await;
    assert!(!server.recorded().await.has_playable(MediaKind::Video));
    server.end().await;
    server
        .job_done(&format!("rendition:{}", server.lesson))
        .await;
    let recorded = server.recorded().await;
    assert!(recorded.has_playable(MediaKind::Video));
    let seen = frame_times(&server.play("main/video-0.m3u8").await);
    assert!(
        seen.len() >= streams::FRAMES && seen.windows(2).all(|pair| pair[1] > pair[0]),
        "{seen:?}"
    );
    server.job_done(&format!("mp4:{}", server.lesson)).await;
    let poster = Key::poster(server.lesson);
    server.job_done(&format!("poster:{}", server.lesson)).await;
    assert!(
        server
            .recordings
            .inner
            .storage
            .size_bytes(&poster)
            .await
            .is_ok()
    );
}
