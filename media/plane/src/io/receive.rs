//! Receives datagrams with `recvmmsg` and UDP GRO into reusable buffers.

use std::io;
use std::mem;
use std::net::SocketAddr;

use super::address::from_kernel;
use super::socket::MediaSocket;

/// Maximum number of messages per call. With GRO each may contain up to 64 datagrams of one sender.
const MESSAGES: usize = 32;

/// Buffer size per message in bytes: the largest UDP payload, which a message merged by GRO may
/// reach, plus a stagger. With a power of two, the start of all messages would map to the same few
/// cache sets.
const MESSAGE_BYTES: usize = 65_536 + 1_600;

/// Buffer size for the one control message that is read: the segment size.
const CONTROL_BYTES: usize = 64;

/// Reusable receive buffers of one shard.
pub struct Receiver {
    bytes: Box<[u8]>,
    addresses: Box<[libc::sockaddr_storage; MESSAGES]>,
    controls: Box<[[u64; CONTROL_BYTES / 8]; MESSAGES]>,
    received: usize,
    lengths: [usize; MESSAGES],
    segments: [usize; MESSAGES],
}

impl Default for Receiver {
    fn default() -> Self {
        Receiver::new()
    }
}

impl Receiver {
    /// Allocates the buffers.
    pub fn new() -> Receiver {
        Receiver {
            bytes: vec![0; MESSAGES * MESSAGE_BYTES].into_boxed_slice(),
            // SAFETY: all zeroes is a valid sockaddr_storage.
            addresses: Box::new(unsafe { mem::zeroed() }),
            controls: Box::new([[0; CONTROL_BYTES / 8]; MESSAGES]),
            received: 0,
            lengths: [0; MESSAGES],
            segments: [0; MESSAGES],
        }
    }

    /// Receives the pending datagrams without blocking. Returns true if all messages were filled
    /// and more may be pending.
    pub fn receive(&mut self, socket: &MediaSocket) -> io::Result<bool> {
        self.received = 0;
        // SAFETY: all zeroes is a valid iovec and mmsghdr.
        let (mut iovecs, mut headers): ([libc::iovec; MESSAGES], [libc::mmsghdr; MESSAGES]) =
            unsafe { mem::zeroed() };
        for (n, chunk) in self.bytes.chunks_mut(MESSAGE_BYTES).enumerate() {
            iovecs[n] = libc::iovec {
                iov_base: chunk.as_mut_ptr().cast(),
                iov_len: chunk.len(),
            };
            let header = &mut headers[n].msg_hdr;
            header.msg_name = (&raw mut self.addresses[n]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = &raw mut iovecs[n];
            header.msg_iovlen = 1;
            header.msg_control = self.controls[n].as_mut_ptr().cast();
            header.msg_controllen = CONTROL_BYTES as _;
        }
        // SAFETY: every header points to buffers of this struct that outlive the call and have the
        // given lengths.
        let count = unsafe {
            libc::recvmmsg(
                socket.fd(),
                headers.as_mut_ptr(),
                MESSAGES as u32,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        if count < 0 {
            return ignore_expected(io::Error::last_os_error());
        }
        self.received = count as usize;
        for (n, header) in headers[..self.received].iter().enumerate() {
            self.lengths[n] = (header.msg_len as usize).min(MESSAGE_BYTES);
            self.segments[n] = segment_size(&header.msg_hdr).unwrap_or(self.lengths[n]);
        }
        Ok(self.received == MESSAGES)
    }

    /// Calls `handle` for each datagram of the last call, which it may modify in place.
    pub fn for_each(&mut self, mut handle: impl FnMut(SocketAddr, &mut [u8])) {
        for n in 0..self.received {
            let Some(from) = from_kernel(&self.addresses[n]) else {
                continue;
            };
            let message = &mut self.bytes[n * MESSAGE_BYTES..n * MESSAGE_BYTES + self.lengths[n]];
            for datagram in message.chunks_mut(self.segments[n].max(1)) {
                handle(from, datagram);
            }
        }
    }
}

/// Ignores errors that are expected: nothing is pending, a signal arrived, or an earlier datagram
/// was rejected (the client's port is closed; its consent will expire).
fn ignore_expected(error: io::Error) -> io::Result<bool> {
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EINTR | libc::ECONNREFUSED) => Ok(false),
        _ => Err(error),
    }
}

/// Returns the size of the datagrams that GRO merged (udp(7), UDP_GRO).
fn segment_size(header: &libc::msghdr) -> Option<usize> {
    // SAFETY: the kernel filled the control buffer that the header describes; the CMSG macros stay
    // within its length.
    unsafe {
        let mut cmsg = libc::CMSG_FIRSTHDR(header);
        while let Some(control) = cmsg.as_ref() {
            if control.cmsg_level == libc::SOL_UDP && control.cmsg_type == libc::UDP_GRO {
                let size = libc::CMSG_DATA(cmsg).cast::<libc::c_int>().read_unaligned();
                return usize::try_from(size).ok().filter(|size| *size > 0);
            }
            cmsg = libc::CMSG_NXTHDR(header, cmsg);
        }
    }
    None
}
