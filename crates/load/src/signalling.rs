//! WHIP (RFC 9725) and WHEP client.

use std::time::Duration;

use reqwest::header::{self, HeaderValue};
use reqwest::{StatusCode, Url};

use super::sdp::{Answer, parse_answer};
use super::{Args, Failure};

/// Request timeout, longer than any join worth measuring.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// Session resource to delete at the end.
pub(crate) struct Session {
    location: Option<Url>,
    token: Option<String>,
}

pub(crate) struct SignallingClient {
    client: reqwest::Client,
}

impl SignallingClient {
    pub(crate) fn new(args: &Args) -> Result<SignallingClient, Failure> {
        let builder = reqwest::Client::builder()
            .timeout(REQUEST_TIMEOUT)
            .danger_accept_invalid_certs(args.insecure);
        Ok(SignallingClient {
            client: builder.build()?,
        })
    }

    /// Posts an offer; returns the session and the answer.
    pub(crate) async fn post_offer(
        &self,
        url: &str,
        token: Option<&str>,
        offer: String,
    ) -> Result<(Session, Answer), Failure> {
        let url = Url::parse(url)?;
        let mut request = self
            .client
            .post(url.clone())
            .header(header::CONTENT_TYPE, "application/sdp")
            .body(offer);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await?;
        let status = response.status();
        let location = response
            .headers()
            .get(header::LOCATION)
            .and_then(|value| join(&url, value));
        let body = response.text().await?;
        if status != StatusCode::CREATED {
            return Err(format!(
                "{url} answered {status}: {}",
                body.chars().take(300).collect::<String>()
            )
            .into());
        }
        let answer = parse_answer(&body, &url)?;
        Ok((
            Session {
                location,
                token: token.map(str::to_owned),
            },
            answer,
        ))
    }

    /// Deletes all sessions (RFC 9725 §4.2). Failures do not affect the measurement.
    pub(crate) async fn delete_sessions(&self, sessions: Vec<Session>) {
        for Session { location, token } in sessions {
            let Some(url) = location else { continue };
            let mut request = self.client.delete(url);
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let _ = request.send().await;
        }
    }
}

fn join(url: &Url, location: &HeaderValue) -> Option<Url> {
    url.join(location.to_str().ok()?).ok()
}
