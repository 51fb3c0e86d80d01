//! Conversion of socket addresses from and to the kernel's representation.

use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Converts an address to the socket's address family. Returns the length too.
pub(super) fn to_kernel(
    address: SocketAddr,
    ipv6: bool,
) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: all zeroes is a valid sockaddr_storage.
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let len = match (address, ipv6) {
        (SocketAddr::V4(v4), false) => {
            let inet = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from_ne_bytes(v4.ip().octets()),
                },
                sin_zero: [0; 8],
            };
            // SAFETY: sockaddr_storage is at least as large and as aligned as every sockaddr.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in>().write(inet) };
            mem::size_of::<libc::sockaddr_in>()
        }
        (address, _) => {
            let (ip, scope) = match address {
                SocketAddr::V4(v4) => (v4.ip().to_ipv6_mapped(), 0),
                SocketAddr::V6(v6) => (*v6.ip(), v6.scope_id()),
            };
            let inet = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr {
                    s6_addr: ip.octets(),
                },
                sin6_scope_id: scope,
            };
            // SAFETY: as above.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in6>().write(inet) };
            mem::size_of::<libc::sockaddr_in6>()
        }
    };
    (storage, len as libc::socklen_t)
}

/// Converts an address that the kernel wrote. An IPv4-mapped IPv6 address of a dual-stack socket
/// becomes an IPv4 address.
pub(super) fn from_kernel(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family determines the type.
            let inet = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(inet.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddr::new(ip.into(), u16::from_be(inet.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: the family determines the type.
            let inet = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(inet.sin6_addr.s6_addr);
            let port = u16::from_be(inet.sin6_port);
            match ip.to_ipv4_mapped() {
                Some(v4) => Some(SocketAddr::new(v4.into(), port)),
                None => Some(SocketAddrV6::new(ip, port, 0, inet.sin6_scope_id).into()),
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_conversion_to_the_kernel_and_back() {
        for (text, ipv6) in [
            ("127.0.0.1:8189", false),
            ("127.0.0.1:8189", true),
            ("[2001:db8::1]:9", true),
            ("[fe80::1%3]:9", true),
        ] {
            let address: SocketAddr = text.parse().expect("an address");
            assert_eq!(
                from_kernel(&to_kernel(address, ipv6).0),
                Some(address),
                "{text}"
            );
        }
    }
}
