//! Transport path: how datagrams reach a peer.

use std::net::SocketAddr;

/// The remote address and protocol of a peer. Paths are keys: the same address over UDP and TCP is
/// two paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The peer's address outside of its NAT.
    pub remote: SocketAddr,
    /// The protocol that carries the datagrams.
    pub protocol: Protocol,
}

/// A protocol that carries datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// The shard's UDP port.
    Udp,
    /// A passive ICE-TCP connection (RFC 6544), datagrams framed by RFC 4571.
    Tcp,
}

impl Path {
    /// Makes the path to a UDP address.
    pub fn udp(remote: SocketAddr) -> Path {
        Path {
            remote,
            protocol: Protocol::Udp,
        }
    }

    /// Makes the path to the remote end of a TCP connection.
    pub fn tcp(remote: SocketAddr) -> Path {
        Path {
            remote,
            protocol: Protocol::Tcp,
        }
    }
}
