//! Storage tests on local files and on an S3 server (s3s-fs) that verifies signatures.

use std::net::SocketAddr;

use axum_server::accept::Accept;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use futures_util::TryStreamExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tempfile::TempDir;

use super::*;

const KEY: (&str, &str) = ("tongke-key", "tongke-secret");

/// In-process S3 service with one bucket. With TLS, its self-signed certificate lies beside the
/// bucket.
async fn s3_server(secure: bool) -> (SocketAddr, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("lessons")).expect("a bucket");
    let mut builder = s3s::service::S3ServiceBuilder::new(
        s3s_fs::FileSystem::new(folder.path()).expect("a file system"),
    );
    builder.set_auth(s3s::auth::SimpleAuth::from_single(KEY.0, KEY.1));
    let service = builder.build();
    let acceptor = if secure {
        Some(acceptor(folder.path()).await)
    } else {
        None
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (service, acceptor) = (service.clone(), acceptor.clone());
            tokio::spawn(async move {
                let server = Builder::new(TokioExecutor::new());
                let Some(acceptor) = acceptor else {
                    return drop(server.serve_connection(TokioIo::new(stream), service).await);
                };
                // The handshake fails if the client does not trust the certificate.
                if let Ok((stream, service)) = acceptor.accept(stream, service).await {
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                }
            });
        }
    });
    (address, folder)
}

async fn acceptor(folder: &std::path::Path) -> RustlsAcceptor {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    std::fs::write(folder.join("ca.pem"), &certificate).expect("written");
    let config = RustlsConfig::from_pem(certificate.into(), key.into())
        .await
        .expect("a certificate and its key");
    RustlsAcceptor::new(config)
}

fn s3_config(address: SocketAddr, secret: &str) -> Config {
    let mut config = Config::default();
    config.storage.url = "s3://lessons/county/one".into();
    config.storage.endpoint = format!("http://{address}");
    config.storage.allow_http = true;
    config.storage.access_key = KEY.0.into();
    config.storage.secret_key = secret.into();
    config
}

async fn stores() -> Vec<(&'static str, Storage, TempDir)> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().expect("a folder");
    let local = Storage::local(folder.path().join("objects")).expect("opens");
    let (address, served) = s3_server(false).await;
    let s3 = Storage::open(&s3_config(address, KEY.1)).expect("opens");
    let (address, secured) = s3_server(true).await;
    let secure =
        Storage::open(&https_config(address, secured.path().join("ca.pem"))).expect("opens");
    vec![
        ("local", local, folder),
        ("s3", s3, served),
        ("s3 over TLS", secure, secured),
    ]
}

fn https_config(address: SocketAddr, authority: PathBuf) -> Config {
    let mut config = s3_config(address, KEY.1);
    config.storage.endpoint = format!("https://localhost:{}", address.port());
    config.storage.allow_http = false;
    config.storage.ca_certificate = authority.display().to_string();
    config
}

#[tokio::test]
async fn a_service_with_an_unknown_certificate_authority_is_not_trusted() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (address, folder) = s3_server(true).await;
    let mut config = https_config(address, folder.path().join("ca.pem"));
    Storage::open(&config)
        .expect("opens")
        .probe()
        .await
        .expect("trusted");
    config.storage.ca_certificate.clear();
    let error = Storage::open(&config)
        .expect("opens")
        .probe()
        .await
        .unwrap_err();
    assert!(format!("{error:?}").contains("UnknownIssuer"), "{error:?}");
    config.storage.ca_certificate = folder.path().join("nowhere.pem").display().to_string();
    assert!(matches!(
        Storage::open(&config),
        Err(OpenError::Certificate { .. })
    ));
    std::fs::write(folder.path().join("ca.pem"), "not a certificate").expect("written");
    config.storage.ca_certificate = folder.path().join("ca.pem").display().to_string();
    assert!(matches!(
        Storage::open(&config),
        Err(OpenError::NoCertificate(_))
    ));
}

#[tokio::test]
async fn an_object_is_read_completely_and_by_range() {
    for (name, store, _folder) in stores().await {
        let (lesson, other) = (LessonId::fresh(), LessonId::fresh());
        let key = Key::segment(lesson, "t1", 0, 41);
        store
            .put(&key, Bytes::from_static(b"0123456789"))
            .await
            .expect(name);
        store
            .put(&Key::init(lesson, "t1", 0, 0), Bytes::from_static(b"init"))
            .await
            .expect(name);
        store
            .put(&Key::poster(other), Bytes::from_static(b"jpeg"))
            .await
            .expect(name);
        assert_eq!(store.get(&key).await.expect(name), "0123456789", "{name}");
        let chunks = store.stream(&key, Some(3..10)).await.expect(name);
        let text: Vec<Bytes> = chunks.try_collect().await.expect(name);
        assert_eq!(text.concat(), b"3456789", "{name}");
        assert_eq!(store.size_bytes(&key).await.expect(name), 10, "{name}");
        let absent = Key::segment(other, "t1", 0, 41);
        assert!(is_missing(&store.get(&absent).await.unwrap_err()), "{name}");
        assert!(
            is_missing(&store.size_bytes(&absent).await.unwrap_err()),
            "{name}"
        );
        store.probe().await.expect(name);
    }
}

#[tokio::test]
async fn a_large_file_goes_up_in_parts_and_comes_back_the_same() {
    for (name, store, _folder) in stores().await {
        let folder = tempfile::tempdir().expect("a folder");
        let up = folder.path().join("up.mp4");
        let content: Vec<u8> = (0..20_000_003_u32).map(|n| (n % 251) as u8).collect();
        std::fs::write(&up, &content).expect("written");
        let key = Key::mp4(LessonId::fresh());
        assert_eq!(
            store.put_file(&key, &up).await.expect(name),
            content.len() as u64
        );
        assert!(store.get(&key).await.expect(name) == content, "{name}");
        let missing = store
            .put_file(&Key::mp4(LessonId::fresh()), &folder.path().join("nothing"))
            .await;
        assert!(missing.is_err(), "{name}");
    }
}

#[tokio::test]
async fn a_wrong_secret_is_refused_by_the_service() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (address, _folder) = s3_server(false).await;
    let store = Storage::open(&s3_config(address, "wrong")).expect("opens");
    let key = Key::poster(LessonId::fresh());
    let error = store.put(&key, Bytes::from_static(b"x")).await.unwrap_err();
    assert!(!is_missing(&error), "{error}");
    assert!(store.probe().await.is_err());
}

#[test]
fn a_key_cannot_leave_its_lesson() {
    let lesson = LessonId::fresh();
    let home = format!("lessons/{lesson}/");
    for part in ["..", ".", "", "a/../../b", "课件", "%2e%2e", "x\0y"] {
        let key = Key::in_lesson(lesson, &[part, "n"]);
        let rest = key
            .0
            .as_ref()
            .strip_prefix(home.as_str())
            .unwrap_or_else(|| panic!("{part:?} left: {key:?}"));
        assert_eq!(rest.split('/').count(), 2, "{part:?}: {key:?}");
        assert!(
            rest.is_ascii() && !rest.split('/').any(|p| p == ".." || p == "."),
            "{part:?}: {key:?}"
        );
    }
}

#[test]
fn an_invalid_storage_url_is_named_in_the_error() {
    for url in ["ftp://x", "s3://", "here", "file://"] {
        let mut config = Config::default();
        config.storage.url = url.into();
        let Err(error) = Storage::open(&config) else {
            panic!("{url} is no store")
        };
        assert!(error.to_string().contains(url), "{error}");
    }
}
