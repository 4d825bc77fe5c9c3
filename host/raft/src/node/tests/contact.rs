//! A node that listens before it begins a cluster.

use std::time::Duration;

use super::support::*;
use crate::node::first_contact;

/// Long enough for a loaded machine: a contact ends the wait.
const TIME: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_member_that_looks_for_the_node_is_noticed_and_connects_later() {
    let (a, b) = (socket("a"), socket("b"));
    let at_b = b.address.clone();
    let mut a_address = a.address.clone();
    let mut a = start(a, &[&at_b]);
    let contact = first_contact(&b.listener, &"b".into(), TIME, None).await;
    let contact = contact.expect("a socket").expect("a looks for b");
    assert_eq!(
        (contact.node_id, contact.cluster_id),
        ("a".into(), CLUSTER.to_owned())
    );
    a_address.id = "a".into();
    let _b = start(b, &[&a_address]);
    a.connected_to("b").await;
}

#[tokio::test]
async fn a_node_that_looks_for_another_one_is_no_contact() {
    let (a, b) = (socket("a"), socket("b"));
    let mut wrong = b.address.clone();
    wrong.id = "c".into();
    let _a = start(a, &[&wrong]);
    let none = first_contact(&b.listener, &"b".into(), Duration::from_millis(200), None).await;
    assert_eq!(none.expect("a socket"), None);
}
