//! A tus client that writes requests in small parts, so that the server can be killed within one.

use std::io;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::COOKIE;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes per write, with pauses between.
const SIP: usize = 32 << 10;

pub struct Tus {
    pub port: u16,
    pub cookie: String,
    pub client: Client,
}

/// Response to a PATCH.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub offset: Option<usize>,
    pub resource: Option<String>,
}

impl Tus {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        self.client
            .request(method, url)
            .header(COOKIE, &self.cookie)
            .header("tus-resumable", "1.0.0")
    }

    pub async fn announce(&self, size: usize, name: &str) -> String {
        let metadata = format!("filename {}", BASE64_STANDARD.encode(name));
        let request = self
            .request(Method::POST, "/api/uploads")
            .header("upload-length", size);
        let answer = request
            .header("upload-metadata", metadata)
            .send()
            .await
            .expect("answers");
        assert_eq!(answer.status().as_u16(), 201);
        answer.headers()["location"]
            .to_str()
            .expect("ASCII")
            .to_owned()
    }

    /// Offset reported by the server.
    pub async fn offset(&self, at: &str) -> usize {
        let answer = self
            .request(Method::HEAD, at)
            .send()
            .await
            .expect("answers");
        assert_eq!(answer.status().as_u16(), 200);
        answer.headers()["upload-offset"]
            .to_str()
            .ok()
            .and_then(|text| text.parse().ok())
            .expect("a number")
    }

    /// Resource created by a finished upload.
    pub async fn resource(&self, at: &str) -> String {
        let answer = self
            .request(Method::HEAD, at)
            .send()
            .await
            .expect("answers");
        answer.headers()["tongke-resource"]
            .to_str()
            .expect("ASCII")
            .to_owned()
    }

    /// SHA-256 of the downloaded resource.
    pub async fn download(&self, at: &str) -> String {
        let path = format!("/api/resources/{}/file", self.resource(at).await);
        let answer = self
            .request(Method::GET, &path)
            .send()
            .await
            .expect("answers");
        assert_eq!(answer.status().as_u16(), 200);
        hex::encode(Sha256::digest(answer.bytes().await.expect("a body")))
    }

    /// Number of own resources.
    pub async fn resources(&self) -> i64 {
        let answer = self
            .request(Method::GET, "/api/resources?mine=true")
            .send()
            .await
            .expect("answers");
        let list: Value = answer.json().await.expect("JSON");
        list["total"].as_i64().expect("a number")
    }

    /// Search results.
    pub async fn search(&self, line: &str) -> Value {
        let typed: String = line.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let request = self.request(Method::GET, &format!("/api/search?q={typed}"));
        request
            .send()
            .await
            .expect("answers")
            .json()
            .await
            .expect("JSON")
    }

    /// Sends a chunk in small parts with pauses; an error when the server is gone.
    pub async fn patch(
        &self,
        at: &str,
        offset: usize,
        bytes: &[u8],
        pause: Duration,
    ) -> io::Result<Answer> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let head = format!(
            "PATCH {at} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nCookie: {}\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: {offset}\r\n\
             Content-Type: application/offset+octet-stream\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.port,
            self.cookie,
            bytes.len()
        );
        stream.write_all(head.as_bytes()).await?;
        for sip in bytes.chunks(SIP) {
            stream.write_all(sip).await?;
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        parse(&String::from_utf8_lossy(&answer)).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// Parses a response; `None` if its head is incomplete.
fn parse(answer: &str) -> Option<Answer> {
    let (head, _) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let header = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        lines
            .clone()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
    };
    let offset = header("upload-offset").and_then(|text| text.parse().ok());
    Some(Answer {
        status,
        offset,
        resource: header("tongke-resource"),
    })
}
