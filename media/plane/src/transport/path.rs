//! How datagrams reach a peer.

use std::net::SocketAddr;

/// The peer's address and the protocol under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The peer's address as we see it, outside its NAT.
    pub remote: SocketAddr,
    /// UDP, or a TCP connection.
    pub protocol: Protocol,
}

/// What carries datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// The shard's UDP port.
    Udp,
    /// A passive ICE-TCP connection (RFC 6544), datagrams framed by RFC 4571.
    Tcp,
}

impl Path {
    /// The path to a UDP address.
    pub fn udp(remote: SocketAddr) -> Path {
        Path {
            remote,
            protocol: Protocol::Udp,
        }
    }

    /// The path to the far end of a TCP connection.
    pub fn tcp(remote: SocketAddr) -> Path {
        Path {
            remote,
            protocol: Protocol::Tcp,
        }
    }
}
