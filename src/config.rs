//! Configuration. `deploy/config.toml` documents every key; a test keeps it equal to
//! [`Config::default`].
//!
//! Order of precedence: defaults < file < environment (`TONGKE_SERVER__LISTEN=…`) < command line.
//! An empty string or list selects an automatic value where the manual says so.

mod load;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

pub use load::LoadError;

/// All settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    pub server: Server,
    pub tls: Tls,
    pub media: Media,
    pub database: Database,
    pub storage: Storage,
    pub recording: Recording,
    pub worker: Worker,
    pub documents: Documents,
    pub library: Library,
    pub search: Search,
    pub log: Log,
    pub limits: Limits,
    pub audit: Audit,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Server {
    pub listen: SocketAddr,
    /// Empty: derived from `listen` and `[tls]`.
    pub public_url: String,
    pub data_dir: PathBuf,
    /// IANA time zone of lessons, terms and "today".
    pub time_zone: String,
    pub trusted_proxies: Vec<IpAddr>,
    /// Addresses that may read /metrics without signing in as an administrator.
    pub metrics_from: Vec<IpAddr>,
    pub shutdown_seconds: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tls {
    pub mode: TlsMode,
    pub cert: String,
    pub key: String,
    /// Names and addresses in a self-signed certificate. Empty: this machine's.
    pub names: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TlsMode {
    Off,
    SelfSigned,
    Files,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Media {
    pub listen: IpAddr,
    /// UDP port of the first shard; each further shard uses the next port.
    pub port: u16,
    /// 0: one per core.
    pub shards: usize,
    /// Empty: this machine's addresses.
    pub advertise: Vec<IpAddr>,
    pub max_peers: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Database {
    /// Empty: SQLite in the data directory.
    pub url: String,
    pub connections: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Storage {
    /// Empty: a folder in the data directory. `s3://bucket/prefix`: an S3 service.
    pub url: String,
    pub endpoint: String,
    pub region: String,
    pub access_key: String,
    pub secret_key: String,
    pub path_style: bool,
    pub allow_http: bool,
    /// PEM file of an additional certificate authority. Empty: none.
    pub ca_certificate: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    pub enabled: bool,
    /// Empty: a folder in the data directory.
    pub spool_dir: String,
    pub spool_max_bytes: u64,
    pub segment_ms: u32,
    /// Create the MP4 when a lesson ends.
    pub mp4: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    /// Empty: `tongke-av` beside this program.
    pub program: String,
    pub concurrent: usize,
    pub memory_bytes: u64,
    pub cpu_seconds: u64,
    pub wall_seconds: u64,
    pub output_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Documents {
    /// Empty: `tongke-doc` beside this program.
    pub program: String,
    pub concurrent: usize,
    pub pages: u32,
    pub memory_bytes: u64,
    pub cpu_seconds: u64,
    pub wall_seconds: u64,
    pub output_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Library {
    pub max_file_bytes: u64,
    pub person_quota_bytes: u64,
    pub school_quota_bytes: u64,
    /// Minimum free space on the disk of the data directory.
    pub min_free_bytes: u64,
    pub upload_keep_hours: u32,
    pub removed_keep_days: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// Empty: `synonyms.txt` in the data directory, or the built-in list if there is none.
    pub synonyms: String,
    pub heap_bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Log {
    pub format: LogFormat,
    /// `tracing` filter: `info`, `tongke=debug,info`.
    pub level: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    pub keep_days: u32,
}

impl Default for Audit {
    fn default() -> Self {
        Self { keep_days: 365 }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    pub connections: usize,
    pub body_bytes: usize,
    pub request_seconds: u64,
    pub sign_in_tries: u32,
    pub sign_in_window_seconds: u64,
    pub participants_per_lesson: usize,
    pub live_lessons: usize,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            public_url: String::new(),
            data_dir: PathBuf::from("data"),
            time_zone: "Asia/Shanghai".into(),
            trusted_proxies: Vec::new(),
            metrics_from: vec![
                IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(Ipv6Addr::LOCALHOST),
            ],
            shutdown_seconds: 30,
        }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            mode: TlsMode::Off,
            cert: String::new(),
            key: String::new(),
            names: Vec::new(),
        }
    }
}

impl Default for Media {
    fn default() -> Self {
        Self {
            listen: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            port: 8189,
            shards: 0,
            advertise: Vec::new(),
            max_peers: 4000,
        }
    }
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: String::new(),
            connections: 8,
        }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            url: String::new(),
            endpoint: String::new(),
            region: "us-east-1".into(),
            access_key: String::new(),
            secret_key: String::new(),
            path_style: true,
            allow_http: false,
            ca_certificate: String::new(),
        }
    }
}

impl Default for Recording {
    fn default() -> Self {
        Self {
            enabled: true,
            spool_dir: String::new(),
            spool_max_bytes: 20_000_000_000,
            segment_ms: 2000,
            mp4: true,
        }
    }
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            program: String::new(),
            concurrent: 1,
            memory_bytes: 2_000_000_000,
            cpu_seconds: 7200,
            wall_seconds: 7200,
            output_bytes: 20_000_000_000,
        }
    }
}

impl Default for Documents {
    fn default() -> Self {
        Self {
            program: String::new(),
            concurrent: 1,
            pages: 500,
            memory_bytes: 4_000_000_000,
            cpu_seconds: 180,
            wall_seconds: 300,
            output_bytes: 1_000_000_000,
        }
    }
}

impl Default for Library {
    fn default() -> Self {
        Self {
            max_file_bytes: 4_000_000_000,
            person_quota_bytes: 50_000_000_000,
            school_quota_bytes: 1_000_000_000_000,
            min_free_bytes: 2_000_000_000,
            upload_keep_hours: 72,
            removed_keep_days: 30,
        }
    }
}

impl Default for Search {
    fn default() -> Self {
        Self {
            synonyms: String::new(),
            heap_bytes: 50_000_000,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: "info".into(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4000,
            body_bytes: 262_144,
            request_seconds: 30,
            sign_in_tries: 10,
            sign_in_window_seconds: 300,
            participants_per_lesson: 200,
            live_lessons: 200,
        }
    }
}

impl Config {
    /// Directory of the local object store.
    pub fn objects_dir(&self) -> PathBuf {
        self.server.data_dir.join("objects")
    }

    /// Directory of the recording spool.
    pub fn spool_dir(&self) -> PathBuf {
        match self.recording.spool_dir.as_str() {
            "" => self.server.data_dir.join("spool"),
            path => PathBuf::from(path),
        }
    }

    /// Base URL of the server, without a trailing slash.
    pub fn public_url(&self) -> String {
        if !self.server.public_url.is_empty() {
            return self.server.public_url.trim_end_matches('/').to_owned();
        }
        let scheme = if self.tls.mode == TlsMode::Off {
            "http"
        } else {
            "https"
        };
        let listen = self.server.listen;
        let host = if listen.ip().is_unspecified() {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        } else {
            listen.ip()
        };
        format!("{scheme}://{}", SocketAddr::new(host, listen.port()))
    }

    /// Returns true if clients connect over TLS, terminated by the server or a proxy.
    pub fn is_secure(&self) -> bool {
        self.public_url().starts_with("https:")
    }

    /// Time zone of the timetable.
    pub fn time_zone(&self) -> TimeZone {
        TimeZone::get(&self.server.time_zone).unwrap_or(TimeZone::UTC)
    }

    /// UDP addresses of the shards, one per media thread.
    pub fn shard_addresses(&self) -> Vec<SocketAddr> {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let shards = if self.media.shards == 0 {
            cores
        } else {
            self.media.shards
        };
        // Port 0 lets the system choose each port. Otherwise shards beyond port 65535 are dropped.
        let port = |n: usize| {
            u16::try_from(n)
                .ok()
                .and_then(|n| self.media.port.checked_add(n))
        };
        let ports = (0..shards).map_while(|n| {
            if self.media.port == 0 {
                Some(0)
            } else {
                port(n)
            }
        });
        ports
            .map(|port| SocketAddr::new(self.media.listen, port))
            .collect()
    }
}
