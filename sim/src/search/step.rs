//! One choice of a search, and its sentence.

use std::fmt;

use dacapo_core::Key;

/// Something that may happen next.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// An instance opens a connection and says hello.
    Join(usize),
    /// A welcomed instance says that it is ready.
    Ready(usize),
    /// A customer asks a real instance.
    Ask(usize),
    /// The bus hears the next frame of a real instance, or that it has closed its end.
    BusHears(usize),
    /// A real instance hears the next frame of the bus.
    NodeHears(usize),
    /// The publisher sends its next event.
    Publish,
    /// The publisher sends the n-th event again.
    Repeat(usize),
    /// An instance completes a delivery, the n-th that it knows of.
    Complete(usize, usize),
    /// An instance's handler failed on a delivery, the n-th that it knows of.
    Nack(usize, usize),
    /// An instance's connection breaks.
    Drop(usize),
    /// An instance dies, and will come back as another incarnation.
    Die(usize),
    /// The store makes the commit durable, and says so.
    Confirm,
    /// The store fails the commit; it may be durable nevertheless.
    CommitFails {
        /// Whether it is.
        applied: bool,
    },
    /// The store answers the look-up.
    LookedUp(When),
    /// The store answers the n-th open read.
    ReadDone(usize, When),
    /// Time passes until the bus's next time-out.
    TimePasses,
    /// An administrator retries a parked lane.
    Retry(Key),
    /// An administrator skips the first event of a parked lane.
    Skip(Key),
    /// Somebody lets the log be played and follows it.
    Rebuild,
    /// The bus crashes, and another begins from the store.
    Crash {
        /// Whether the commit under way is durable.
        applied: bool,
    },
}

/// As of when the store answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum When {
    /// As of when it was asked.
    Asked,
    /// As of now.
    Now,
    /// As of now, with the commit under way, which the bus has not been told of.
    Committed,
}

/// A step, and whether the bus crashed before it had done all that it wanted done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Taken {
    /// The step.
    pub step: Step,
    /// The bus crashes after so many of its outputs.
    pub crash_after: Option<usize>,
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asked => "as of when it was asked",
            Self::Now => "as of now",
            Self::Committed => "with the commit under way, of which the bus has not been told",
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instance = |index: &usize| super::peers::instance_name(*index);
        match self {
            Self::Join(index) => write!(f, "{} connects", instance(index)),
            Self::Ready(index) => write!(f, "{} is ready", instance(index)),
            Self::Ask(index) => write!(f, "customer {} asks", index + 1),
            Self::BusHears(index) => write!(f, "the bus hears from {}", instance(index)),
            Self::NodeHears(index) => write!(f, "{} hears from the bus", instance(index)),
            Self::Publish => f.write_str("the publisher sends its next event"),
            Self::Repeat(index) => write!(f, "the publisher sends event {} again", index + 1),
            Self::Complete(index, _) => write!(f, "{} completes", instance(index)),
            Self::Nack(index, _) => write!(f, "the handler of {} fails", instance(index)),
            Self::Drop(index) => write!(f, "the connection of {} breaks", instance(index)),
            Self::Die(index) => write!(f, "{} dies", instance(index)),
            Self::Confirm => f.write_str("the store makes the commit durable and says so"),
            Self::CommitFails { applied: true } => {
                f.write_str("the store makes the commit durable and says that it failed")
            }
            Self::CommitFails { applied: false } => f.write_str("the store fails the commit"),
            Self::LookedUp(when) => write!(f, "the store answers the look-up, {when}"),
            Self::ReadDone(index, when) => write!(f, "the store answers read {}, {when}", index + 1),
            Self::TimePasses => f.write_str("time passes until the next time-out"),
            Self::Retry(key) => write!(f, "an administrator retries the lane {key}"),
            Self::Skip(key) => write!(f, "an administrator skips the first event of the lane {key}"),
            Self::Rebuild => f.write_str("a reader asks for the whole log and follows it"),
            Self::Crash { applied: true } => {
                f.write_str("the store makes the commit durable, and the bus crashes before it is told")
            }
            Self::Crash { applied: false } => f.write_str("the bus crashes"),
        }
    }
}
