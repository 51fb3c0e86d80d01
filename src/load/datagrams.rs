//! One client's UDP socket, and many of them drained in batches (Linux: epoll and recvmmsg).

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

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
        stamp_arrivals(&socket)?;
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

impl Socket {
    /// Datagrams that the kernel dropped here because the buffer was full; none where it does not tell.
    pub fn dropped(&self) -> Option<u64> {
        // linux/sock_diag.h: SO_MEMINFO fills an array of which SK_MEMINFO_DROPS is one.
        const SK_MEMINFO_DROPS: usize = 8;
        let mut info = [0u32; SK_MEMINFO_DROPS + 1];
        let mut len = size_of_val(&info) as libc::socklen_t;
        // SAFETY: the array has as many bytes as are named, and outlives the call.
        let done = unsafe {
            libc::getsockopt(
                self.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_MEMINFO,
                info.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        (done == 0 && len as usize == size_of_val(&info)).then_some(u64::from(info[SK_MEMINFO_DROPS]))
    }
}

/// Asks for the time at which each datagram came, so that it does not matter when we get around to reading it (socket(7), SO_TIMESTAMPNS).
fn stamp_arrivals(socket: &RawSocket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option takes an int, which outlives the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
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

    /// `key` comes back from [`Epoll::poll`] when the socket has something to read.
    pub fn add(&self, socket: &Socket, key: usize) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: key as u64 };
        // SAFETY: both descriptors are open, and `event` outlives the call.
        let done = unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &mut event) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Keys of sockets that can be read now; where there are many, not all of them.
    pub fn poll(&self, keys: &mut Vec<usize>) {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 256];
        // SAFETY: the array has as many elements as are named, and outlives the call.
        let ready = unsafe { libc::epoll_wait(self.fd.as_raw_fd(), events.as_mut_ptr(), events.len() as i32, 0) };
        keys.clear();
        keys.extend(events.iter().take(usize::try_from(ready).unwrap_or(0)).map(|event| event.u64 as usize));
    }
}

/// Buffers for one batch, reused for every socket of a thread.
pub struct Batch {
    buffers: Box<[[u8; DATAGRAM]; BATCH]>,
    controls: Box<[Control; BATCH]>,
    vectors: Box<[libc::iovec; BATCH]>,
    headers: Box<[libc::mmsghdr; BATCH]>,
}

/// Room for the one control message that is asked for: when a datagram arrived (SCM_TIMESTAMPNS).
#[repr(C)]
#[derive(Clone, Copy)]
struct Control {
    header: libc::cmsghdr,
    time: libc::timespec,
}

impl Batch {
    pub fn new() -> Batch {
        // SAFETY: all zeroes is a valid value of each of these C structures.
        let mut batch: Batch = unsafe {
            Batch {
                buffers: boxed([0; DATAGRAM]),
                controls: boxed(std::mem::zeroed()),
                vectors: boxed(std::mem::zeroed()),
                headers: boxed(std::mem::zeroed()),
            }
        };
        for n in 0..BATCH {
            batch.vectors[n] = libc::iovec { iov_base: batch.buffers[n].as_mut_ptr().cast(), iov_len: DATAGRAM };
            let header = &mut batch.headers[n].msg_hdr;
            (header.msg_iov, header.msg_iovlen) = (&raw mut batch.vectors[n], 1);
            header.msg_control = (&raw mut batch.controls[n]).cast();
        }
        batch
    }

    /// Reads what is there, [`BATCH`] datagrams at most; how many.
    pub fn receive(&mut self, socket: &Socket) -> usize {
        for header in self.headers.iter_mut() {
            // The kernel has written over it.
            header.msg_hdr.msg_controllen = size_of::<Control>() as _;
        }
        // SAFETY: each header points at one vector and one control buffer of ours; all are boxed and outlive the call.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        usize::try_from(received).unwrap_or(0)
    }

    /// The datagrams of the last [`Batch::receive`], and when the kernel had each, in nanoseconds since 1970.
    pub fn datagrams(&mut self, count: usize) -> impl Iterator<Item = (&mut [u8], Option<u64>)> {
        let parts = self.buffers.iter_mut().zip(self.headers.iter()).zip(self.controls.iter());
        parts
            .take(count)
            .map(|((buffer, header), control)| (&mut buffer[..header.msg_len as usize], control.arrived(header)))
    }
}

impl Control {
    fn arrived(&self, header: &libc::mmsghdr) -> Option<u64> {
        let is_time = header.msg_hdr.msg_controllen >= size_of::<Control>() as _
            && (self.header.cmsg_level, self.header.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS);
        is_time.then(|| self.time.tv_sec as u64 * 1_000_000_000 + self.time.tv_nsec as u64)
    }
}

fn boxed<T: Copy>(value: T) -> Box<[T; BATCH]> {
    vec![value; BATCH].into_boxed_slice().try_into().ok().expect("the vector has that length")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::clock;

    /// Two sockets, of which one sends to the other.
    fn pair() -> (Socket, Socket) {
        let (from, to) = (Socket::open().unwrap(), Socket::open().unwrap());
        let port = to.inner.local_addr().unwrap().port();
        from.connect(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).unwrap();
        (from, to)
    }

    #[test]
    fn datagrams_come_with_the_moment_at_which_the_kernel_had_them() {
        let ((from, to), mut batch) = (pair(), Batch::new());
        let unread = Duration::from_millis(30);
        // The kernel begins to look at the clock a little after the first socket of all has asked for it.
        let stamped_early = (0..100).any(|_| {
            let before = clock::now_ns();
            (0..3u8).for_each(|n| from.send(&[n; 5]));
            std::thread::sleep(unread);
            let (count, read) = (batch.receive(&to), clock::now_ns());
            assert_eq!(count, 3);
            let mut arrivals = Vec::new();
            for (n, (bytes, arrived)) in batch.datagrams(count).enumerate() {
                assert_eq!(bytes, [n as u8; 5]);
                arrivals.push(arrived.expect("a time"));
            }
            assert!(arrivals.is_sorted() && arrivals.iter().all(|arrived| (before..=read).contains(arrived)));
            arrivals[2] < read - unread.as_nanos() as u64 / 2
        });
        assert!(stamped_early, "the time is that of arrival, not that of reading");
        assert_eq!(to.dropped(), Some(0));
    }

    #[test]
    fn what_did_not_fit_the_socket_is_counted() {
        let (from, to) = pair();
        socket2::SockRef::from(&to.inner).set_recv_buffer_size(4096).unwrap();
        (0..200).for_each(|_| from.send(&[1; 1200]));
        assert!(to.dropped().is_some_and(|dropped| dropped > 100 && dropped < 200), "{:?}", to.dropped());
    }
}
