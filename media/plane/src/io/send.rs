//! Sends the messages of an arena: many per `sendmmsg`, each with up to 64 datagrams by UDP GSO.

use std::io;
use std::mem;

use super::address::to_kernel;
use super::socket::MediaSocket;
use crate::subscribe::arena::{GsoMessage, SendArena};

/// Messages per call. Beyond this the cost of the system call no longer shows (measured: 32 and 100
/// are equal).
const MESSAGES: usize = 64;

/// Maximum wait for space in a full socket buffer, in milliseconds; then the rest of the flush is
/// dropped. On a link that stays full longer, older packets would only add delay.
const FULL_WAIT_MS: i32 = 2;

/// A control message with the GSO segment size.
#[repr(C)]
#[derive(Clone, Copy)]
struct Control {
    header: libc::cmsghdr,
    segment: u16,
    padding: [u8; 6],
}

/// Result of a flush.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendReport {
    /// Datagrams sent.
    pub datagrams: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// Datagrams that the kernel refused.
    pub failures: u64,
}

/// Reusable message headers of one shard.
pub struct Sender {
    headers: Box<[libc::mmsghdr; MESSAGES]>,
    iovecs: Box<[libc::iovec; MESSAGES]>,
    addresses: Box<[libc::sockaddr_storage; MESSAGES]>,
    controls: Box<[Control; MESSAGES]>,
    /// False once the kernel or the network device refused GSO; datagrams are then sent one by one.
    gso: bool,
}

impl Default for Sender {
    fn default() -> Self {
        Sender::new()
    }
}

impl Sender {
    /// Allocates the headers.
    pub fn new() -> Sender {
        // SAFETY: all zeroes is a valid value of each of these C structures.
        unsafe {
            Sender {
                headers: Box::new(mem::zeroed()),
                iovecs: Box::new(mem::zeroed()),
                addresses: Box::new(mem::zeroed()),
                controls: Box::new(mem::zeroed()),
                gso: true,
            }
        }
    }

    /// Sends everything in the arena, in order.
    pub fn flush(&mut self, socket: &MediaSocket, arena: &SendArena) -> SendReport {
        let mut report = SendReport::default();
        for batch in arena.messages().chunks(MESSAGES) {
            self.send_batch(socket, arena, batch, &mut report);
        }
        report
    }

    fn send_batch(
        &mut self,
        socket: &MediaSocket,
        arena: &SendArena,
        batch: &[GsoMessage],
        report: &mut SendReport,
    ) {
        if !self.gso {
            return self.send_singly(socket, arena, batch, report);
        }
        for (n, message) in batch.iter().enumerate() {
            self.prepare(socket, arena, n, message);
        }
        let mut sent = 0;
        while sent < batch.len() {
            let left = batch.len() - sent;
            // SAFETY: headers[sent..batch.len()] were prepared above and point to the arena and to
            // arrays of this struct.
            let count = unsafe {
                libc::sendmmsg(
                    socket.fd(),
                    self.headers[sent..].as_mut_ptr(),
                    left as u32,
                    libc::MSG_DONTWAIT,
                )
            };
            if count > 0 {
                batch[sent..sent + count as usize]
                    .iter()
                    .for_each(|message| report.sent(message));
                sent += count as usize;
                continue;
            }
            match io::Error::last_os_error().raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EAGAIN) if wait_writable(socket) => {}
                Some(libc::EIO | libc::EINVAL | libc::EOPNOTSUPP) if batch[sent].segments > 1 => {
                    let failures = report.failures;
                    self.send_singly(socket, arena, &batch[sent..=sent], report);
                    sent += 1;
                    // If single sends also fail, the destination is unreachable; otherwise the
                    // device does not support GSO.
                    if report.failures == failures {
                        tracing::warn!(
                            "the network device does not support UDP GSO; sending datagrams one by one"
                        );
                        self.gso = false;
                        return self.send_singly(socket, arena, &batch[sent..], report);
                    }
                }
                Some(libc::EAGAIN) => {
                    return batch[sent..]
                        .iter()
                        .for_each(|message| report.failed(message));
                }
                // Refused, unreachable or too large: only this destination is affected.
                _ => {
                    report.failed(&batch[sent]);
                    sent += 1;
                }
            }
        }
    }

    fn prepare(&mut self, socket: &MediaSocket, arena: &SendArena, n: usize, message: &GsoMessage) {
        let bytes = arena.bytes(message);
        let (address, len) = to_kernel(message.to.remote, socket.is_ipv6());
        self.addresses[n] = address;
        self.iovecs[n] = libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        let header = &mut self.headers[n].msg_hdr;
        header.msg_name = (&raw mut self.addresses[n]).cast();
        header.msg_namelen = len;
        header.msg_iov = &raw mut self.iovecs[n];
        header.msg_iovlen = 1;
        (header.msg_control, header.msg_controllen) = (std::ptr::null_mut(), 0);
        if message.segments > 1 {
            let control = &mut self.controls[n];
            control.header.cmsg_level = libc::SOL_UDP;
            control.header.cmsg_type = libc::UDP_SEGMENT;
            // SAFETY: CMSG_LEN only computes.
            control.header.cmsg_len = unsafe { libc::CMSG_LEN(size_of::<u16>() as u32) } as _;
            control.segment = message.segment as u16;
            header.msg_control = (&raw mut *control).cast();
            header.msg_controllen = size_of::<Control>() as _;
        }
    }

    fn send_singly(
        &mut self,
        socket: &MediaSocket,
        arena: &SendArena,
        batch: &[GsoMessage],
        report: &mut SendReport,
    ) {
        for message in batch {
            let (address, len) = to_kernel(message.to.remote, socket.is_ipv6());
            for datagram in arena.bytes(message).chunks(message.segment) {
                // SAFETY: datagram and address are readable for the lengths given.
                let sent = unsafe {
                    let address = (&raw const address).cast();
                    libc::sendto(
                        socket.fd(),
                        datagram.as_ptr().cast(),
                        datagram.len(),
                        libc::MSG_DONTWAIT,
                        address,
                        len,
                    )
                };
                match sent < 0 {
                    true => report.failures += 1,
                    false => {
                        (report.datagrams, report.bytes) =
                            (report.datagrams + 1, report.bytes + datagram.len() as u64)
                    }
                }
            }
        }
    }
}

impl SendReport {
    fn sent(&mut self, message: &GsoMessage) {
        self.datagrams += u64::from(message.segments);
        self.bytes += message.len as u64;
    }

    fn failed(&mut self, message: &GsoMessage) {
        self.failures += u64::from(message.segments);
    }
}

fn wait_writable(socket: &MediaSocket) -> bool {
    let mut poll = libc::pollfd {
        fd: socket.fd(),
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: one valid pollfd.
    unsafe { libc::poll(&raw mut poll, 1, FULL_WAIT_MS) > 0 }
}

#[cfg(test)]
mod tests {
    use super::super::Receiver;
    use super::*;
    use crate::transport::Path;

    #[test]
    fn an_unreachable_destination_does_not_disable_gso() {
        let socket =
            || MediaSocket::bind("127.0.0.1:0".parse().expect("an address")).expect("a socket");
        let (server, room) = (socket(), socket());
        let (mut sender, mut arena) = (Sender::new(), SendArena::new());
        // From a socket bound to loopback the kernel returns EINVAL for all other destinations, as
        // it does for unsupported GSO.
        for to in ["192.0.2.1:9".parse().expect("an address"), room.address()].map(Path::udp) {
            assert!(arena.push(to, &[1; 100]) && arena.push(to, &[2; 100]));
        }
        let report = sender.flush(&server, &arena);
        assert_eq!(
            report,
            SendReport {
                datagrams: 2,
                bytes: 200,
                failures: 2
            }
        );
        assert!(sender.gso);
        let (mut receiver, mut got) = (Receiver::new(), Vec::new());
        receiver.receive(&room).expect("loopback delivers at once");
        receiver.for_each(|_, datagram| got.push(datagram.to_vec()));
        assert_eq!(got, [[1; 100], [2; 100]]);
    }
}
