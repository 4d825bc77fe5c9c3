//! A ledger: accounts, and transfers that keep the sum of all balances.
//!
//! ```text
//! {"open":{"account":"ann","credit":0}}                       →  {"balance":0,"credit":0}
//! {"deposit":{"account":"ann","amount":500}}                  →  {"balance":500,"credit":0}
//! {"withdraw":{"account":"ann","amount":100}}                 →  {"balance":400,"credit":0}
//! {"transfer":{"from":"ann","to":"bob","amount":150}}
//!                              →  {"from":{"balance":250,"credit":0},"to":{"balance":150,"credit":0}}
//! {"account":{"account":"ann"}}  (query)                      →  {"balance":250,"credit":0}
//! {"total":{}}  (query)                                       →  {"accounts":2,"total":400}
//! ```
//!
//! Amounts are in the smallest unit of the currency, such as cents. A balance may fall to `-credit`. A transfer publishes
//! the event `transferred`. Accounts of version 1 had no credit: [`StateMachine::migrate`] reads its state.
//!
//! A client that repeats a command with the same idempotency key gets the first reply again. So no money moves twice, and
//! the guest needs no code for it.

mod messages;

use std::collections::BTreeMap;

pub use messages::{Account, Command, Query, Reply, Response};
use oarlock_guest::{Apply, MigrateError, OldState, Read, Refusal, StateMachine, state_machine};
use serde::{Deserialize, Serialize};

/// Longest name of an account, in bytes.
const MAX_NAME_BYTES: usize = 100;

/// The state.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Ledger {
    accounts: BTreeMap<String, Account>,
    /// Sum of all balances.
    total: i64,
}

/// The event `transferred`.
#[derive(Serialize)]
struct Transferred<'a> {
    from: &'a str,
    to: &'a str,
    amount: i64,
}

#[state_machine(name = "ledger", version = 2, schema = include_str!("schema.json"))]
impl StateMachine for Ledger {
    type Command = Command;
    type Reply = Reply;
    type Query = Query;
    type Response = Response;
    type Refusal = Refusal;

    fn apply(&mut self, cx: &mut Apply<'_>, command: Command) -> Result<Reply, Refusal> {
        match command {
            Command::Open { account, credit } => self.open(cx, account, credit),
            Command::Deposit { account, amount } => self.change(account, positive(amount)?),
            Command::Withdraw { account, amount } => self.change(account, -positive(amount)?),
            Command::Transfer { from, to, amount } => self.transfer(cx, from, to, amount),
        }
    }

    fn query(&self, _cx: &Read<'_>, query: Query) -> Result<Response, Refusal> {
        Ok(match query {
            Query::Account { account } => Response::Account(*self.account("account", &account)?),
            Query::Total {} => Response::Total {
                accounts: self.accounts.len(),
                total: self.total,
            },
        })
    }

    fn migrate(old: OldState<'_>) -> Result<Self, MigrateError> {
        let LedgerV1 { balances, total } = old.decode()?;
        let account = |(name, balance)| (name, Account { balance, credit: 0 });
        let accounts = balances.into_iter().map(account).collect();
        Ok(Self { accounts, total })
    }
}

/// The state of version 1. Keep the type as it was.
#[derive(Debug, Default, Serialize, Deserialize)]
struct LedgerV1 {
    balances: BTreeMap<String, i64>,
    total: i64,
}

impl Ledger {
    fn open(&mut self, cx: &Apply<'_>, name: String, credit: u32) -> Result<Reply, Refusal> {
        if !(1..=MAX_NAME_BYTES).contains(&name.len()) {
            let length = name.len();
            let text = format!("the name has 1 to {MAX_NAME_BYTES} bytes, not {length}");
            return Err(Refusal::new("out_of_range", text).field("account"));
        }
        if self.accounts.contains_key(&name) {
            let text = format!("the account `{name}` exists; choose another name");
            return Err(Refusal::new("account_exists", text).field("account"));
        }
        if cx.memory_is_low() {
            let text = "the memory is low; raise the memory limit of the guest";
            return Err(Refusal::new("memory_is_low", text));
        }
        let account = Account { balance: 0, credit };
        self.accounts.insert(name, account);
        Ok(Reply::Changed(account))
    }

    /// A deposit, or a withdrawal if `by` is negative.
    fn change(&mut self, name: String, by: i64) -> Result<Reply, Refusal> {
        let changed = self.changed("account", &name, by)?;
        self.total = self.total.checked_add(by).ok_or_else(overflow)?;
        self.accounts.insert(name, changed);
        Ok(Reply::Changed(changed))
    }

    fn transfer(
        &mut self,
        cx: &mut Apply<'_>,
        payer: String,
        payee: String,
        amount: i64,
    ) -> Result<Reply, Refusal> {
        if payer == payee {
            let text = "an account can't pay itself; name two accounts";
            return Err(Refusal::new("same_account", text).field("to"));
        }
        // Check both, then change both.
        let from = self.changed("from", &payer, -positive(amount)?)?;
        let to = self.changed("to", &payee, amount)?;
        let event = Transferred {
            from: &payer,
            to: &payee,
            amount,
        };
        cx.emit_json("transferred", &event);
        self.accounts.insert(payer, from);
        self.accounts.insert(payee, to);
        Ok(Reply::Transferred { from, to })
    }

    /// The account after its balance has changed.
    fn changed(&self, field: &str, name: &str, by: i64) -> Result<Account, Refusal> {
        let account = *self.account(field, name)?;
        let balance = account.balance.checked_add(by).ok_or_else(overflow)?;
        if by < 0 && balance < -i64::from(account.credit) {
            let Account { balance, credit } = account;
            let text = format!("`{name}` has {balance} and a credit of {credit}; ask for less");
            return Err(Refusal::new("overdrawn", text).field("amount"));
        }
        Ok(Account { balance, ..account })
    }

    fn account(&self, field: &str, name: &str) -> Result<&Account, Refusal> {
        self.accounts.get(name).ok_or_else(|| {
            let text = format!("there is no account `{name}`; open it first");
            Refusal::new("no_such_account", text).field(field)
        })
    }
}

fn positive(amount: i64) -> Result<i64, Refusal> {
    if amount > 0 {
        return Ok(amount);
    }
    let text = format!("the amount is at least 1, not {amount}");
    Err(Refusal::new("out_of_range", text).field("amount"))
}

fn overflow() -> Refusal {
    Refusal::new("overflow", "the sum is too large").field("amount")
}

#[cfg(test)]
mod tests;
