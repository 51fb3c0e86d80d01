//! A client: one WebSocket that maintains the lesson's document, as every client must.

use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::server::{Server, Visitor};

/// Timeout for everything except the grace period, which has its own deadlines.
pub const MESSAGE_TIMEOUT: Duration = Duration::from_secs(15);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub struct TestClient {
    sink: SplitSink<Socket, Message>,
    /// Read by its own task, as in a browser: pings are answered whatever the test does.
    messages: mpsc::UnboundedReceiver<Value>,
    reader: JoinHandle<()>,
    pub me: String,
    pub resume: String,
    pub document: Value,
    revision: u64,
    next_ref: u32,
    /// Messages received while another one was expected.
    waiting: Vec<Value>,
}

impl TestClient {
    pub async fn open(server: &Server, visitor: &Visitor) -> TestClient {
        TestClient::try_open(server, visitor, "")
            .await
            .expect("the client is let in")
    }

    /// `query` may be `?resume=…`. Returns a refused upgrade as an error.
    pub async fn try_open(
        server: &Server,
        visitor: &Visitor,
        query: &str,
    ) -> Result<TestClient, StatusCode> {
        let url = format!(
            "{}/api/lessons/{}/live{query}",
            server.base.replacen("http", "ws", 1),
            server.lesson()
        );
        let mut request = url.into_client_request().expect("an address");
        request
            .headers_mut()
            .insert("cookie", visitor.cookie.parse().expect("a cookie is ASCII"));
        let socket = match tokio_tungstenite::connect_async(request).await {
            Ok((socket, _)) => socket,
            Err(tungstenite::Error::Http(answer)) => return Err(answer.status()),
            Err(error) => panic!("the socket cannot be opened: {error}"),
        };
        let (sink, stream) = socket.split();
        let (sender, messages) = mpsc::unbounded_channel();
        let mut client = TestClient {
            sink,
            messages,
            reader: tokio::spawn(read(stream, sender)),
            me: String::new(),
            resume: String::new(),
            document: Value::Null,
            revision: 0,
            next_ref: 1,
            waiting: Vec::new(),
        };
        let welcome = client.expect("welcome").await;
        let text = |key: &str| welcome[key].as_str().expect("a string").to_owned();
        (client.me, client.resume) = (text("you"), text("resume"));
        client.revision = welcome["revision"].as_u64().expect("a number");
        client.document = welcome["lesson"].clone();
        Ok(client)
    }

    /// Sends a message; returns its reference number.
    pub async fn send(&mut self, mut message: Value) -> u32 {
        let reference = self.next_ref;
        self.next_ref += 1;
        message["ref"] = json!(reference);
        self.send_raw(&message.to_string()).await;
        reference
    }

    pub async fn send_raw(&mut self, text: &str) {
        // A closed socket is detected by reading.
        let _ = self.sink.send(Message::text(text)).await;
    }

    /// Next message of a type; others are applied and kept.
    pub async fn expect(&mut self, kind: &str) -> Value {
        self.expect_that(kind, |_| true).await
    }

    pub async fn expect_that(&mut self, kind: &str, test: impl Fn(&Value) -> bool) -> Value {
        self.find(MESSAGE_TIMEOUT, |m| m["type"] == kind && test(m))
            .await
            .unwrap_or_else(|| panic!("no fitting {kind} came"))
    }

    async fn find(&mut self, limit: Duration, test: impl Fn(&Value) -> bool) -> Option<Value> {
        if let Some(at) = self.waiting.iter().position(&test) {
            return Some(self.waiting.remove(at));
        }
        let search = async {
            loop {
                let message = self.next().await?;
                if test(&message) {
                    return Some(message);
                }
                self.waiting.push(message);
            }
        };
        timeout(limit, search).await.ok().flatten()
    }

    /// Reads until the document satisfies `test`.
    pub async fn until(&mut self, what: &str, limit: Duration, test: impl Fn(&Value) -> bool) {
        let reached = timeout(limit, async {
            while !test(&self.document) {
                match self.next().await {
                    Some(message) => self.waiting.push(message),
                    None => panic!("the socket closed while waiting until {what}"),
                }
            }
        });
        assert!(
            reached.await.is_ok(),
            "it did not come to pass that {what}: {:#}",
            self.document
        );
    }

    async fn next(&mut self) -> Option<Value> {
        let message = self.messages.recv().await?;
        self.apply(&message);
        Some(message)
    }

    fn apply(&mut self, message: &Value) {
        let Some(revision) = message["revision"]
            .as_u64()
            .filter(|_| message["type"] != "welcome")
        else {
            return;
        };
        assert_eq!(
            revision,
            self.revision + 1,
            "revisions grow by one: {message}"
        );
        self.revision = revision;
        let document = &mut self.document;
        let same = |p: &Value| p["id"] == message["participant"]["id"];
        let participants = document["participants"].as_array_mut().expect("a list");
        match message["type"].as_str() {
            Some("joined") => participants.push(message["participant"].clone()),
            Some("changed") => {
                *participants
                    .iter_mut()
                    .find(|p| same(p))
                    .expect("a change is of one who joined") = message["participant"].clone();
            }
            Some("left") => participants.retain(|p| p["id"] != message["participant"]),
            Some("stage") => document["on_stage"] = message["on_stage"].clone(),
            Some("phase") => document["phase"] = message["phase"].clone(),
            Some("chat") => document["chat"]
                .as_array_mut()
                .expect("a list")
                .push(message["line"].clone()),
            Some("recording") => document["recording"] = message["state"].clone(),
            Some("players") => document["players"] = message["players"].clone(),
            other => panic!("a revision on {other:?}"),
        }
    }

    pub fn participant(&self, id: &str) -> Option<&Value> {
        find(&self.document, id)
    }

    /// Error code of the reply to a message.
    pub async fn error_code(&mut self, reference: u32) -> String {
        let error = self.expect_that("error", |m| m["ref"] == reference).await;
        assert!(
            !error["message"].as_str().unwrap_or_default().is_empty(),
            "an error speaks to people"
        );
        error["code"].as_str().expect("a string").to_owned()
    }

    /// Drops the connection without a close frame, like a power failure.
    pub fn drop_connection(self) {
        self.reader.abort();
    }

    /// Reason in the server's close frame.
    pub async fn close_reason(mut self) -> String {
        let bye = self.expect("bye").await;
        bye["reason"].as_str().expect("a string").to_owned()
    }
}

async fn read(mut stream: SplitStream<Socket>, messages: mpsc::UnboundedSender<Value>) {
    while let Some(Ok(message)) = stream.next().await {
        if let Message::Text(text) = message {
            let message = serde_json::from_str(&text).expect("the server speaks JSON");
            if messages.send(message).is_err() {
                return;
            }
        }
    }
}

pub fn find<'a>(document: &'a Value, id: &str) -> Option<&'a Value> {
    document["participants"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|p| p["id"] == id)
}
