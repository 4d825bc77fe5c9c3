//! Which connections are open, and which of them gives its place to a new one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::ConnectionAccount;

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

/// The open connections, and how many each client has.
#[derive(Debug, Default)]
pub(super) struct OpenConnections {
    by_id: HashMap<u64, Arc<ConnectionAccount>>,
    of_network: HashMap<ClientNetwork, usize>,
}

impl OpenConnections {
    pub(super) fn insert(&mut self, account: &Arc<ConnectionAccount>) {
        self.by_id.insert(account.id, Arc::clone(account));
        *self.of_network.entry(account.network).or_default() += 1;
    }

    pub(super) fn remove(&mut self, account: &ConnectionAccount) {
        self.by_id.remove(&account.id);
        if let Some(count) = self.of_network.get_mut(&account.network) {
            *count -= 1;
            if *count == 0 {
                self.of_network.remove(&account.network);
            }
        }
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Arc<ConnectionAccount>> {
        self.by_id.values()
    }

    /// The connection that gives its place to a new one of this client: of those that may, the one that has been idle longest.
    ///
    /// One that has never been used may. One that was used may after `kept_ms` if its client has at least as many connections as the
    /// new one's client, and after 30 seconds in any case. So a crowd of connections does not displace those of others.
    pub(super) fn for_new(
        &self,
        of: ClientNetwork,
        now_ms: u64,
        kept_ms: u64,
    ) -> Option<&ConnectionAccount> {
        let count = |network| self.of_network.get(&network).copied().unwrap_or_default();
        let of_new = count(of);
        let gives_place = |account: &&Arc<ConnectionAccount>| {
            let idle_ms = now_ms.saturating_sub(account.idle_since_ms.load(Ordering::Relaxed));
            account.is_idle()
                && (!account.is_used.load(Ordering::Relaxed)
                    || idle_ms >= PLACE_GIVEN_MS
                    || idle_ms >= kept_ms && count(account.network) >= of_new)
        };
        let idle = self.by_id.values().filter(gives_place);
        let idlest = idle.min_by_key(|account| account.idle_since_ms.load(Ordering::Relaxed));
        idlest.map(Arc::as_ref)
    }
}
