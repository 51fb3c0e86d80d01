//! One shard's UDP port.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};

use socket2::{Domain, Protocol, Socket, Type};

/// Socket buffers in bytes: 20 ms of 1 Gbit/s, so that a burst of joins or keyframes waits in the kernel instead of being lost. The kernel
/// caps it at net.core.rmem_max and wmem_max unless we may override that.
const BUFFER_BYTES: i32 = 4 << 20;

/// A bound, non-blocking UDP socket with receive offload.
pub struct MediaSocket {
    socket: Socket,
    address: SocketAddr,
}

impl MediaSocket {
    /// Binds; an IPv6 wildcard address takes IPv4 too.
    pub fn bind(address: SocketAddr) -> io::Result<MediaSocket> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let address = socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::other("the socket has no IP address"))?;
        let socket = MediaSocket { socket, address };
        socket.enlarge_buffers();
        socket.forbid_fragments()?;
        socket.set(libc::SOL_UDP, libc::UDP_GRO, 1)?;
        Ok(socket)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    pub fn is_ipv6(&self) -> bool {
        self.address.is_ipv6()
    }

    /// Media datagrams are never fragmented, as those of QUIC are not (RFC 9000 §14): 1200 bytes fit every path, and a fragment that is lost
    /// loses the whole. It also spares the kernel drawing an identification (RFC 791) for each GSO message.
    fn forbid_fragments(&self) -> io::Result<()> {
        if self.is_ipv6() {
            self.set(
                libc::IPPROTO_IPV6,
                libc::IPV6_MTU_DISCOVER,
                libc::IPV6_PMTUDISC_PROBE,
            )?;
        }
        self.set(
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_PROBE,
        )
    }

    /// As root beyond the system's limit, else up to it: what the kernel then gives is enough for a school, and it is logged.
    fn enlarge_buffers(&self) {
        for (force, plain, name) in [
            (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, "receive"),
            (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, "send"),
        ] {
            if self.set(libc::SOL_SOCKET, force, BUFFER_BYTES).is_err()
                && let Err(error) = self.set(libc::SOL_SOCKET, plain, BUFFER_BYTES)
            {
                tracing::warn!(%error, "the {name} buffer of the media socket keeps its default size");
            }
        }
    }

    fn set(&self, level: i32, option: i32, value: i32) -> io::Result<()> {
        let len = size_of_val(&value) as libc::socklen_t;
        // SAFETY: value is a readable int of the length given.
        let done =
            unsafe { libc::setsockopt(self.fd(), level, option, (&raw const value).cast(), len) };
        if done < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}
