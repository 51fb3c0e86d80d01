//! A page: one WebSocket that keeps the lesson's document as every page must.

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

/// Longer than anything here takes but the grace, which has its own deadlines.
pub const PATIENCE: Duration = Duration::from_secs(15);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub struct Page {
    sink: SplitSink<Socket, Message>,
    /// Read by a task of its own, as in a browser: a page answers the server's pings whatever its script does.
    messages: mpsc::UnboundedReceiver<Value>,
    reader: JoinHandle<()>,
    pub me: String,
    pub resume: String,
    pub document: Value,
    revision: u64,
    next_ref: u32,
    /// Messages that came while another was waited for.
    waiting: Vec<Value>,
}

impl Page {
    pub async fn open(server: &Server, visitor: &Visitor) -> Page {
        Page::try_open(server, visitor, "")
            .await
            .expect("the page is let in")
    }

    /// `query`: `?resume=…`. An answer that is no upgrade is the error.
    pub async fn try_open(
        server: &Server,
        visitor: &Visitor,
        query: &str,
    ) -> Result<Page, StatusCode> {
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
        let mut page = Page {
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
        let welcome = page.expect("welcome").await;
        let text = |key: &str| welcome[key].as_str().expect("a string").to_owned();
        (page.me, page.resume) = (text("you"), text("resume"));
        page.revision = welcome["revision"].as_u64().expect("a number");
        page.document = welcome["lesson"].clone();
        Ok(page)
    }

    /// Says something and gives the number it was sent under.
    pub async fn say(&mut self, mut message: Value) -> u32 {
        let reference = self.next_ref;
        self.next_ref += 1;
        message["ref"] = json!(reference);
        self.say_raw(&message.to_string()).await;
        reference
    }

    pub async fn say_raw(&mut self, text: &str) {
        // A socket that the server has just closed shows when it is read.
        let _ = self.sink.send(Message::text(text)).await;
    }

    /// The next message of a type; others are applied and kept.
    pub async fn expect(&mut self, kind: &str) -> Value {
        self.expect_that(kind, |_| true).await
    }

    pub async fn expect_that(&mut self, kind: &str, test: impl Fn(&Value) -> bool) -> Value {
        self.find(PATIENCE, |m| m["type"] == kind && test(m))
            .await
            .unwrap_or_else(|| panic!("no fitting {kind} came"))
    }

    async fn find(&mut self, patience: Duration, test: impl Fn(&Value) -> bool) -> Option<Value> {
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
        timeout(patience, search).await.ok().flatten()
    }

    /// Reads until the document is as wanted.
    pub async fn until(&mut self, what: &str, patience: Duration, test: impl Fn(&Value) -> bool) {
        let reached = timeout(patience, async {
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

    /// The error with the number of something that was said.
    pub async fn refusal(&mut self, reference: u32) -> String {
        let error = self.expect_that("error", |m| m["ref"] == reference).await;
        assert!(
            !error["message"].as_str().unwrap_or_default().is_empty(),
            "an error speaks to people"
        );
        error["code"].as_str().expect("a string").to_owned()
    }

    /// Drops the connection without a goodbye, as a power cut does.
    pub fn vanish(self) {
        self.reader.abort();
    }

    /// Why the server closed the socket.
    pub async fn farewell(mut self) -> String {
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
