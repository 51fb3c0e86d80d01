//! `tongke load` as a process: against our server, against a foreign one, and interrupted.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::server::Server;

/// The load generator, configured for a lesson of this server.
async fn against(server: &Server, more: &[&str]) -> Command {
    let ((_, whip), (_, whep)) = (server.token("whip").await, server.token("whep").await);
    let (base, lesson) = (&server.base, server.lesson());
    let mut command = Command::new(env!("CARGO_BIN_EXE_tongke"));
    command.args([
        "load",
        "--whip",
        &format!("{base}/whip/{lesson}"),
        "--token",
        &whip,
    ]);
    command.args([
        "--whep",
        &format!("{base}/whep/{lesson}"),
        "--whep-token",
        &whep,
    ]);
    command
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Parsed lines of JSON. The process must have succeeded.
fn lines(output: &Output) -> Vec<Value> {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}", output.status);
    println!("{said}");
    let text = std::str::from_utf8(&output.stdout).expect("JSON is UTF-8");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

fn number(report: &Value, key: &str) -> f64 {
    report[key]
        .as_f64()
        .unwrap_or_else(|| panic!("{key} in {report:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_of_subscribers_with_lossy_links_are_measured_in_turn() {
    let server = Server::start().await;
    let pid = server.pid().to_string();
    let how = [
        "--subscribers",
        "2,4",
        "--storm",
        "2",
        "--storm-seconds",
        "1",
        "--layers",
        "3",
        "--bitrate",
        "600",
    ];
    let how = [
        &how[..],
        &["--drop", "5", "--seconds", "3", "--server-pid", &pid],
    ]
    .concat();
    let output = against(&server, &how).await.output().expect("it runs");
    let reports = lines(&output);
    assert_eq!(
        reports
            .iter()
            .map(|r| r["subscribers_showing"].as_u64())
            .collect::<Vec<_>>(),
        [Some(2), Some(4)]
    );
    for report in &reports {
        let (lost, left) = (
            number(report, "loss_ratio"),
            number(report, "loss_after_repair_ratio"),
        );
        assert!(
            (0.02..0.1).contains(&lost) && left < lost / 2.0,
            "{lost} lost, {left} after repair"
        );
        assert!(
            number(report, "repaired") > 0.0
                && number(report, "asked_again") >= number(report, "repaired")
        );
        let (first, last) = (
            number(&report["forward_first_ms"], "p50"),
            number(&report["forward_last_ms"], "p50"),
        );
        assert!(0.0 < first && first <= last, "{first} {last}");
        assert!(
            number(report, "server_cpu_ns_per_packet") > 0.0
                && number(report, "server_rss_bytes") > 1e6
        );
        assert!(
            report["server_cpu_share_by_thread"]["media"].is_number(),
            "{report:#}"
        );
        assert_eq!(report["srtp"], serde_json::json!(["AEAD_AES_128_GCM"]));
        let layers = report["layers"].as_array().expect("simulcast");
        assert_eq!(
            layers.iter().map(|l| &l["rid"]).collect::<Vec<_>>(),
            ["q", "h", "f"]
        );
        assert!(
            layers
                .iter()
                .all(|layer| number(layer, "packets_sent") > 0.0)
        );
        assert!(
            layers
                .iter()
                .map(|layer| number(layer, "frames_received"))
                .sum::<f64>()
                > 0.0
        );
        assert_eq!(report["interrupted"], false);
    }
    assert!(
        reports[0].get("storm").is_none(),
        "it comes with the last step"
    );
    assert_eq!(reports[1]["storm"]["showing"], 2);

    let text = reqwest::get(format!("{}/metrics", server.base))
        .await
        .expect("it answers")
        .text()
        .await
        .expect("text");
    let of = |name: &str| {
        let samples = text
            .lines()
            .filter(|line| line.starts_with(&format!("{name}{{")));
        samples
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum::<f64>()
    };
    let received: f64 = reports
        .iter()
        .map(|report| number(report, "packets_received"))
        .sum();
    assert!(
        of("tongke_media_forwarded_packets_total") > received,
        "those of the joining as well"
    );
    assert!(
        of("tongke_media_resent_packets_total") > 0.0 && of("tongke_media_cpu_seconds_total") > 0.0
    );
    for (whole, parts) in [
        ("received_batches", "received_datagrams"),
        ("sent_messages", "sent_datagrams"),
    ] {
        let of = |name: &str| of(&format!("tongke_media_{name}_total"));
        assert!(
            0.0 < of(whole) && of(whole) <= of(parts),
            "{} {whole}, {} {parts}",
            of(whole),
            of(parts)
        );
    }
    assert_eq!(
        of("tongke_media_queued_commands"),
        0.0,
        "each that was added was taken away"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_the_run_and_prints_the_results_so_far() {
    let server = Server::start().await;
    let mut child = against(&server, &["--subscribers", "2,3", "--seconds", "600"])
        .await
        .spawn()
        .expect("it runs");
    // The remaining output, a few lines, stays unread.
    let mut progress = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let is_measuring =
        |line: &String| line.contains("measuring 2 subscribers") && line.contains("p50");
    let seen = progress.by_ref().map_while(Result::ok).find(is_measuring);
    assert!(
        seen.is_some(),
        "a line of progress a second while it is measured, latencies in it"
    );
    let told = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .expect("kill runs");
    assert!(told.success());
    let drained = std::thread::spawn(move || progress.map_while(Result::ok).count());
    let output = child.wait_with_output().expect("it ends");
    drained.join().expect("the lines are text");
    let reports = lines(&output);
    assert_eq!(reports.len(), 1, "no further step");
    assert_eq!(reports[0]["interrupted"], true);
    assert!(number(&reports[0], "packets_received") > 0.0 && number(&reports[0], "seconds") < 60.0);
}

/// A server of aiortc, stopped when dropped.
struct Foreign {
    child: Child,
    base: String,
}

impl Foreign {
    fn start() -> Foreign {
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/foreign/whip_whep_server.py"
        );
        // Debian's Python: its packages are invisible to other installations.
        let mut child = Command::new("/usr/bin/python3")
            .arg(script)
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let mut port = String::new();
        let read = BufReader::new(child.stdout.as_mut().expect("it is piped")).read_line(&mut port);
        assert!(read.is_ok() && !port.is_empty(), "it prints its port");
        Foreign {
            base: format!("http://127.0.0.1:{}", port.trim()),
            child,
        }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_foreign_whip_and_whep_server_can_be_measured() {
    let foreign = Foreign::start();
    let (whip, whep) = (
        format!("{}/whip", foreign.base),
        format!("{}/whep", foreign.base),
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_tongke"));
    command.args([
        "load",
        "--whip",
        &whip,
        "--whep",
        &whep,
        "--subscribers",
        "2",
        "--seconds",
        "3",
        "--bitrate",
        "300",
    ]);
    let output = command
        .args(["--server-pid", &foreign.child.id().to_string()])
        .output()
        .expect("it runs");
    let reports = lines(&output);
    let report = &reports[0];
    assert_eq!(
        (
            number(report, "subscribers_connected"),
            number(report, "subscribers_showing")
        ),
        (2.0, 2.0)
    );
    assert!(number(report, "packets_received") > 20.0, "{report:#}");
    assert_eq!(number(report, "refused"), 0.0);
    assert!(number(&report["first_frame_ms"], "p50") >= number(&report["join_ms"], "p50"));
    assert!(number(report, "server_cpu_ns_per_packet") > 0.0);
    assert!(
        report["forward_ms"].is_null(),
        "it makes pictures of its own, in which nothing is stamped"
    );
}

#[test]
fn an_unreachable_server_is_reported_in_one_sentence() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tongke"));
    let whip = "http://127.0.0.1:9/whip";
    let output = command
        .args(["load", "--whip", whip, "--whep", whip])
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.lines().count() <= 2 && said.contains(whip),
        "{said}"
    );
    assert!(output.stdout.is_empty());
}
