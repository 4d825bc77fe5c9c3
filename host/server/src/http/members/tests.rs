//! Each error of a membership change or a leadership transfer has its code.

use super::*;

fn node() -> NodeId {
    "node2".into()
}

#[test]
fn each_error_of_the_leader_has_its_code() {
    let address = "x".to_owned();
    let cases: [(AdminError, u16, &str); 17] = [
        (ChangeError::NotLeader.into(), 503, "no_leader"),
        (ChangeError::Busy.into(), 409, "change_under_way"),
        (
            ChangeError::NotCaughtUp {
                node: node(),
                behind: 7,
            }
            .into(),
            409,
            "not_caught_up",
        ),
        (
            ChangeError::UnknownNode { node: node() }.into(),
            404,
            "unknown_node",
        ),
        (ChangeError::LastVoter.into(), 409, "last_voter"),
        (
            ChangeError::TooMany { limit: 9 }.into(),
            409,
            "too_many_members",
        ),
        (
            ChangeError::BadAddress {
                node: node(),
                address,
            }
            .into(),
            400,
            "malformed",
        ),
        (
            ChangeError::Overloaded { what: "x".into() }.into(),
            429,
            "overloaded",
        ),
        (TransferError::NoOtherVoter.into(), 409, "not_a_voter"),
        (
            TransferError::Busy { to: node() }.into(),
            409,
            "transfer_under_way",
        ),
        (
            TransferError::GaveUp { to: node() }.into(),
            409,
            "transfer_failed",
        ),
        (AdminError::Raise(RaiseError::Busy), 409, "change_under_way"),
        (
            AdminError::Raise(RaiseError::UnknownLevel {
                node: node(),
                level: 9,
            }),
            409,
            "unknown_level",
        ),
        (AdminError::TimedOut, 504, "timeout"),
        (AdminError::Stopped, 504, "timeout"),
        (AdminError::NoLeader, 503, "no_leader"),
        (AdminError::Overloaded, 429, "overloaded"),
    ];
    for (error, status, code) in cases {
        let api = of_order(&error);
        assert_eq!(
            (api.status().as_u16(), api.code()),
            (status, code),
            "{error}"
        );
    }
}
