//! What can happen, as data: small numbers that are read as "the k-th of those that there are", so that a sequence
//! keeps its meaning while it shrinks.

use std::cell::OnceCell;

use proptest::{prelude::*, strategy::Union};
use serde::{Deserialize, Serialize};

/// How a case is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, drawn by itself")]
pub(crate) struct Setup {
    /// Open deliveries of one lane.
    pub(crate) lane_open_max: u8,
    /// Caches and windows that overflow all the time.
    pub(crate) tiny: bool,
    /// The bus produces records.
    pub(crate) record: bool,
    /// Instances of each service that are there from the start.
    pub(crate) joined: u8,
    /// The bus crashes, its store fails, other buses take its term.
    pub(crate) stormy: bool,
    /// One of the services takes events of the bus's own, too.
    #[serde(default)]
    pub(crate) system: bool,
}

/// Which id a new event gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Id {
    /// One that was never used.
    Fresh,
    /// The k-th event ever sent, again.
    Same(u8),
    /// The id of the k-th event ever sent, with other content.
    Changed(u8),
}

/// What a new event demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Demand {
    Any,
    /// The head as the log has it.
    Right,
    /// One less, or nonsense on a fresh key.
    Stale,
    /// One more.
    Ahead,
}

/// A new event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Choice {
    pub(crate) id: Id,
    pub(crate) key: u8,
    pub(crate) event_type: u8,
    pub(crate) demand: Demand,
    /// Caused by the k-th event of the log.
    pub(crate) cause: Option<u8>,
}

/// A guard on a key: right or stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GuardChoice {
    pub(crate) key: u8,
    pub(crate) right: bool,
}

/// What is wrong with a batch whatever the log says, or with a cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Flaw {
    Empty,
    IdTwice,
    ReservedKey,
    ReservedType,
    WrongSource,
    UnknownCause,
    OtherCorrelation,
}

/// Which delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Pick {
    /// The k-th that seems open.
    Open(u8),
    /// The k-th ever sent, over all lives of the bus.
    Ever(u8),
    /// The k-th that seems open, answered by another instance.
    Stolen(u8),
}

/// How a store fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Failure {
    /// The commit was not applied.
    Full,
    /// Nobody knows; it was not applied.
    IoNotApplied,
    /// Nobody knows; it was applied.
    IoApplied,
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Transition {
    /// The store answers everything, until nothing is under way.
    Settle,
    /// The store applies the commit under way, and says so now or later.
    Commit {
        say: bool,
    },
    /// The store answers the k-th open look-up, as of now or as of when it was asked.
    LookUp {
        pick: u8,
        late: bool,
    },
    /// The same for a read.
    Read {
        pick: u8,
        late: bool,
    },
    /// The store tells the newest term.
    Term,
    /// Time passes. Everyone pings unless they are silent; a late bus sees its time-outs only at the end.
    Advance {
        ms: u8,
        silent: bool,
        late: bool,
    },
    /// Connect, `hello`, `ready`.
    Join {
        slot: u8,
        credit: u8,
    },
    /// A batch.
    Publish {
        slot: u8,
        events: Vec<Choice>,
        guards: Vec<GuardChoice>,
        flaw: Option<Flaw>,
    },
    /// The k-th batch ever sent, again.
    Resend {
        slot: u8,
        pick: u8,
    },
    Complete {
        pick: Pick,
        events: Vec<Choice>,
        guards: Vec<GuardChoice>,
        flaw: Option<Flaw>,
    },
    Nack {
        pick: Pick,
    },
    Extend {
        pick: Pick,
    },
    Credit {
        slot: u8,
        credit: u8,
    },
    Disconnect {
        slot: u8,
    },
    Bye {
        slot: u8,
    },
    Connect {
        slot: u8,
    },
    Hello {
        slot: u8,
        reborn: bool,
        wrong_types: bool,
        credit: u8,
        now: bool,
    },
    Ready {
        slot: u8,
    },
    ReadKey {
        slot: u8,
        key: u8,
        after: u8,
        event_type: Option<u8>,
    },
    ReadKeys {
        slot: u8,
        after: Option<u8>,
    },
    Rebuild {
        slot: u8,
        after: u8,
        event_type: Option<u8>,
        follow: bool,
        credit: u8,
    },
    StreamCredit {
        pick: u8,
        credit: u8,
    },
    Retry {
        service: u8,
        key: u8,
    },
    Skip {
        service: u8,
        key: u8,
    },
    ChangeTypes {
        service: u8,
        types: u8,
        beginning: bool,
    },
    Services,
    Lanes {
        service: u8,
        parked: bool,
        limit: u8,
    },
    CommitFails {
        how: Failure,
    },
    StoreFails {
        pick: u8,
    },
    /// Another bus takes a term.
    Usurp,
    /// The wall clock jumps.
    ClockJumps {
        to: u8,
    },
    /// The bus dies after so many further outputs; what the store was asked to commit is applied or lost.
    Crash {
        after: u8,
        applied: bool,
    },
}

fn choice() -> impl Strategy<Value = Choice> + Clone {
    let id = prop_oneof![
        14 => Just(Id::Fresh),
        2 => (0..6_u8).prop_map(Id::Same),
        1 => (0..6_u8).prop_map(Id::Changed),
    ];
    let demand = prop_oneof![
        5 => Just(Demand::Any),
        4 => Just(Demand::Right),
        1 => Just(Demand::Stale),
        1 => Just(Demand::Ahead),
    ];
    let cause = prop_oneof![6 => Just(None), 1 => (0..8_u8).prop_map(Some)];
    (id, 0..3_u8, 0..3_u8, demand, cause).prop_map(|(id, key, event_type, demand, cause)| Choice {
        id,
        key,
        event_type,
        demand,
        cause,
    })
}

fn guards() -> impl Strategy<Value = Vec<GuardChoice>> + Clone {
    let guard = (0..3_u8, proptest::bool::weighted(0.7)).prop_map(|(key, right)| GuardChoice { key, right });
    prop_oneof![5 => Just(vec![]), 2 => guard.prop_map(|guard| vec![guard])]
}

fn flaw() -> impl Strategy<Value = Option<Flaw>> + Clone {
    prop_oneof![
        40 => Just(None),
        1 => Just(Some(Flaw::Empty)),
        1 => Just(Some(Flaw::IdTwice)),
        1 => Just(Some(Flaw::ReservedKey)),
        1 => Just(Some(Flaw::ReservedType)),
        1 => Just(Some(Flaw::WrongSource)),
        1 => Just(Some(Flaw::UnknownCause)),
        1 => Just(Some(Flaw::OtherCorrelation)),
    ]
}

fn pick() -> impl Strategy<Value = Pick> + Clone {
    prop_oneof![
        10 => (0..6_u8).prop_map(Pick::Open),
        2 => any::<u8>().prop_map(Pick::Ever),
        1 => (0..6_u8).prop_map(Pick::Stolen),
    ]
}

fn transition(stormy: bool) -> Union<BoxedStrategy<Transition>> {
    use Transition as T;
    let failure = prop_oneof![Just(Failure::Full), Just(Failure::IoNotApplied), Just(Failure::IoApplied)];
    let publisher = prop_oneof![3 => 6..8_u8, 1 => 0..6_u8];
    let ms = prop_oneof![Just(1_u8), Just(5), Just(10), Just(20), Just(50), Just(100), Just(200)];
    let credit = || prop_oneof![1 => Just(0_u8), 4 => 1..6_u8];
    let event_type = || proptest::option::weighted(0.4, 0..3_u8);
    let slot = || 0..6_u8;
    let mut all = vec![
        (12, Just(T::Settle).boxed()),
        (12, any::<bool>().prop_map(|say| T::Commit { say }).boxed()),
        (10, (0..4_u8, any::<bool>()).prop_map(|(pick, late)| T::LookUp { pick, late }).boxed()),
        (8, (0..4_u8, any::<bool>()).prop_map(|(pick, late)| T::Read { pick, late }).boxed()),
        (3, Just(T::Term).boxed()),
        (
            12,
            (ms, proptest::bool::weighted(0.1), proptest::bool::weighted(0.2))
                .prop_map(|(ms, silent, late)| T::Advance { ms, silent, late })
                .boxed(),
        ),
        (14, (slot(), 1..6_u8).prop_map(|(slot, credit)| T::Join { slot, credit }).boxed()),
        (
            24,
            (publisher.clone(), proptest::collection::vec(choice(), 1..4), guards(), flaw())
                .prop_map(|(slot, events, guards, flaw)| T::Publish { slot, events, guards, flaw })
                .boxed(),
        ),
        (4, (publisher, 0..12_u8).prop_map(|(slot, pick)| T::Resend { slot, pick }).boxed()),
        (
            20,
            (pick(), proptest::collection::vec(choice(), 0..3), guards(), flaw())
                .prop_map(|(pick, events, guards, flaw)| T::Complete { pick, events, guards, flaw })
                .boxed(),
        ),
        (8, pick().prop_map(|pick| T::Nack { pick }).boxed()),
        (3, pick().prop_map(|pick| T::Extend { pick }).boxed()),
        (3, (slot(), credit()).prop_map(|(slot, credit)| T::Credit { slot, credit }).boxed()),
        (4, (0..8_u8).prop_map(|slot| T::Disconnect { slot }).boxed()),
        (2, slot().prop_map(|slot| T::Bye { slot }).boxed()),
        (2, (0..8_u8).prop_map(|slot| T::Connect { slot }).boxed()),
        (
            4,
            (slot(), any::<bool>(), proptest::bool::weighted(0.3), credit(), any::<bool>())
                .prop_map(|(slot, reborn, wrong_types, credit, now)| T::Hello {
                    slot,
                    reborn,
                    wrong_types,
                    credit,
                    now,
                })
                .boxed(),
        ),
        (3, slot().prop_map(|slot| T::Ready { slot }).boxed()),
        (
            4,
            (slot(), 0..3_u8, 0..4_u8, event_type())
                .prop_map(|(slot, key, after, event_type)| T::ReadKey { slot, key, after, event_type })
                .boxed(),
        ),
        (2, (slot(), proptest::option::of(0..3_u8)).prop_map(|(slot, after)| T::ReadKeys { slot, after }).boxed()),
        (
            5,
            (slot(), 0..5_u8, event_type(), any::<bool>(), credit())
                .prop_map(|(slot, after, event_type, follow, credit)| T::Rebuild {
                    slot,
                    after,
                    event_type,
                    follow,
                    credit,
                })
                .boxed(),
        ),
        (5, (0..4_u8, credit()).prop_map(|(pick, credit)| T::StreamCredit { pick, credit }).boxed()),
        (4, (0..2_u8, 0..3_u8).prop_map(|(service, key)| T::Retry { service, key }).boxed()),
        (4, (0..2_u8, 0..3_u8).prop_map(|(service, key)| T::Skip { service, key }).boxed()),
        (
            1,
            (0..2_u8, prop_oneof![4 => 1..8_u8, 1 => 8..16_u8], any::<bool>())
                .prop_map(|(service, types, beginning)| T::ChangeTypes { service, types, beginning })
                .boxed(),
        ),
        (1, Just(T::Services).boxed()),
        (
            1,
            (0..2_u8, any::<bool>(), 1..4_u8)
                .prop_map(|(service, parked, limit)| T::Lanes { service, parked, limit })
                .boxed(),
        ),
        (1, any::<u8>().prop_map(|to| T::ClockJumps { to }).boxed()),
    ];
    if stormy {
        all.push((2, failure.prop_map(|how| T::CommitFails { how }).boxed()));
        all.push((1, (0..4_u8).prop_map(|pick| T::StoreFails { pick }).boxed()));
        all.push((1, Just(T::Usurp).boxed()));
        all.push((8, (0..7_u8, any::<bool>()).prop_map(|(after, applied)| T::Crash { after, applied }).boxed()));
    }
    Union::new_weighted(all)
}

/// Any transition. Built once for each thread: a case asks for it dozens of times.
pub(crate) fn transitions(setup: Setup) -> BoxedStrategy<Transition> {
    thread_local! {
        static CALM: OnceCell<BoxedStrategy<Transition>> = const { OnceCell::new() };
        static STORMY: OnceCell<BoxedStrategy<Transition>> = const { OnceCell::new() };
    }
    let built = if setup.stormy { &STORMY } else { &CALM };
    built.with(|built| built.get_or_init(|| transition(setup.stormy).boxed()).clone())
}

/// Any set-up.
pub(crate) fn setups() -> BoxedStrategy<Setup> {
    let weighted = proptest::bool::weighted;
    (1..3_u8, weighted(0.85), weighted(0.2), 0..3_u8, any::<bool>(), weighted(0.3))
        .prop_map(|(lane_open_max, tiny, record, joined, stormy, system)| Setup {
            lane_open_max,
            tiny,
            record,
            joined,
            stormy,
            system,
        })
        .boxed()
}
