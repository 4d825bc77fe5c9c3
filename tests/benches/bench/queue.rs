//! The task queue against other queues: the same machine, the same load, in turn.
//!
//! A put is durable before its response: on a majority of three nodes, or on the one disk that beanstalkd has. The whole
//! cycle of a client is a put, a delivery and the end of that task, one after the other.
//!
//! | module | content |
//! |---|---|
//! | [`broker`] | what every side does, and a session of it |
//! | [`servers`] | processes that are killed when dropped |
//! | [`task_queue`] | three nodes of Oarlock |
//! | [`beanstalkd`], [`nats`], [`rabbitmq`] | the other sides |
//! | [`handover`] | from a put to the delivery at a worker that waits |
//! | [`delayed`] | many delayed tasks while clocks jump and a leader dies |
//! | [`backlog`] | many tasks that wait |
//! | [`amqp`] | the few frames of AMQP 0-9-1 that are needed |

mod amqp;
mod backlog;
mod beanstalkd;
mod broker;
mod delayed;
mod handover;
mod nats;
mod rabbitmq;
mod servers;
mod task_queue;

use super::load::{self, Turn};
use super::report::{Report, Target};
use super::{Options, Part};
use beanstalkd::Beanstalkd;
use broker::{QueueServer, QueueSession};
use nats::Nats;
use rabbitmq::RabbitMq;
use task_queue::TaskQueue;

/// What a client does again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// A task is put.
    Put,
    /// A task is put, one is delivered, and ends.
    Cycle,
}

impl Work {
    fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Cycle => "put + reserve + ack",
        }
    }

    /// The queue of one load.
    fn queue(self, connections: usize) -> String {
        let kind = match self {
            Self::Put => "put",
            Self::Cycle => "cycle",
        };
        format!("{kind}-{connections}")
    }
}

/// A side that runs all the time.
enum Side {
    Oarlock(TaskQueue),
    Beanstalkd(Beanstalkd),
    Nats(Nats),
    RabbitMq(RabbitMq),
}

/// Measures what is wanted of the queue.
pub(crate) async fn measure(options: &Options, report: &mut Report) {
    if options.wants(Part::Handover) {
        handover::measure(options, report).await;
    }
    if options.wants(Part::Delayed) {
        delayed::measure(options, report).await;
    }
    if options.wants(Part::Backlog) {
        backlog::measure(options, report).await;
    }
    if options.wants(Part::Queues) {
        against_others(options, report).await;
    }
}

/// The same load on Oarlock and on the other queues, in turn.
async fn against_others(options: &Options, report: &mut Report) {
    let ours = Side::Oarlock(TaskQueue::start(options.binary.as_deref()).await);
    let others = other_sides(options, report).await;
    for work in [Work::Put, Work::Cycle] {
        for &connections in &options.connections {
            compare(options, report, &ours, &others, (work, connections)).await;
        }
    }
}

/// The other queues; a note where one is not installed.
async fn other_sides(options: &Options, report: &mut Report) -> Vec<Side> {
    let mut sides = Vec::new();
    if options.alone {
        return sides;
    }
    if beanstalkd::installed() {
        sides.push(Side::Beanstalkd(Beanstalkd::start().await));
    } else {
        report.note(beanstalkd::HOW_TO_GET);
    }
    if nats::installed() {
        sides.push(Side::Nats(Nats::start().await));
    } else {
        report.note(nats::HOW_TO_GET);
    }
    if rabbitmq::installed() {
        sides.push(Side::RabbitMq(RabbitMq::start().await));
    } else {
        report.note(rabbitmq::HOW_TO_GET);
    }
    sides
}

async fn compare(
    options: &Options,
    report: &mut Report,
    ours: &Side,
    others: &[Side],
    load: (Work, usize),
) {
    let mut our_turns = Vec::new();
    let mut their_turns: Vec<Vec<Turn>> = others.iter().map(|_| Vec::new()).collect();
    for _ in 0..options.rounds {
        our_turns.push(ours.turn(options, load).await);
        for (side, turns) in others.iter().zip(&mut their_turns) {
            turns.push(side.turn(options, load).await);
        }
    }
    let (work, connections) = load;
    let name = format!("{}, {connections} connections", work.name());
    if others.is_empty() {
        report.load(&name, &our_turns, &[], Target::None);
    }
    for (side, turns) in others.iter().zip(&their_turns) {
        let name = format!("{name}, {}", side.name());
        report.load(&name, &our_turns, turns, side.target(work, connections));
    }
}

impl Side {
    fn name(&self) -> &'static str {
        match self {
            Self::Oarlock(_) => "Oarlock",
            Self::Beanstalkd(_) => "beanstalkd -f0",
            Self::Nats(_) => "NATS JetStream R3",
            Self::RabbitMq(_) => "RabbitMQ quorum queue",
        }
    }

    /// What the project aims at, as a ratio to this side's throughput.
    fn target(&self, work: Work, connections: usize) -> Target {
        match (self, work, connections) {
            (Self::Nats(_) | Self::Beanstalkd(_), Work::Cycle, 64) => Target::AtLeast(2.0),
            (Self::Beanstalkd(_), Work::Cycle, 16) => Target::AtLeast(1.0),
            _ => Target::None,
        }
    }

    /// One turn.
    async fn turn(&self, options: &Options, load: (Work, usize)) -> Turn {
        match self {
            Self::Oarlock(server) => run(server, options, load).await,
            Self::Beanstalkd(server) => run(server, options, load).await,
            Self::Nats(server) => run(server, options, load).await,
            Self::RabbitMq(server) => run(server, options, load).await,
        }
    }
}

/// Opens the connections and lets them work.
async fn run<S: QueueServer>(
    server: &S,
    options: &Options,
    (work, connections): (Work, usize),
) -> Turn {
    let queue = work.queue(connections);
    server.declare(&queue).await;
    let mut sessions = Vec::with_capacity(connections);
    for _ in 0..connections {
        let client = server.client(&queue, options.payload).await;
        let client = client.unwrap_or_else(|why| panic!("{why}"));
        sessions.push(QueueSession::new(client, work == Work::Cycle));
    }
    load::run(sessions, options.turn(), &server.pids()).await
}
