use oarlock_guest::testing::{Harness, MessageSchema, TestCluster, TestOutcome};
use serde_json::{Value, json};

use super::*;

type Cluster = TestCluster<Ledger>;

/// Version 1 of this guest, as far as a test of the migration needs it.
mod version_1 {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub(crate) enum CommandV1 {
        Deposit { account: String, amount: i64 },
    }

    #[state_machine(name = "ledger", version = 1)]
    impl StateMachine for LedgerV1 {
        type Command = CommandV1;
        type Reply = i64;
        type Query = ();
        type Response = ();
        type Refusal = Refusal;

        fn apply(&mut self, _cx: &mut Apply<'_>, command: CommandV1) -> Result<i64, Refusal> {
            let CommandV1::Deposit { account, amount } = command;
            let balance = self.balances.entry(account).or_default();
            *balance += amount;
            self.total += amount;
            Ok(*balance)
        }

        fn query(&self, _cx: &Read<'_>, (): ()) -> Result<(), Refusal> {
            Ok(())
        }
    }
}

fn send(cluster: &mut Cluster, command: Value) -> TestOutcome {
    cluster.send(command.to_string())
}

fn open(cluster: &mut Cluster, account: &str, credit: u32) {
    let opened = send(
        cluster,
        json!({"open": {"account": account, "credit": credit}}),
    );
    assert!(opened.accepted, "{opened:?}");
}

fn deposit(cluster: &mut Cluster, account: &str, amount: i64) -> TestOutcome {
    send(
        cluster,
        json!({"deposit": {"account": account, "amount": amount}}),
    )
}

fn transfer(cluster: &mut Cluster, from: &str, to: &str, amount: i64) -> TestOutcome {
    send(
        cluster,
        json!({"transfer": {"from": from, "to": to, "amount": amount}}),
    )
}

/// Code and field of a refusal.
fn refusal(outcome: &TestOutcome) -> (String, String) {
    assert!(!outcome.accepted, "{outcome:?}");
    let body: Value = serde_json::from_str(outcome.text()).expect("JSON");
    let text = |name: &str| body["error"][name].as_str().unwrap_or_default().to_owned();
    (text("code"), text("field"))
}

fn balance<M>(harness: &Harness<M>, account: &str) -> Account
where
    M: oarlock_guest::Guest<Query = Query, Response = Response, Refusal = Refusal>,
{
    let account = account.to_owned();
    match harness.query(Query::Account { account }) {
        Ok(Response::Account(account)) => account,
        other => panic!("{other:?}"),
    }
}

fn total(cluster: &Cluster) -> Response {
    cluster.live().query(Query::Total {}).expect("a response")
}

#[test]
fn a_transfer_moves_money_and_keeps_the_sum() {
    let mut cluster = Cluster::new();
    open(&mut cluster, "ann", 0);
    open(&mut cluster, "bob", 0);
    let reply = deposit(&mut cluster, "ann", 500);
    assert_eq!(reply.text(), r#"{"balance":500,"credit":0}"#);
    let reply = transfer(&mut cluster, "ann", "bob", 150);
    assert_eq!(
        reply.text(),
        r#"{"from":{"balance":350,"credit":0},"to":{"balance":150,"credit":0}}"#
    );
    let events = cluster.take_events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].topic, "transferred");
    assert_eq!(
        events[0].payload,
        br#"{"from":"ann","to":"bob","amount":150}"#
    );
    let (accounts, sum) = (2, 500);
    assert_eq!(
        total(&cluster),
        Response::Total {
            accounts,
            total: sum
        }
    );
    let withdrawn = send(
        &mut cluster,
        json!({"withdraw": {"account": "bob", "amount": 150}}),
    );
    assert_eq!(withdrawn.text(), r#"{"balance":0,"credit":0}"#);
    assert_eq!(
        total(&cluster),
        Response::Total {
            accounts,
            total: 350
        }
    );
}

#[test]
fn what_is_not_possible_is_refused_and_changes_nothing() {
    let mut cluster = Cluster::new();
    open(&mut cluster, "ann", 100);
    open(&mut cluster, "bob", 0);
    let mut refused = |from: &str, to: &str, amount: i64| {
        let (code, field) = refusal(&transfer(&mut cluster, from, to, amount));
        format!("{code} {field}")
    };
    assert_eq!(refused("ann", "bob", 101), "overdrawn amount");
    assert_eq!(refused("ann", "bob", 0), "out_of_range amount");
    assert_eq!(refused("ann", "bob", i64::MIN), "out_of_range amount");
    assert_eq!(refused("ann", "ann", 1), "same_account to");
    assert_eq!(refused("cy", "bob", 1), "no_such_account from");
    assert_eq!(refused("ann", "cy", 1), "no_such_account to");
    let again = send(
        &mut cluster,
        json!({"open": {"account": "ann", "credit": 0}}),
    );
    assert_eq!(refusal(&again).0, "account_exists");
    let nameless = send(&mut cluster, json!({"open": {"account": "", "credit": 0}}));
    assert_eq!(refusal(&nameless).0, "out_of_range");
    assert!(deposit(&mut cluster, "bob", i64::MAX).accepted);
    assert_eq!(refusal(&deposit(&mut cluster, "bob", 1)).0, "overflow");
    // Each balance fits, their sum does not.
    assert_eq!(refusal(&deposit(&mut cluster, "ann", 1)).0, "overflow");
    let used = transfer(&mut cluster, "ann", "bob", 1);
    assert_eq!(refusal(&used).0, "overflow");
}

#[test]
fn an_account_may_use_its_credit() {
    let mut cluster = Cluster::new();
    open(&mut cluster, "ann", 100);
    open(&mut cluster, "bob", 0);
    assert!(transfer(&mut cluster, "ann", "bob", 100).accepted);
    let (balance_of_ann, credit) = (-100, 100);
    assert_eq!(
        balance(cluster.live(), "ann"),
        Account {
            balance: balance_of_ann,
            credit
        }
    );
    assert_eq!(
        refusal(&transfer(&mut cluster, "ann", "bob", 1)).0,
        "overdrawn"
    );
}

#[test]
fn no_account_is_opened_while_the_memory_is_low() {
    let mut ledger = Harness::<Ledger>::new();
    ledger.set_memory_is_low(true);
    let refused = ledger.send(r#"{"open":{"account":"ann","credit":0}}"#);
    assert_eq!(refusal(&refused).0, "memory_is_low");
    ledger.set_memory_is_low(false);
    assert!(
        ledger
            .send(r#"{"open":{"account":"ann","credit":0}}"#)
            .accepted
    );
}

#[test]
fn version_2_reads_the_accounts_of_version_1() {
    let mut old = TestCluster::<LedgerV1>::new();
    for (account, amount) in [("ann", 70), ("bob", 30), ("ann", 5)] {
        let command = json!({"deposit": {"account": account, "amount": amount}});
        old.send(command.to_string());
    }
    let mut cluster = old.upgrade::<Ledger>().expect("it is migrated");
    let (accounts, sum) = (2, 105);
    assert_eq!(
        total(&cluster),
        Response::Total {
            accounts,
            total: sum
        }
    );
    assert!(transfer(&mut cluster, "ann", "bob", 75).accepted);
    let account = balance(cluster.live(), "bob");
    let (balance, credit) = (105, 0);
    assert_eq!(account, Account { balance, credit });
    assert!(
        cluster.upgrade::<LedgerV1>().is_err(),
        "version 1 can't read the state of version 2"
    );
}

#[test]
fn a_changed_layout_of_the_state_needs_a_new_version() {
    let layouts = [
        oarlock_guest::testing::layout::<LedgerV1>(),
        oarlock_guest::testing::layout::<Ledger>(),
    ];
    assert_eq!(
        layouts,
        [
            "serde1:2aa6cc44-9050d69d3211504b",
            "serde1:1a9dc8a5-bb4749e423d08a53"
        ],
        "the layout of the state changed: raise `version`, write `migrate`, and then add to this list"
    );
}

#[test]
fn the_schema_is_current() {
    MessageSchema::<Ledger>::derived()
        .refusals([
            "account_exists",
            "memory_is_low",
            "no_such_account",
            "out_of_range",
            "overdrawn",
            "overflow",
            "same_account",
        ])
        .assert_is_current("src/schema.json");
}
