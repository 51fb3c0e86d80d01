//! WHIP and WHEP as a client.

use std::time::Duration;

use reqwest::header::{self, HeaderValue};
use reqwest::{StatusCode, Url};

use super::sdp::{Answer, read_answer};
use super::{Args, Failure};

/// Longer than any server takes that is still worth measuring.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A session to be deleted in the end.
pub struct Exchange {
    location: Option<Url>,
    token: Option<String>,
}

pub struct Signalling {
    client: reqwest::Client,
}

impl Signalling {
    pub fn new(args: &Args) -> Result<Signalling, Failure> {
        let builder = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .danger_accept_invalid_certs(args.insecure);
        Ok(Signalling {
            client: builder.build()?,
        })
    }

    /// Posts an offer; the session and the answer.
    pub async fn begin(
        &self,
        url: &str,
        token: Option<&str>,
        offer: String,
    ) -> Result<(Exchange, Answer), Failure> {
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
        let answer = read_answer(&body, &url)?;
        Ok((
            Exchange {
                location,
                token: token.map(str::to_owned),
            },
            answer,
        ))
    }

    /// Ends every session (RFC 9725 §4.2). A server that does not care is no failure of the measurement.
    pub async fn leave(&self, sessions: Vec<Exchange>) {
        for Exchange { location, token } in sessions {
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
