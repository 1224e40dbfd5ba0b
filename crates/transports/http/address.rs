//! Whose request it is: the client's address, behind proxies or not.
//!
//! Guarantees: `X-Forwarded-For` counts only as far as trusted proxies wrote it: it is read from
//! the right, and ends at the first address that is not trusted.
//! It is not an identity: an address serves rate limits and nothing else.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
};

use axum::extract::ConnectInfo;
use http::{HeaderMap, Request};
use tidings_core::rate::network;

/// A network of addresses, such as `10.0.0.0/8` or `::1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// A text that is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is no network: a network is an address with or without a prefix length, such as 127.0.0.1 or 10.0.0.0/8"
)]
pub struct InvalidNetwork(String);

impl Network {
    /// Whether an address is in this network. An IPv4 address inside IPv6 counts as the IPv4 one.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                same_prefix(u128::from(own.to_bits()) << 96, u128::from(other.to_bits()) << 96, self.prefix)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => same_prefix(own.to_bits(), other.to_bits(), self.prefix),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

fn same_prefix(left: u128, right: u128, prefix: u8) -> bool {
    prefix == 0 || (left ^ right) >> (128 - u32::from(prefix)) == 0
}

impl FromStr for Network {
    type Err = InvalidNetwork;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || InvalidNetwork(text.to_owned());
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| refused())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(most), str::parse).map_err(|_| refused())?;
        if prefix > most { Err(refused()) } else { Ok(Self { address, prefix }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Whether an address is of one of the trusted networks.
pub(super) fn is_trusted(trusted: &[Network], address: IpAddr) -> bool {
    trusted.iter().any(|network| network.contains(address))
}

/// The client's address: the peer's, or, where the peer is a trusted proxy, what it and the trusted
/// proxies before it forwarded. What cannot be read ends the search at the last address that could.
#[must_use]
pub fn client_address(trusted: &[Network], peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let mut client = peer.to_canonical();
    for value in headers.get_all("x-forwarded-for").iter().rev() {
        for hop in value.to_str().unwrap_or_default().rsplit(',') {
            if !is_trusted(trusted, client) {
                return client;
            }
            let Some(address) = parse_hop(hop.trim()) else { return client };
            client = address.to_canonical();
        }
    }
    client
}

/// Whose a request is, as limits count it: the client's address, of IPv6 its /64.
pub(crate) fn counted_address<B>(trusted: &[Network], request: &Request<B>) -> IpAddr {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    network(client_address(trusted, peer, request.headers()))
}

/// An address as proxies write it: bare, or with a port.
pub(super) fn parse_hop(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let trusted: Vec<Network> = trusted.iter().map(|text| text.parse().expect("a network")).collect();
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().expect("a header"));
        }
        client_address(&trusted, peer.parse().expect("an address"), &headers).to_string()
    }

    #[test]
    fn forwarded_addresses_count_from_the_right_and_past_trusted_proxies_only() {
        let table: &[(&[&str], &str, &[&str], &str)] = &[
            (&[], "1.1.1.1", &["9.9.9.9"], "1.1.1.1"),
            (&["10.0.0.0/8"], "1.1.1.1", &["9.9.9.9"], "1.1.1.1"),
            (&["10.0.0.0/8"], "10.1.2.3", &[], "10.1.2.3"),
            (&["10.0.0.0/8"], "10.1.2.3", &["6.6.6.6, 9.9.9.9"], "9.9.9.9"),
            (&["10.0.0.0/8"], "10.1.2.3", &["6.6.6.6, 9.9.9.9, 10.0.0.1"], "9.9.9.9"),
            (&["10.0.0.0/8"], "10.1.2.3", &["6.6.6.6", "9.9.9.9,10.0.0.1"], "9.9.9.9"),
            (&["10.0.0.0/8"], "10.1.2.3", &["9.9.9.9, nonsense"], "10.1.2.3"),
            (&["10.0.0.0/8"], "::ffff:10.1.2.3", &["9.9.9.9:4711"], "9.9.9.9"),
            (&["::1"], "::1", &["[2001:db8::1]:80"], "2001:db8::1"),
            (&["fd00::/8"], "fd12::1", &["2001:db8::1"], "2001:db8::1"),
            (&["0.0.0.0/0"], "10.1.2.3", &["6.6.6.6, 9.9.9.9"], "6.6.6.6"),
        ];
        for (trusted, peer, forwarded, expected) in table {
            assert_eq!(&client(trusted, peer, forwarded), expected, "{trusted:?} {peer} {forwarded:?}");
        }
    }

    #[test]
    fn what_counts_as_one_address_is_the_client_behind_a_trusted_proxy_and_of_ipv6_its_network() {
        let counted = |peer: &str, forwarded: &str| {
            let mut request = Request::builder().header("x-forwarded-for", forwarded).body(()).expect("a request");
            let peer: IpAddr = peer.parse().expect("an address");
            request.extensions_mut().insert(ConnectInfo(SocketAddr::new(peer, 1)));
            counted_address(&["10.0.0.0/8".parse().expect("a network")], &request).to_string()
        };
        assert_eq!(counted("10.0.0.1", "2001:db8:1:2:3::4"), "2001:db8:1:2::");
        assert_eq!(counted("10.0.0.1", "2001:db8:1:2:5::6"), "2001:db8:1:2::");
        assert_eq!(counted("1.1.1.1", "9.9.9.9"), "1.1.1.1", "not a proxy of ours");
        assert_eq!(counted("2001:db8:1:2::1", "9.9.9.9"), "2001:db8:1:2::");
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for bad in ["", "x", "10.0.0.0/33", "::1/129", "10.0.0.0/", "10.0.0/8", "10.0.0.0/-1"] {
            assert_eq!(bad.parse::<Network>(), Err(InvalidNetwork(bad.to_owned())), "{bad}");
        }
        assert_eq!("10.0.0.0/8".parse::<Network>().expect("a network").to_string(), "10.0.0.0/8");
    }
}
