//! One client: socket, connection, and its role as publisher or subscriber.

use std::net::SocketAddrV4;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tongke_plane::rtp::is_rtcp;
use tongke_plane::transport::srtp::{Profile, SrtpSession};

use super::Failure;
use super::clock;
use super::endpoint::{Endpoint, Received};
use super::latency::Latencies;
use super::publisher::{LayerStats, Publisher};
use super::socket::{BATCH, Batch, Socket};
use super::stats::Stats;
use super::subscriber::{Datagram, Subscriber, SubscriberStats};

/// Interval of ICE and DTLS timers while connecting, and when connected; then they run for seconds.
const CONNECTING_INTERVAL: Duration = Duration::from_millis(2);
const CONNECTED_INTERVAL: Duration = Duration::from_millis(500);

pub(crate) struct Client {
    pub socket: Socket,
    /// Remote address of the connected socket.
    server: SocketAddrV4,
    endpoint: Endpoint,
    session: Option<Box<SrtpSession>>,
    profile: Option<Profile>,
    role: Role,
    begun: Instant,
    /// Next run of the ICE and DTLS timers.
    next_endpoint: Instant,
    /// RTP packets and bytes not yet added to [`Stats`]: one atomic addition costs as much as the
    /// rest of counting.
    uncounted: (u64, u64),
}

/// Next deadline of a client, cached by its thread.
#[derive(Clone, Copy)]
pub(crate) struct Deadline {
    /// Time at which [`Client::handle_timeout`] has work.
    pub at: Instant,
    /// True while connecting or while packets are missing: then the socket is read without delay.
    pub eager: bool,
}

pub(crate) enum Role {
    Publisher(Box<Publisher>),
    Subscriber(Box<Subscriber>),
}

/// Result of a client at the end of a measurement window.
pub(crate) enum Outcome<'a> {
    Sent(Vec<LayerStats>, &'a Histogram<u64>),
    Received(SubscriberStats),
}

impl Client {
    /// `begun` is the time of the POST of the offer.
    pub(crate) fn new(
        socket: Socket,
        endpoint: Endpoint,
        role: Role,
        begun: Instant,
    ) -> Result<Client, Failure> {
        let server = endpoint.server();
        socket.connect(server)?;
        Ok(Client {
            socket,
            server,
            endpoint,
            session: None,
            profile: None,
            role,
            begun,
            next_endpoint: begun,
            uncounted: (0, 0),
        })
    }

    /// Name of the negotiated cipher (RFC 5764 §4.1.2, RFC 7714 §14.2).
    pub(crate) fn cipher(&self) -> Option<&'static str> {
        self.profile.map(|profile| match profile {
            Profile::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Profile::Aes128CmHmacSha1_80 => "AES128_CM_HMAC_SHA1_80",
        })
    }

    pub(crate) fn deadline(&self) -> Deadline {
        let (due, awaits_packets) = match &self.role {
            Role::Publisher(publisher) => (publisher.poll_timeout(), false),
            Role::Subscriber(subscriber) => {
                (subscriber.poll_timeout(), subscriber.awaits_packets())
            }
        };
        let due = due.filter(|_| self.session.is_some());
        Deadline {
            at: due.map_or(self.next_endpoint, |due| due.min(self.next_endpoint)),
            eager: self.session.is_none() || awaits_packets,
        }
    }

    /// Marks a client that joined during the measurement.
    pub(crate) fn mark_late(&mut self) {
        if let Role::Subscriber(subscriber) = &mut self.role {
            subscriber.mark_late();
        }
    }

    pub(crate) fn open_window(&mut self) {
        match &mut self.role {
            Role::Publisher(publisher) => publisher.open_window(),
            Role::Subscriber(subscriber) => subscriber.open_window(),
        }
    }

    pub(crate) fn close_window(&mut self) -> Outcome<'_> {
        match &mut self.role {
            Role::Publisher(publisher) => {
                let (sent, lateness) = publisher.close_window();
                Outcome::Sent(sent, lateness)
            }
            Role::Subscriber(subscriber) => Outcome::Received(subscriber.close_window()),
        }
    }

    /// Reads the socket until it is empty.
    pub(crate) fn drain(&mut self, batch: &mut Batch, stats: &Stats, latencies: &mut Latencies) {
        loop {
            let count = batch.receive(&self.socket);
            let (now, now_ns) = (Instant::now(), clock::now_ns());
            for (bytes, arrived) in batch.datagrams(count) {
                let arrived_ns = arrived.unwrap_or(now_ns);
                // Feedback uses the arrival time, not the time of reading.
                let now = now
                    .checked_sub(Duration::from_nanos(now_ns.saturating_sub(arrived_ns)))
                    .unwrap_or(now);
                self.handle(
                    Datagram {
                        bytes,
                        arrived_ns,
                        now,
                    },
                    stats,
                    latencies,
                );
            }
            self.flush();
            if count < BATCH {
                return self.flush_counters(stats);
            }
        }
    }

    fn flush_counters(&mut self, stats: &Stats) {
        let (packets, bytes) = std::mem::take(&mut self.uncounted);
        stats.packets.fetch_add(packets, Relaxed);
        stats.bytes.fetch_add(bytes, Relaxed);
    }

    fn handle(&mut self, datagram: Datagram<'_>, stats: &Stats, latencies: &mut Latencies) {
        let now = datagram.now;
        match self.endpoint.handle(datagram.bytes, now) {
            Received::Media if is_rtcp(datagram.bytes) => self.handle_rtcp(datagram),
            Received::Media => self.handle_rtp(datagram, stats, latencies),
            Received::Connected(session, profile) => {
                (self.session, self.profile) = (Some(session), Some(profile));
                match &mut self.role {
                    Role::Publisher(_) => stats.publishing.fetch_add(1, Relaxed),
                    Role::Subscriber(subscriber) => {
                        subscriber.connected(now);
                        stats.connected.fetch_add(1, Relaxed)
                    }
                };
            }
            Received::Closed => {
                if !stats.is_leaving() {
                    let seconds = (now - self.begun).as_secs_f32();
                    stats.note(format!(
                        "the server closed a connection after {seconds:.1} s"
                    ));
                }
                self.session = None;
            }
            Received::Handled => {}
        }
    }

    fn handle_rtp(&mut self, datagram: Datagram<'_>, stats: &Stats, latencies: &mut Latencies) {
        let (Some(session), Role::Subscriber(subscriber)) = (&mut self.session, &mut self.role)
        else {
            return;
        };
        self.uncounted.0 += 1;
        self.uncounted.1 += datagram.bytes.len() as u64;
        let had_keyframe = subscriber.has_keyframe();
        subscriber.handle_rtp(datagram, session, latencies);
        if !had_keyframe && subscriber.has_keyframe() {
            stats.showing.fetch_add(1, Relaxed);
        }
    }

    fn handle_rtcp(&mut self, datagram: Datagram<'_>) {
        let Some(session) = &mut self.session else {
            return;
        };
        let Ok(len) = session.inbound.unprotect_rtcp(datagram.bytes) else {
            return;
        };
        match &mut self.role {
            Role::Publisher(publisher) => {
                publisher.handle_rtcp(&datagram.bytes[..len], &self.socket, &mut session.outbound);
            }
            Role::Subscriber(subscriber) => {
                subscriber.handle_rtcp(&datagram.bytes[..len], datagram.now)
            }
        }
    }

    /// Sends everything due.
    pub(crate) fn handle_timeout(&mut self, stats: &Stats, now: Instant) {
        if now >= self.next_endpoint {
            self.next_endpoint = now
                + if self.session.is_some() {
                    CONNECTED_INTERVAL
                } else {
                    CONNECTING_INTERVAL
                };
            self.drive_endpoint(now);
        }
        let Some(session) = &mut self.session else {
            return;
        };
        match &mut self.role {
            Role::Publisher(publisher) => {
                stats.sent.fetch_add(
                    publisher.handle_timeout(&self.socket, session, now),
                    Relaxed,
                );
            }
            Role::Subscriber(subscriber) => {
                let nacked = subscriber.handle_timeout(&self.socket, &mut session.outbound, now);
                stats.nacked.fetch_add(nacked, Relaxed);
            }
        }
    }

    fn drive_endpoint(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        if self.server != self.endpoint.server() {
            self.server = self.endpoint.server();
            // An unreachable candidate is treated like one that does not answer.
            let _ = self.socket.connect(self.server);
        }
        self.flush();
    }

    /// Sends close_notify.
    pub(crate) fn close(&mut self, now: Instant) {
        self.endpoint.close(now);
        self.flush();
    }

    fn flush(&mut self) {
        for datagram in self.endpoint.take_outgoing() {
            self.socket.send(&datagram);
        }
    }
}
