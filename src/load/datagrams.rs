//! One client's UDP socket, and many of them drained in batches (Linux: epoll and recvmmsg).

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket as RawSocket, Type};

use super::Failure;

/// Room for a keyframe and then some, so that what is lost was not lost here.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

/// Datagrams of one system call.
pub const BATCH: usize = 32;

/// No WebRTC datagram is longer.
const DATAGRAM: usize = 1600;

pub struct Socket {
    inner: UdpSocket,
}

impl Socket {
    pub fn open() -> Result<Socket, Failure> {
        let socket = RawSocket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        // The system may grant less than is asked for.
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())?;
        Ok(Socket { inner: socket.into() })
    }

    /// The host candidate for our offer: the address that a packet to the server's host would leave from.
    pub fn candidate(&self, url: &str) -> Result<SocketAddr, Failure> {
        let host = reqwest::Url::parse(url)?;
        let towards = host
            .socket_addrs(|| None)?
            .into_iter()
            .find(SocketAddr::is_ipv4)
            .ok_or("the server has no IPv4 address")?;
        let probe = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        probe.connect(towards)?;
        Ok(SocketAddr::new(probe.local_addr()?.ip(), self.inner.local_addr()?.port()))
    }

    pub fn connect(&self, server: SocketAddrV4) -> Result<(), Failure> {
        Ok(self.inner.connect(server)?)
    }

    /// Sends, or drops what the system does not take, as a network would.
    pub fn send(&self, datagram: &[u8]) {
        let _ = self.inner.send(datagram);
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }
}

/// The set of sockets of one thread.
pub struct Epoll {
    fd: OwnedFd,
}

impl Epoll {
    pub fn new() -> io::Result<Epoll> {
        // SAFETY: the call takes no pointer; a valid descriptor is ours alone.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: see above.
        Ok(Epoll { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// `key` comes back from [`Epoll::wait`] when the socket has something to read.
    pub fn add(&self, socket: &Socket, key: usize) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: key as u64 };
        // SAFETY: both descriptors are open, and `event` outlives the call.
        let done = unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &mut event) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Keys of sockets that can be read.
    pub fn wait(&self, timeout: Duration, keys: &mut Vec<usize>) {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 256];
        let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the array has as many elements as are named, and outlives the call.
        let ready = unsafe { libc::epoll_wait(self.fd.as_raw_fd(), events.as_mut_ptr(), events.len() as i32, millis) };
        keys.clear();
        // A signal ends the wait early; the next one goes on.
        keys.extend(events.iter().take(usize::try_from(ready).unwrap_or(0)).map(|event| event.u64 as usize));
    }
}

/// Buffers for one batch, reused for every socket of a thread.
pub struct Batch {
    buffers: Box<[[u8; DATAGRAM]; BATCH]>,
    lengths: [usize; BATCH],
}

impl Batch {
    pub fn new() -> Batch {
        let buffers = vec![[0; DATAGRAM]; BATCH].into_boxed_slice().try_into().expect("the vector has that length");
        Batch { buffers, lengths: [0; BATCH] }
    }

    /// Reads what is there, [`BATCH`] datagrams at most; how many.
    pub fn receive(&mut self, socket: &Socket) -> usize {
        let mut vectors = self
            .buffers
            .each_mut()
            .map(|buffer| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: DATAGRAM });
        let mut headers = vectors.each_mut().map(|vector| {
            // SAFETY: all-zero is a valid mmsghdr: no address, no control data.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header
        });
        // SAFETY: each header points at one vector, each vector at one buffer of that length; all outlive the call.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(received).unwrap_or(0);
        for (length, header) in self.lengths.iter_mut().zip(&headers).take(count) {
            *length = header.msg_len as usize;
        }
        count
    }

    /// The datagrams of the last [`Batch::receive`].
    pub fn datagrams(&mut self, count: usize) -> impl Iterator<Item = &mut [u8]> {
        self.buffers.iter_mut().zip(&self.lengths).take(count).map(|(buffer, length)| &mut buffer[..*length])
    }
}
