//! Commands, queries and replies. The page of the crate shows them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An account.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Account {
    /// Its balance.
    pub balance: i64,
    /// The balance may fall to the negative of this.
    pub credit: u32,
}

/// A command.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Opens an account.
    Open {
        /// Its name, 1 to 100 bytes.
        account: String,
        /// The balance may fall to the negative of this.
        credit: u32,
    },
    /// Adds money from outside the ledger.
    Deposit {
        /// Name of the account.
        account: String,
        /// How much, at least 1.
        amount: i64,
    },
    /// Removes money from the ledger.
    Withdraw {
        /// Name of the account.
        account: String,
        /// How much, at least 1.
        amount: i64,
    },
    /// Moves money between two accounts.
    Transfer {
        /// The account that pays.
        from: String,
        /// The account that receives.
        to: String,
        /// How much, at least 1.
        amount: i64,
    },
}

/// Reply to a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Reply {
    /// The account after the command.
    #[schemars(extend("x-for" = ["open", "deposit", "withdraw"]))]
    Changed(Account),
    /// Both accounts after the transfer.
    #[schemars(extend("x-for" = ["transfer"]))]
    Transferred {
        /// The account that paid.
        from: Account,
        /// The account that received.
        to: Account,
    },
}

/// A query.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Query {
    /// An account.
    Account {
        /// Its name.
        account: String,
    },
    /// The sum of all balances: deposits without withdrawals.
    Total {},
}

/// Response to a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Response {
    /// The account.
    #[schemars(extend("x-for" = ["account"]))]
    Account(Account),
    /// The whole ledger.
    #[schemars(extend("x-for" = ["total"]))]
    Total {
        /// Number of accounts.
        accounts: usize,
        /// Sum of all balances.
        total: i64,
    },
}
