//! UDP sockets of clients, read in batches (Linux: epoll and recvmmsg).

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Instant;

use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use tongke_plane::io::Waker;

use super::Failure;

/// Receive buffer size: more than a keyframe, so that losses are not our own.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

/// Messages per system call.
pub(crate) const BATCH: usize = 32;

/// Buffer size of a message: one datagram, or as many as the kernel merges (udp(7), UDP_GRO). Not a
/// power of two, as then all buffers would compete for the same cache sets.
const MESSAGE_BUFFER: usize = 65_536 + 1_600;

pub(crate) struct Socket {
    inner: UdpSocket,
}

impl Socket {
    /// `gro`: receives datagrams that were sent as one message as one message.
    pub(crate) fn open(gro: bool) -> Result<Socket, Failure> {
        let socket = RawSocket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        // The system may grant less than is asked for.
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        socket.set_nonblocking(true)?;
        enable(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS)?;
        if gro {
            enable(&socket, libc::SOL_UDP, libc::UDP_GRO)?;
        }
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())?;
        Ok(Socket {
            inner: socket.into(),
        })
    }

    /// Host candidate for the offer: the local address of the route to the server.
    pub(crate) fn candidate(&self, url: &str) -> Result<SocketAddr, Failure> {
        let host = reqwest::Url::parse(url)?;
        let remote = host
            .socket_addrs(|| None)?
            .into_iter()
            .find(SocketAddr::is_ipv4)
            .ok_or("the server has no IPv4 address")?;
        let probe = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        probe.connect(remote)?;
        Ok(SocketAddr::new(
            probe.local_addr()?.ip(),
            self.inner.local_addr()?.port(),
        ))
    }

    pub(crate) fn connect(&self, server: SocketAddrV4) -> Result<(), Failure> {
        Ok(self.inner.connect(server)?)
    }

    /// Sends a datagram, or drops it if the send buffer is full, as a network would.
    pub(crate) fn send(&self, datagram: &[u8]) {
        let _ = self.inner.send(datagram);
    }
}

impl Socket {
    /// Datagrams dropped by the kernel because the receive buffer was full; `None` where the kernel
    /// does not count.
    pub(crate) fn dropped(&self) -> Option<u64> {
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
        (done == 0 && len as usize == size_of_val(&info))
            .then_some(u64::from(info[SK_MEMINFO_DROPS]))
    }
}

/// Enables an option: SO_TIMESTAMPNS for arrival timestamps (socket(7)), UDP_GRO for gro
/// datagrams (udp(7)).
fn enable(socket: &RawSocket, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: both options take an int, which outlives the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }
}

/// Sockets of one thread.
pub(crate) struct Epoll {
    fd: OwnedFd,
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Epoll> {
        // SAFETY: the call takes no pointer; a valid descriptor is ours alone.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: see above.
        Ok(Epoll {
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
        })
    }

    /// Watches a socket; [`Epoll::poll`] returns `key` when it is readable.
    pub(crate) fn add(&self, socket: &Socket, key: usize) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: key as u64,
        };
        // SAFETY: both descriptors are open, and `event` outlives the call.
        let done = unsafe {
            libc::epoll_ctl(
                self.fd.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                socket.as_raw_fd(),
                &mut event,
            )
        };
        if done < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    /// Returns the keys of readable sockets. True when there may be more.
    pub(crate) fn poll(&self, keys: &mut Vec<usize>) -> bool {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 256];
        // SAFETY: the array has as many elements as are named, and outlives the call.
        let ready = unsafe {
            libc::epoll_wait(
                self.fd.as_raw_fd(),
                events.as_mut_ptr(),
                events.len() as i32,
                0,
            )
        };
        keys.clear();
        keys.extend(
            events
                .iter()
                .take(usize::try_from(ready).unwrap_or(0))
                .map(|event| event.u64 as usize),
        );
        keys.len() == events.len()
    }

    /// Deadline until the deadline or a wake-up; with `for_readable` also until a socket is readable.
    pub(crate) fn wait(&self, waker: &Waker, for_readable: bool, until: Instant) {
        let time = until.saturating_duration_since(Instant::now());
        let time = libc::timespec {
            tv_sec: time.as_secs() as _,
            tv_nsec: time.subsec_nanos() as _,
        };
        let mut polls = [waker.fd(), self.fd.as_raw_fd()].map(|fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        });
        let count = if for_readable { polls.len() } else { 1 };
        // SAFETY: there are as many valid pollfds as are named, and a valid timeout; no signal mask.
        unsafe {
            libc::ppoll(
                polls.as_mut_ptr(),
                count as libc::nfds_t,
                &raw const time,
                std::ptr::null(),
            )
        };
        if polls[0].revents != 0 {
            waker.reset();
        }
    }
}

/// Buffers of one batch, shared by all sockets of a thread.
pub(crate) struct Batch {
    buffers: Box<[u8]>,
    controls: Box<[ControlBuffer; BATCH]>,
    vectors: Box<[libc::iovec; BATCH]>,
    headers: Box<[libc::mmsghdr; BATCH]>,
}

/// Two control messages, each with a header of 16 bytes and up to 16 bytes of data.
type ControlBuffer = [u64; 8];

impl Batch {
    pub(crate) fn new() -> Batch {
        // SAFETY: all zeroes is a valid value of each of these C structures.
        let mut batch: Batch = unsafe {
            Batch {
                buffers: vec![0; BATCH * MESSAGE_BUFFER].into_boxed_slice(),
                controls: boxed([0; 8]),
                vectors: boxed(std::mem::zeroed()),
                headers: boxed(std::mem::zeroed()),
            }
        };
        for (n, buffer) in batch.buffers.chunks_exact_mut(MESSAGE_BUFFER).enumerate() {
            batch.vectors[n] = libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer.len(),
            };
            let header = &mut batch.headers[n].msg_hdr;
            (header.msg_iov, header.msg_iovlen) = (&raw mut batch.vectors[n], 1);
            header.msg_control = batch.controls[n].as_mut_ptr().cast();
        }
        batch
    }

    /// Reads at most [`BATCH`] messages; returns their number.
    pub(crate) fn receive(&mut self, socket: &Socket) -> usize {
        for header in self.headers.iter_mut() {
            // recvmmsg overwrites the length.
            header.msg_hdr.msg_controllen = size_of::<ControlBuffer>() as _;
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

    /// Datagrams of the last [`Batch::receive`] with their arrival times in nanoseconds since 1970.
    /// Merged ones share one time.
    pub(crate) fn datagrams(
        &mut self,
        count: usize,
    ) -> impl Iterator<Item = (&mut [u8], Option<u64>)> {
        self.buffers
            .chunks_exact_mut(MESSAGE_BUFFER)
            .zip(self.headers.iter())
            .take(count)
            .flat_map(|(buffer, header)| {
                let (arrived, segment) = control_data(&header.msg_hdr);
                let message = &mut buffer[..header.msg_len as usize];
                let segment = segment.unwrap_or(message.len()).max(1);
                message
                    .chunks_mut(segment)
                    .map(move |datagram| (datagram, arrived))
            })
    }
}

/// Arrival time (SCM_TIMESTAMPNS) and datagram size of a gro message (UDP_GRO).
fn control_data(header: &libc::msghdr) -> (Option<u64>, Option<usize>) {
    let (mut arrived, mut segment) = (None, None);
    // SAFETY: the kernel filled the control buffer that the header describes; CMSG_* walk within its length, and the data of each kind is
    // read as what the kernel writes for it.
    unsafe {
        let mut cmsg = libc::CMSG_FIRSTHDR(header);
        while let Some(control) = cmsg.as_ref() {
            match (control.cmsg_level, control.cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    let time = libc::CMSG_DATA(cmsg)
                        .cast::<libc::timespec>()
                        .read_unaligned();
                    arrived = Some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64);
                }
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    segment = usize::try_from(
                        libc::CMSG_DATA(cmsg).cast::<libc::c_int>().read_unaligned(),
                    )
                    .ok();
                }
                _ => {}
            }
            cmsg = libc::CMSG_NXTHDR(header, cmsg);
        }
    }
    (arrived, segment)
}

fn boxed<T: Copy>(value: T) -> Box<[T; BATCH]> {
    vec![value; BATCH]
        .into_boxed_slice()
        .try_into()
        .ok()
        .expect("the vector has that length")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;

    /// A connected pair of sockets.
    fn pair(gro: bool) -> (Socket, Socket) {
        let (from, to) = (Socket::open(false).unwrap(), Socket::open(gro).unwrap());
        let port = to.inner.local_addr().unwrap().port();
        from.connect(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
            .unwrap();
        (from, to)
    }

    #[test]
    fn datagrams_carry_the_kernels_arrival_time() {
        let ((from, to), mut batch) = (pair(false), Batch::new());
        let unread = Duration::from_millis(30);
        // The kernel enables timestamps shortly after the first socket requests them.
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
            assert!(
                arrivals.is_sorted()
                    && arrivals
                        .iter()
                        .all(|arrived| (before..=read).contains(arrived))
            );
            arrivals[2] < read - unread.as_nanos() as u64 / 2
        });
        assert!(
            stamped_early,
            "the time is that of arrival, not that of reading"
        );
        assert_eq!(to.dropped(), Some(0));
    }

    #[test]
    fn a_merged_message_is_split_into_its_datagrams() {
        for gro in [true, false] {
            let ((from, to), mut batch) = (pair(gro), Batch::new());
            let (segment, before): (libc::c_int, _) = (100, clock::now_ns());
            // SAFETY: the option takes an int, which outlives the call.
            let done = unsafe {
                let (value, len) = (
                    (&raw const segment).cast(),
                    size_of_val(&segment) as libc::socklen_t,
                );
                libc::setsockopt(
                    from.as_raw_fd(),
                    libc::SOL_UDP,
                    libc::UDP_SEGMENT,
                    value,
                    len,
                )
            };
            assert_eq!(done, 0);
            from.send(&(0..250u8).map(|n| n / 100).collect::<Vec<_>>());
            let count = batch.receive(&to);
            assert_eq!(count, if gro { 1 } else { 3 });
            let datagrams: Vec<_> = batch
                .datagrams(count)
                .map(|(bytes, arrived)| (bytes.to_vec(), arrived))
                .collect();
            assert_eq!(
                datagrams
                    .iter()
                    .map(|(bytes, _)| bytes.clone())
                    .collect::<Vec<_>>(),
                [vec![0; 100], vec![1; 100], vec![2; 50]]
            );
            assert!(
                datagrams
                    .iter()
                    .all(|(_, arrived)| arrived.is_some_and(|arrived| arrived >= before))
            );
        }
    }

    #[test]
    fn a_wait_ends_by_timeout_by_wakeup_and_optionally_by_a_datagram() {
        let ((from, to), epoll, waker) =
            (pair(false), Epoll::new().unwrap(), Waker::new().unwrap());
        epoll.add(&to, 7).unwrap();
        let ends_early = |for_readable: bool, millis: u64| {
            let until = Instant::now() + Duration::from_millis(millis);
            epoll.wait(&waker, for_readable, until);
            Instant::now() < until
        };
        assert!(!ends_early(true, 20), "nobody came");
        waker.wake();
        assert!(ends_early(false, 20_000), "woken");
        assert!(!ends_early(false, 20), "once");
        from.send(b"media");
        assert!(!ends_early(false, 20), "not for that");
        assert!(ends_early(true, 20_000), "for that");
        let mut keys = Vec::new();
        assert!(!epoll.poll(&mut keys), "no more than these");
        assert_eq!(keys, [7]);
    }

    #[test]
    fn datagrams_dropped_at_a_full_socket_are_counted() {
        let (from, to) = pair(false);
        socket2::SockRef::from(&to.inner)
            .set_recv_buffer_size(4096)
            .unwrap();
        (0..200).for_each(|_| from.send(&[1; 1200]));
        assert!(
            to.dropped()
                .is_some_and(|dropped| dropped > 100 && dropped < 200),
            "{:?}",
            to.dropped()
        );
    }
}
