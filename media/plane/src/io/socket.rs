//! UDP socket of one shard.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};

use socket2::{Domain, Protocol, Socket, Type};

/// Size of the socket buffers in bytes: 20 ms at 1 Gbit/s, so that a burst of joins or keyframes is
/// buffered in the kernel. The kernel caps it at net.core.rmem_max and wmem_max unless the process
/// may override that (CAP_NET_ADMIN).
const BUFFER_BYTES: i32 = 4 << 20;

/// A bound, non-blocking UDP socket with receive offload (GRO).
pub struct MediaSocket {
    socket: Socket,
    address: SocketAddr,
}

impl MediaSocket {
    /// Binds the socket. An IPv6 wildcard address accepts IPv4 too.
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
        socket.disable_fragmentation()?;
        socket.set(libc::SOL_UDP, libc::UDP_GRO, 1)?;
        Ok(socket)
    }

    /// Returns the bound address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the file descriptor.
    pub fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Returns true for an IPv6 or dual-stack socket.
    pub fn is_ipv6(&self) -> bool {
        self.address.is_ipv6()
    }

    /// Sets the DF bit: datagrams of 1200 bytes fit every path, as those of QUIC (RFC 9000 §14),
    /// and one lost fragment would lose the whole datagram. It also saves the kernel the generation
    /// of an IP identification (RFC 791) for each GSO message.
    fn disable_fragmentation(&self) -> io::Result<()> {
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

    /// Enlarges the buffers, with CAP_NET_ADMIN beyond the system's limit. Otherwise the limit
    /// applies, which suffices for a school.
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
        // SAFETY: value is a readable int of the given length.
        let done =
            unsafe { libc::setsockopt(self.fd(), level, option, (&raw const value).cast(), len) };
        if done < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}
