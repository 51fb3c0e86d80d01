//! One client: its socket, its connection, and whether it publishes or subscribes.

use std::net::SocketAddrV4;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tongke_plane::rtp::is_rtcp;
use tongke_plane::transport::srtp::{Profile, SrtpSession};

use super::Failure;
use super::clock;
use super::datagrams::{BATCH, Batch, Socket};
use super::endpoint::{Endpoint, Received};
use super::live::Live;
use super::publisher::{Publisher, Sent};
use super::sightings::Sightings;
use super::subscriber::{Datagram, Seen, Subscriber};

/// ICE and DTLS are looked after this often while a connection is made, and when it stands: then their timers are of seconds.
const JOINING: Duration = Duration::from_millis(2);
const STANDING: Duration = Duration::from_millis(500);

pub struct Client {
    pub socket: Socket,
    /// Where the socket is connected to.
    server: SocketAddrV4,
    endpoint: Endpoint,
    session: Option<Box<SrtpSession>>,
    profile: Option<Profile>,
    part: Part,
    begun: Instant,
    /// When ICE and DTLS are looked after again.
    next_endpoint: Instant,
    /// RTP packets and their bytes that [`Live`] does not count yet: an addition that all threads see costs as much as the rest of counting.
    untold: (u64, u64),
}

/// What the thread knows of a client without looking at it.
#[derive(Clone, Copy)]
pub struct Waits {
    /// When [`Client::handle_timeout`] has something to do.
    pub until: Instant,
    /// For the next step of joining, or for a packet that is missing: what comes then is wanted soon.
    pub eagerly: bool,
}

pub enum Part {
    Publisher(Box<Publisher>),
    Subscriber(Box<Subscriber>),
}

/// What a client leaves behind when a window closes.
pub enum Outcome<'a> {
    Sent(Vec<Sent>, &'a Histogram<u64>),
    Seen(Seen),
}

impl Client {
    /// `begun` is when its offer was posted.
    pub fn new(
        socket: Socket,
        endpoint: Endpoint,
        part: Part,
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
            part,
            begun,
            next_endpoint: begun,
            untold: (0, 0),
        })
    }

    /// The name of its cipher (RFC 5764 §4.1.2, RFC 7714 §14.2), once there are keys.
    pub fn cipher(&self) -> Option<&'static str> {
        self.profile.map(|profile| match profile {
            Profile::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Profile::Aes128CmHmacSha1_80 => "AES128_CM_HMAC_SHA1_80",
        })
    }

    pub fn waits(&self) -> Waits {
        let (due, waits_for_packets) = match &self.part {
            Part::Publisher(publisher) => (publisher.poll_timeout(), false),
            Part::Subscriber(subscriber) => {
                (subscriber.poll_timeout(), subscriber.waits_for_packets())
            }
        };
        let due = due.filter(|_| self.session.is_some());
        Waits {
            until: due.map_or(self.next_endpoint, |due| due.min(self.next_endpoint)),
            eagerly: self.session.is_none() || waits_for_packets,
        }
    }

    /// It came while the others were already being measured.
    pub fn comes_late(&mut self) {
        if let Part::Subscriber(subscriber) = &mut self.part {
            subscriber.comes_late();
        }
    }

    pub fn open_window(&mut self) {
        match &mut self.part {
            Part::Publisher(publisher) => publisher.open_window(),
            Part::Subscriber(subscriber) => subscriber.open_window(),
        }
    }

    pub fn close_window(&mut self) -> Outcome<'_> {
        match &mut self.part {
            Part::Publisher(publisher) => {
                let (sent, lateness) = publisher.close_window();
                Outcome::Sent(sent, lateness)
            }
            Part::Subscriber(subscriber) => Outcome::Seen(subscriber.close_window()),
        }
    }

    /// Reads until nothing is left.
    pub fn drain(&mut self, batch: &mut Batch, live: &Live, sightings: &mut Sightings) {
        loop {
            let count = batch.receive(&self.socket);
            let (now, now_ns) = (Instant::now(), clock::now_ns());
            for (bytes, arrived) in batch.datagrams(count) {
                let arrived_ns = arrived.unwrap_or(now_ns);
                // What we report to the server is when it came, not when we looked.
                let now = now
                    .checked_sub(Duration::from_nanos(now_ns.saturating_sub(arrived_ns)))
                    .unwrap_or(now);
                self.handle(
                    Datagram {
                        bytes,
                        arrived_ns,
                        now,
                    },
                    live,
                    sightings,
                );
            }
            self.flush();
            if count < BATCH {
                return self.tell(live);
            }
        }
    }

    fn tell(&mut self, live: &Live) {
        let (packets, bytes) = std::mem::take(&mut self.untold);
        live.packets.fetch_add(packets, Relaxed);
        live.bytes.fetch_add(bytes, Relaxed);
    }

    fn handle(&mut self, datagram: Datagram<'_>, live: &Live, sightings: &mut Sightings) {
        let now = datagram.now;
        match self.endpoint.handle(datagram.bytes, now) {
            Received::Media if is_rtcp(datagram.bytes) => self.handle_rtcp(datagram),
            Received::Media => self.handle_rtp(datagram, live, sightings),
            Received::Connected(session, profile) => {
                (self.session, self.profile) = (Some(session), Some(profile));
                match &mut self.part {
                    Part::Publisher(_) => live.publishing.fetch_add(1, Relaxed),
                    Part::Subscriber(subscriber) => {
                        subscriber.connected(now);
                        live.connected.fetch_add(1, Relaxed)
                    }
                };
            }
            Received::Closed => {
                if !live.is_leaving() {
                    let seconds = (now - self.begun).as_secs_f32();
                    live.note(format!(
                        "the server closed a connection after {seconds:.1} s"
                    ));
                }
                self.session = None;
            }
            Received::Nothing => {}
        }
    }

    fn handle_rtp(&mut self, datagram: Datagram<'_>, live: &Live, sightings: &mut Sightings) {
        let (Some(session), Part::Subscriber(subscriber)) = (&mut self.session, &mut self.part)
        else {
            return;
        };
        self.untold.0 += 1;
        self.untold.1 += datagram.bytes.len() as u64;
        let shown = subscriber.shows();
        subscriber.handle_rtp(datagram, session, sightings);
        if !shown && subscriber.shows() {
            live.showing.fetch_add(1, Relaxed);
        }
    }

    fn handle_rtcp(&mut self, datagram: Datagram<'_>) {
        let Some(session) = &mut self.session else {
            return;
        };
        let Ok(len) = session.inbound.unprotect_rtcp(datagram.bytes) else {
            return;
        };
        match &mut self.part {
            Part::Publisher(publisher) => {
                publisher.handle_rtcp(&datagram.bytes[..len], &self.socket, &mut session.outbound);
            }
            Part::Subscriber(subscriber) => {
                subscriber.handle_rtcp(&datagram.bytes[..len], datagram.now)
            }
        }
    }

    /// Sends what is due.
    pub fn handle_timeout(&mut self, live: &Live, now: Instant) {
        if now >= self.next_endpoint {
            self.next_endpoint = now
                + if self.session.is_some() {
                    STANDING
                } else {
                    JOINING
                };
            self.look_after_endpoint(now);
        }
        let Some(session) = &mut self.session else {
            return;
        };
        match &mut self.part {
            Part::Publisher(publisher) => {
                live.sent.fetch_add(
                    publisher.handle_timeout(&self.socket, session, now),
                    Relaxed,
                );
            }
            Part::Subscriber(subscriber) => {
                let asked = subscriber.handle_timeout(&self.socket, &mut session.outbound, now);
                live.asked_again.fetch_add(asked, Relaxed);
            }
        }
    }

    fn look_after_endpoint(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        if self.server != self.endpoint.server() {
            self.server = self.endpoint.server();
            // A candidate that cannot be reached from here shows as one that does not answer.
            let _ = self.socket.connect(self.server);
        }
        self.flush();
    }

    /// Says goodbye.
    pub fn close(&mut self, now: Instant) {
        self.endpoint.close(now);
        self.flush();
    }

    fn flush(&mut self) {
        for datagram in self.endpoint.take_outgoing() {
            self.socket.send(&datagram);
        }
    }
}
