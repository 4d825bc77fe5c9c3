//! Which connections are open, and which of them gives its place to a new one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// From then on, a connection that was used gives its place to any new one.
const PLACE_GIVEN_MS: u64 = 30_000;
/// The part of an IPv6 address that one client usually has.
const IPV6_NETWORK: u128 = !0 << 64;

/// The address of a client. Of an IPv6 address, the first 64 bits: one client usually has all of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClientNetwork(IpAddr);

impl From<IpAddr> for ClientNetwork {
    fn from(address: IpAddr) -> Self {
        Self(match address {
            IpAddr::V6(address) => {
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & IPV6_NETWORK))
            }
            address @ IpAddr::V4(_) => address,
        })
    }
}

/// What decides whether a connection gives its place away.
pub(super) trait ConnectionPlace {
    fn id(&self) -> u64;
    fn network(&self) -> ClientNetwork;
    /// No request is in flight.
    fn is_idle(&self) -> bool;
    /// A request has ended.
    fn is_used(&self) -> bool;
    /// When the last request ended, or else the connection began, in milliseconds on the clock of the table.
    fn idle_since_ms(&self) -> u64;
}

/// The open connections, and how many each client has.
#[derive(Debug)]
pub(super) struct OpenConnections<C> {
    by_id: HashMap<u64, Arc<C>>,
    of_network: HashMap<ClientNetwork, usize>,
}

impl<C> Default for OpenConnections<C> {
    fn default() -> Self {
        Self {
            by_id: HashMap::new(),
            of_network: HashMap::new(),
        }
    }
}

impl<C: ConnectionPlace> OpenConnections<C> {
    pub(super) fn insert(&mut self, connection: &Arc<C>) {
        self.by_id.insert(connection.id(), Arc::clone(connection));
        *self.of_network.entry(connection.network()).or_default() += 1;
    }

    pub(super) fn remove(&mut self, connection: &C) {
        self.by_id.remove(&connection.id());
        if let Some(count) = self.of_network.get_mut(&connection.network()) {
            *count -= 1;
            if *count == 0 {
                self.of_network.remove(&connection.network());
            }
        }
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Arc<C>> {
        self.by_id.values()
    }

    /// The connection that gives its place to a new one of this client: of those that may, the one that has been idle longest.
    ///
    /// One that has never been used may. One that was used may after `kept_ms` if its client has at least as many connections as the
    /// new one's client, and after 30 seconds in any case. So a crowd of connections does not displace those of others.
    pub(super) fn for_new(&self, of: ClientNetwork, now_ms: u64, kept_ms: u64) -> Option<&C> {
        let count = |network| self.of_network.get(&network).copied().unwrap_or_default();
        let of_new = count(of);
        let gives_place = |connection: &&Arc<C>| {
            let idle_ms = now_ms.saturating_sub(connection.idle_since_ms());
            connection.is_idle()
                && (!connection.is_used()
                    || idle_ms >= PLACE_GIVEN_MS
                    || idle_ms >= kept_ms && count(connection.network()) >= of_new)
        };
        let idle = self.by_id.values().filter(gives_place);
        idle.min_by_key(|connection| connection.idle_since_ms())
            .map(Arc::as_ref)
    }
}
