//! Self-signed certificate for a school's LAN: kept in the data directory, replaced when its names
//! change or it is about to expire.

use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateParams, DnType, KeyPair};
use ring::digest;
use serde::{Deserialize, Serialize};

use crate::config::Config;

use super::{ListenError, interfaces};

/// Apple devices reject certificates that are valid for longer than 825 days.
const VALIDITY: SignedDuration = SignedDuration::from_hours(800 * 24);
/// A start within the last 30 days of the validity replaces the certificate.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Metadata of the stored certificate, in `made_for.json`.
#[derive(PartialEq, Serialize, Deserialize)]
struct CertificateInfo {
    names: Vec<String>,
    ends_at: Timestamp,
    fingerprint: String,
}

/// Returns the paths of the certificate and its key; prints the fingerprint that browsers show.
pub fn self_signed(config: &Config) -> Result<(PathBuf, PathBuf), ListenError> {
    let folder = config.server.data_dir.join("tls");
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let names = names(config);
    let stored = read_info(&folder)
        .filter(|info| info.names == names && info.ends_at > Timestamp::now() + RENEW_BEFORE);
    let info = match stored {
        Some(info) if cert.exists() && key.exists() => info,
        _ => create(&folder, names)?,
    };
    println!(
        "TLS certificate for {}\n    SHA-256 {}",
        info.names.join(", "),
        info.fingerprint
    );
    Ok((cert, key))
}

fn names(config: &Config) -> Vec<String> {
    if !config.tls.names.is_empty() {
        return config.tls.names.clone();
    }
    let mut names = vec!["localhost".to_owned()];
    names.extend(interfaces::host_name());
    names.extend(interfaces::local_addresses().iter().map(IpAddr::to_string));
    names
}

fn read_info(folder: &Path) -> Option<CertificateInfo> {
    serde_json::from_slice(&std::fs::read(folder.join("made_for.json")).ok()?).ok()
}

fn create(folder: &Path, names: Vec<String>) -> Result<CertificateInfo, ListenError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names.clone())?;
    params.distinguished_name.push(DnType::CommonName, "Tongke");
    let (starts, ends_at) = (
        Timestamp::now() - SignedDuration::from_hours(24),
        Timestamp::now() + VALIDITY,
    );
    let ((y, m, d), (end_y, end_m, end_d)) = (date(starts), date(ends_at));
    params.not_before = rcgen::date_time_ymd(y, m, d);
    params.not_after = rcgen::date_time_ymd(end_y, end_m, end_d);
    let cert = params.self_signed(&key)?;
    let info = CertificateInfo {
        names,
        ends_at,
        fingerprint: fingerprint(cert.der()),
    };
    let text = serde_json::to_string_pretty(&info).expect("plain data");
    write_files(
        folder,
        &[
            ("cert.pem", &cert.pem()),
            ("key.pem", &key.serialize_pem()),
            ("made_for.json", &text),
        ],
    )
    .map_err(|cause| ListenError::Certificate {
        path: folder.into(),
        cause,
    })?;
    Ok(info)
}

fn date(time: Timestamp) -> (i32, u8, u8) {
    let day = time.to_zoned(jiff::tz::TimeZone::UTC).date();
    (
        day.year().into(),
        day.month().unsigned_abs(),
        day.day().unsigned_abs(),
    )
}

fn fingerprint(der: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, der);
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect::<Vec<_>>()
        .join(":")
}

fn write_files(folder: &Path, files: &[(&str, &str)]) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (name, text) in files {
        let path = folder.join(name);
        let _ = std::fs::remove_file(&path);
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(text.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_is_kept_until_its_names_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = Config::default();
        config.server.data_dir = folder.path().into();
        config.tls.names = vec!["school.local".into(), "192.168.1.10".into()];
        let (cert, key) = self_signed(&config).expect("made");
        let first = std::fs::read(&cert).expect("kept");
        self_signed(&config).expect("kept");
        assert_eq!(std::fs::read(&cert).expect("kept"), first);
        config.tls.names.push("other.local".into());
        self_signed(&config).expect("replaced");
        assert_ne!(std::fs::read(&cert).expect("kept"), first);
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(key).expect("kept"));
        assert_eq!(mode & 0o777, 0o600);
    }
}
