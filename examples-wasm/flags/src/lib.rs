//! Feature flags: on for some users, for a share of all, or for all; and an event for each change.
//!
//! ```text
//! {"set":{"flag":"search","rule":{"enabled":true,"users":["ann"],"percent":25}}}  →  {"version":1}
//! {"set":{"flag":"search","rule":{…},"if_version":1}}           →  {"version":2}, or refused with `conflict`
//! {"remove":{"flag":"search"}}                                  →  {"version":3}
//! {"is_on":{"flag":"search","user":"ann"}}  (query)             →  {"on":true}
//! {"for":{"user":"ann"}}  (query)                               →  {"on":["search"]}
//! {"all":{}}  (query)                                           →  {"version":1,"flags":{"search":{"rule":{…},"version":1}}}
//! ```
//!
//! A share is stable: the user's place from 0 to 99 comes from a hash of flag and user. So each flag has other users, and a
//! larger share contains the smaller one.
//!
//! An application reads all flags once and then follows the changes: `oarlock query --watch '{"all":{}}'`, or the event
//! `flag` (`oarlock events --topic flag`), which contains the rule. It can evaluate the rules itself: [`Rule::is_on`].

mod messages;

use std::collections::BTreeMap;

pub use messages::{Command, Flag, FlagChanged, Query, Reply, Response, Rule};
use oarlock_guest::{Apply, Read, Refusal, StateMachine, state_machine};
use serde::{Deserialize, Serialize};

/// Longest name of a flag or user, in bytes.
const MAX_NAME_BYTES: usize = 100;
/// Most users of a rule.
const MAX_USERS: usize = 100;
/// Most flags, and most bytes of all names and users: `all` must fit into one response.
const MAX_FLAGS: usize = 1_000;
const MAX_BYTES: usize = 500_000;

/// The state.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Flags {
    flags: BTreeMap<String, Flag>,
    version: u64,
}

#[state_machine(name = "flags", version = 1, schema = include_str!("schema.json"))]
impl StateMachine for Flags {
    type Command = Command;
    type Reply = Reply;
    type Query = Query;
    type Response = Response;
    type Refusal = Refusal;

    fn apply(&mut self, cx: &mut Apply<'_>, command: Command) -> Result<Reply, Refusal> {
        match command {
            Command::Set {
                flag,
                rule,
                if_version,
            } => self.set(cx, flag, rule, if_version),
            Command::Remove { flag } => {
                if self.flags.remove(&flag).is_some() {
                    self.version += 1;
                    self.publish(cx, &flag, None);
                }
                Ok(self.reply())
            }
        }
    }

    fn query(&self, _cx: &Read<'_>, query: Query) -> Result<Response, Refusal> {
        Ok(match query {
            Query::IsOn { flag, user } => {
                let found = self.flags.get(&flag);
                let on = found.is_some_and(|found| found.rule.is_on(&flag, &user));
                Response::IsOn { on }
            }
            Query::For { user } => {
                let on = self.flags.iter();
                let on = on.filter(|(name, flag)| flag.rule.is_on(name, &user));
                let on = on.map(|(name, _)| name.clone()).collect();
                Response::For { on }
            }
            Query::All {} => Response::All {
                version: self.version,
                flags: self.flags.clone(),
            },
        })
    }
}

impl Flags {
    fn set(
        &mut self,
        cx: &mut Apply<'_>,
        name: String,
        rule: Rule,
        if_version: Option<u64>,
    ) -> Result<Reply, Refusal> {
        check("flag", &name)?;
        rule.check()?;
        let found = self.flags.get(&name).map_or(0, |flag| flag.version);
        if if_version.is_some_and(|expected| expected != found) {
            let text = format!("`{name}` was changed in version {found}; read it again");
            return Err(Refusal::new("conflict", text).field("if_version"));
        }
        let others = self.flags.iter().filter(|(other, _)| **other != name);
        let bytes = others
            .map(|(name, flag)| flag.rule.bytes(name))
            .sum::<usize>();
        if (found == 0 && self.flags.len() >= MAX_FLAGS) || bytes + rule.bytes(&name) > MAX_BYTES {
            let text =
                format!("{MAX_FLAGS} flags and {MAX_BYTES} bytes are the most; remove flags first");
            return Err(Refusal::new("full", text).field("flag"));
        }
        if cx.memory_is_low() {
            let text = "the memory is low; remove flags first";
            return Err(Refusal::new("memory_is_low", text));
        }
        self.version += 1;
        self.publish(cx, &name, Some(&rule));
        let version = self.version;
        self.flags.insert(name, Flag { rule, version });
        Ok(self.reply())
    }

    fn publish(&self, cx: &mut Apply<'_>, flag: &str, rule: Option<&Rule>) {
        let version = self.version;
        let event = FlagChanged {
            version,
            flag,
            rule,
        };
        cx.emit_json("flag", &event);
    }

    fn reply(&self) -> Reply {
        let version = self.version;
        Reply { version }
    }
}

impl Rule {
    /// Whether a flag with this rule is on for a user.
    #[must_use]
    pub fn is_on(&self, flag: &str, user: &str) -> bool {
        self.enabled && (self.users.contains(user) || place(flag, user) < u64::from(self.percent))
    }

    /// Bytes of the names.
    fn bytes(&self, flag: &str) -> usize {
        flag.len() + self.users.iter().map(String::len).sum::<usize>()
    }

    fn check(&self) -> Result<(), Refusal> {
        if self.percent > 100 {
            let text = format!("the share is 0 to 100, not {}", self.percent);
            return Err(Refusal::new("out_of_range", text).field("rule.percent"));
        }
        if self.users.len() > MAX_USERS {
            let count = self.users.len();
            let text = format!("a rule has at most {MAX_USERS} users, not {count}; use a share");
            return Err(Refusal::new("out_of_range", text).field("rule.users"));
        }
        self.users
            .iter()
            .try_for_each(|user| check("rule.users", user))
    }
}

/// The place of a user among all, from 0 to 99: FNV-1a (Fowler, Noll, Vo) with 64 bits over `flag:user`, modulo 100.
fn place(flag: &str, user: &str) -> u64 {
    let bytes = flag.bytes().chain([b':']).chain(user.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash % 100
}

fn check(field: &str, name: &str) -> Result<(), Refusal> {
    if (1..=MAX_NAME_BYTES).contains(&name.len()) {
        return Ok(());
    }
    let length = name.len();
    let text = format!("a name has 1 to {MAX_NAME_BYTES} bytes, not {length}");
    Err(Refusal::new("out_of_range", text).field(field))
}

#[cfg(test)]
mod tests;
