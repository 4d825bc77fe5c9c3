//! Leader election for the servers of an application: a campaign that waits, leases, terms.
//!
//! ```text
//! {"campaign":{"election":"db","candidate":"a","value":"10.0.0.1:80","lease_ms":10000,"wait_ms":60000}}
//!                                     →  {"elected":{"term":1,"until_ms":1700000010000}} or {"timed_out":{}}
//! {"renew":{"election":"db","term":1,"lease_ms":10000}}          →  {"elected":{"term":1,"until_ms":1700000015000}}
//! {"proclaim":{"election":"db","term":1,"value":"10.0.0.1:81"}}  →  {"elected":{"term":1,"until_ms":1700000015000}}
//! {"resign":{"election":"db","term":1}}                          →  {"resigned":{}}
//! {"leader":{"election":"db"}}  (query)
//!               →  {"leader":{"candidate":"a","value":"10.0.0.1:81","term":1,"until_ms":1700000015000},"waiting":2}
//! ```
//!
//! `campaign` waits up to `wait_ms` while there is another leader. Candidates are elected in the order in which they came.
//! A leader that does not renew its lease loses it at `until_ms`, and the next candidate is elected. Commands with an old
//! term are refused with `not_leader`.
//!
//! **Send the term with all that the leader does, and refuse a smaller one there than the largest seen.** A leader can't
//! know that its lease has ended while it was paused; the term of the next one is larger.
//!
//! To observe an election, follow the event `leader`, which each change publishes: `oarlock events --topic leader`. The
//! leader that is elected is in it, or `null`.

mod messages;

use std::collections::{BTreeMap, VecDeque};

pub use messages::{Campaign, Command, Leader, Query, Reply, Response};
use oarlock_guest::{Apply, Read, Refusal, StateMachine, Token, state_machine};
use serde::{Deserialize, Serialize};

/// The state.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Elections {
    /// Elections that have a leader.
    seats: BTreeMap<String, Seat>,
    /// The election for which a deferred `campaign` waits.
    waiting: BTreeMap<Token, String>,
    last_term: u64,
}

/// An election that has a leader.
#[derive(Debug, Serialize, Deserialize)]
struct Seat {
    leader: Leader,
    /// Who waits, the first one first.
    queue: VecDeque<(Token, Campaign)>,
}

/// The event `leader`.
#[derive(Serialize)]
struct LeaderChanged<'a> {
    election: &'a str,
    leader: Option<&'a Leader>,
}

#[state_machine(name = "election", version = 1, schema = include_str!("schema.json"))]
impl StateMachine for Elections {
    type Command = Command;
    type Reply = Reply;
    type Query = Query;
    type Response = Response;
    type Refusal = Refusal;

    fn apply(&mut self, cx: &mut Apply<'_>, command: Command) -> Result<Reply, Refusal> {
        command.check()?;
        match command {
            Command::Campaign(campaign) => self.campaign(cx, campaign),
            Command::Renew {
                election,
                term,
                lease_ms,
            } => {
                let leader = self.leader(cx, &election, term)?;
                extend(cx, &election, leader, lease_ms)
            }
            Command::Proclaim {
                election,
                term,
                value,
            } => {
                let leader = self.leader(cx, &election, term)?;
                leader.value = value;
                publish(cx, &election, Some(leader));
                Ok(elected(leader))
            }
            Command::Resign { election, term } => {
                self.leader(cx, &election, term)?;
                self.elect_next(cx, &election);
                Ok(Reply::Resigned {})
            }
        }
    }

    fn query(&self, _cx: &Read<'_>, query: Query) -> Result<Response, Refusal> {
        let Query::Leader { election } = query;
        let seat = self.seats.get(&election);
        Ok(Response {
            leader: seat.map(|seat| seat.leader.clone()),
            waiting: seat.map_or(0, |seat| seat.queue.len()),
        })
    }

    /// The lease of a leader has ended.
    fn on_timer(&mut self, cx: &mut Apply<'_>, election: &str) {
        self.elect_next(cx, election);
    }

    /// A `campaign` has waited long enough.
    fn on_deadline(&mut self, _cx: &mut Apply<'_>, token: Token) {
        let election = self.waiting.remove(&token);
        if let Some(seat) = election.and_then(|election| self.seats.get_mut(&election)) {
            seat.queue.retain(|(waiting, _)| *waiting != token);
        }
    }
}

impl Elections {
    fn campaign(&mut self, cx: &mut Apply<'_>, campaign: Campaign) -> Result<Reply, Refusal> {
        if cx.memory_is_low() {
            let text = "the memory is low; end elections that are not needed";
            return Err(Refusal::new("memory_is_low", text));
        }
        if let Some(seat) = self.seats.get_mut(&campaign.election) {
            if campaign.wait_ms > 0 {
                let token = cx.defer(cx.time_ms() + campaign.wait_ms)?;
                self.waiting.insert(token, campaign.election.clone());
                seat.queue.push_back((token, campaign));
            }
            // The reply now, or at the deadline.
            return Ok(Reply::TimedOut {});
        }
        let mut leader = Leader::new(&campaign, self.last_term + 1);
        let reply = extend(cx, &campaign.election, &mut leader, campaign.lease_ms)?;
        self.last_term = leader.term;
        publish(cx, &campaign.election, Some(&leader));
        let queue = VecDeque::new();
        self.seats.insert(campaign.election, Seat { leader, queue });
        Ok(reply)
    }

    /// The leader with this term, if its lease has not ended.
    fn leader(&mut self, cx: &Apply<'_>, name: &str, term: u64) -> Result<&mut Leader, Refusal> {
        let leader = self.seats.get_mut(name).map(|seat| &mut seat.leader);
        leader
            .filter(|leader| leader.term == term && cx.time_ms() < leader.until_ms)
            .ok_or_else(|| {
                let text = format!("`{name}` has no leader with the term {term}; campaign again");
                Refusal::new("not_leader", text).field("term")
            })
    }

    /// Makes the first candidate the leader. Without one, there is none.
    fn elect_next(&mut self, cx: &mut Apply<'_>, election: &str) {
        cx.cancel_timer(election);
        let Some(mut seat) = self.seats.remove(election) else {
            return;
        };
        let Some((token, campaign)) = seat.queue.pop_front() else {
            return publish(cx, election, None);
        };
        self.waiting.remove(&token);
        self.last_term += 1;
        seat.leader = Leader::new(&campaign, self.last_term);
        let reply = extend(cx, election, &mut seat.leader, campaign.lease_ms);
        let reply = reply.expect("there is room for the timer that was cancelled");
        publish(cx, election, Some(&seat.leader));
        cx.complete::<Self>(token, &reply);
        self.seats.insert(election.to_owned(), seat);
    }
}

/// Begins or extends a lease. Its timer has the name of the election.
fn extend(
    cx: &mut Apply<'_>,
    election: &str,
    leader: &mut Leader,
    lease_ms: u64,
) -> Result<Reply, Refusal> {
    let until_ms = cx.time_ms() + lease_ms;
    cx.set_timer(election, until_ms)?;
    leader.until_ms = until_ms;
    Ok(elected(leader))
}

fn elected(leader: &Leader) -> Reply {
    let (term, until_ms) = (leader.term, leader.until_ms);
    Reply::Elected { term, until_ms }
}

fn publish(cx: &mut Apply<'_>, election: &str, leader: Option<&Leader>) {
    cx.emit_json("leader", &LeaderChanged { election, leader });
}

#[cfg(test)]
mod tests;
